"""The machine: whether a job could run here."""

import click

from pneumo_batch.options import EXIT_ERROR, json_option, load, print_json


@click.command()
@click.argument("job_file", metavar="[JOB.toml]", required=False)
@json_option
def doctor(job_file: str | None, as_json: bool) -> int:
    """Check this machine: versions, CPUs and GPUs, Ray, disk, write access.

    \b
    Example:
      pneumo-batch doctor jobs/kaggle.toml
    """
    from pneumo_batch import checking

    checks = checking.machine(load(job_file, ()) if job_file else None)
    if as_json:
        print_json(checks)
    else:
        checking.show_machine(checks)
    return 0 if all(item["ok"] for item in checks) else EXIT_ERROR
