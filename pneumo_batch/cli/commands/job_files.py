"""Job files: show one, describe them, begin one."""

import click

from pneumo_batch.cli.options import json_option, load, print_json, set_option


@click.group(name="config")
def config() -> None:
    """Show, describe or start a job file."""


@config.command()
@click.argument("job_file", metavar="JOB.toml")
@set_option
@json_option
def show(job_file: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print a job with every default filled in.

    \b
    Example:
      pneumo-batch config show demo --set data.image_size=96
    """
    values = load(job_file, overrides).model_dump(mode="json", exclude_none=True)
    if as_json:
        print_json(values)
        return
    import tomli_w

    click.echo(tomli_w.dumps(values), nl=False)


@config.command()
def schema() -> None:
    """Print the JSON Schema of job files.

    \b
    Example:
      pneumo-batch config schema > job.schema.json
    """
    from pneumo_batch.job import schema

    print_json(schema.Job.model_json_schema())


@config.command()
@click.option("--from", "shipped", metavar="NAME", help="Print this shipped job (demo, rigorous, ...) instead.")
def init(shipped: str | None) -> None:
    """Print a commented job file with every field at its default, or a shipped job, to start from.

    \b
    Example:
      pneumo-batch config init > my.toml
      pneumo-batch config init --from rigorous > my.toml
    """
    from pneumo_batch.job import jobfile

    click.echo(jobfile.shipped_text(shipped) if shipped is not None else jobfile.template(), nl=False)
