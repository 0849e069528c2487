"""The `pneumo-batch` command: parse, load, call one function, print. Data on stdout, everything else on stderr."""

import os
import signal
import sys
from typing import Any

import click

from pneumo_batch import __version__, cli_exchange, commands, terminal
from pneumo_batch.options import (
    EXIT_BUSY,
    EXIT_DATA,
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    EXIT_USAGE,
)
from pneumo_batch.options import complain as _complain
from pneumo_batch.options import json_option as _json_option
from pneumo_batch.options import load as _load
from pneumo_batch.options import print_json as _print_json
from pneumo_batch.options import set_option as _set_option

_STAGES = ("index", "train", "attribute", "compare", "cascade", "conclude", "report")


class Terminated(BaseException):
    """SIGTERM: unwinds the run like Ctrl-C does, so that its state is written."""


def main() -> None:
    """Entry point: every user error is one line on stderr and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = _complain("interrupted; the same command continues the run", EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except KeyboardInterrupt:
        code = _complain("interrupted; the same command continues the run", EXIT_INTERRUPTED)
    except Terminated:
        code = _complain("terminated; the same command continues the run", EXIT_TERMINATED)
    except Exception as error:
        code = _explain(error)
    sys.exit(code)


def _terminate(*_: Any) -> None:
    raise Terminated


def _explain(error: Exception) -> int:
    """One line for what the user can change; the traceback for what only we can."""
    from pneumo_batch.config import JobError
    from pneumo_batch.core.folders import DataError
    from pneumo_batch.ledger import RunBusyError, RunError

    cause = _root_cause(error)
    for kind, code in (
        (JobError, EXIT_USAGE),
        (DataError, EXIT_DATA),
        (RunBusyError, EXIT_BUSY),
        (RunError, EXIT_USAGE),
    ):
        if isinstance(cause, kind):
            return _complain(str(cause), code)
    if isinstance(cause, OSError) and cause.errno is not None:  # full or read-only disks, lost mounts
        place = f"{cause.filename}: " if cause.filename is not None else ""
        return _complain(place + (cause.strerror or os.strerror(cause.errno)).splitlines()[0], EXIT_ERROR)
    import traceback

    traceback.print_exception(error)
    return _complain(
        f"unexpected {type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else ''}", EXIT_ERROR
    )


def _root_cause(error: BaseException) -> BaseException:
    """The error under what Ray wraps around one that a worker raised."""
    seen = error
    while (inner := getattr(seen, "cause", None) or getattr(seen, "__cause__", None)) and _is_wrapper(seen):
        seen = inner
    return seen


def _is_wrapper(error: BaseException) -> bool:
    return type(error).__module__.startswith("ray.") or "RayTaskError" in type(error).__name__


# ------------------------------------------------------------------------------------------------------------ commands


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="pneumo-batch")
def cli() -> None:
    """Can these saliency maps be trusted? The data randomization test as a batch job.

    \b
    Example:
      pneumo-batch run jobs/demo.toml
      pneumo-batch status runs/demo-*
    """


@cli.command()
@click.argument("job_file", metavar="JOB.toml")
@click.option("--run-dir", metavar="DIR", help="Run directory or URI (default: runs/<name>-<fingerprint>).")
@_set_option
@click.option("--limit", type=click.IntRange(min=1), help="Attribute at most N test images.")
@click.option("--until", type=click.Choice(_STAGES), default=_STAGES[-1], help="Stop after this stage.")
@click.option("--address", help="Ray cluster to join, e.g. auto or ray://head:10001.")
@click.option("--require", type=click.Choice(["sensitive"]), help="Exit with 4 unless every method has this verdict.")
@click.option("--hash-paths", is_flag=True, help="Write digests instead of absolute paths into the run's records.")
@click.option("--dry-run", is_flag=True, help="Print what each stage would do, and do nothing.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="Of progress on stderr.")
@_json_option
def run(job_file: str, overrides: tuple[str, ...], **options: Any) -> int:
    """Run a job: all stages; resumes an unfinished run; does nothing when the run is complete.

    \b
    Example:
      pneumo-batch run jobs/kaggle.toml --set data.root=/data/chest_xray --limit 64
    """
    if options["log_format"] == "json":
        terminal.use_json()
    job = _load(job_file, overrides, options["limit"], options["address"])
    if options["dry_run"]:
        return _dry_run(job, options["run_dir"], options["as_json"])
    from pneumo_batch import display, pipeline

    outcome = pipeline.execute(job, options["run_dir"], options["until"], hash_paths=options["hash_paths"])
    if options["as_json"]:
        _print_json(outcome.as_dict())
    else:
        display.show(outcome)
    return display.exit_code(outcome, options["require"])


def _dry_run(job: Any, run_dir: str | None, as_json: bool) -> int:
    from pneumo_batch import planning

    plan = planning.plan(job, run_dir)
    if as_json:
        _print_json(plan)
    else:
        planning.show(plan)
    return 0


@cli.command()
@click.argument("run_dir", metavar="RUN")
@_json_option
def status(run_dir: str, as_json: bool) -> None:
    """Show the state of one run.

    \b
    Example:
      pneumo-batch status runs/demo-1a2b3c4d5e6f
    """
    from pneumo_batch import display
    from pneumo_batch.run import Run

    opened = Run(run_dir)
    if as_json:
        _print_json({"run_dir": run_dir, **opened.record})
    else:
        display.show_status(opened)


@cli.command(name="ls")
@click.argument("folder", metavar="[DIR]", default="runs")
@_json_option
def list_runs(folder: str, as_json: bool) -> None:
    """List the runs in a folder.

    \b
    Example:
      pneumo-batch ls runs
    """
    from pneumo_batch import display

    rows = display.rows(folder)
    if as_json:
        _print_json(rows)
    else:
        display.show_rows(rows, folder)


@cli.command()
@click.argument("run_dir", metavar="RUN")
@click.option("--open", "browse", is_flag=True, help="Open the page in the web browser.")
def report(run_dir: str, browse: bool) -> None:
    """Rebuild the report of a run from its tables.

    \b
    Example:
      pneumo-batch report runs/demo-1a2b3c4d5e6f --open
    """
    from pneumo_batch import report as reporting
    from pneumo_batch.layout import REPORT
    from pneumo_batch.ledger import RunError
    from pneumo_batch.run import Run

    opened = Run(run_dir)
    job = opened.job  # before the lock, which would make the directory
    with opened.lock():
        reporting.run(job, opened, None)
    click.echo(f"{run_dir}/{REPORT}")
    if browse:
        import webbrowser
        from pathlib import Path

        if not opened.store.is_local:
            raise RunError(f"{run_dir}: a browser opens local files only; copy {REPORT} to this machine")
        webbrowser.open(Path(opened.store.path(REPORT)).as_uri())


cli.add_command(cli_exchange.export)
cli.add_command(cli_exchange.track)


@cli.group()
def data() -> None:
    """Write, download or check image data."""


@data.command()
@click.argument("folder", metavar="DIR")
@click.option("--train", type=click.IntRange(min=8), default=400, show_default=True, help="Training images.")
@click.option("--test", type=click.IntRange(min=4), default=96, show_default=True, help="Test images.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the generator.")
@click.option("--size", type=click.IntRange(32, 4096), default=512, show_default=True, help="Side in pixels.")
def demo(folder: str, train: int, test: int, seed: int, size: int) -> None:
    """Write the generated data set: chest-X-ray-like images, opacities with known masks.

    \b
    Example:
      pneumo-batch data demo phantom --train 400 --test 96
    """
    from pathlib import Path

    from pneumo_batch.config import JobError
    from pneumo_batch.core import phantom

    if Path(folder).exists():
        raise JobError(f"{folder}: exists already; choose a new folder")
    phantom.write(Path(folder), train=train, test=test, seed=seed, image_size=size)
    click.echo(folder)


data.add_command(cli_exchange.fetch)


@data.command()
@click.argument("roots", metavar="ROOT...", nargs=-1, required=True)
@click.option("--manifest", metavar="FILE", help="CSV or Parquet file that names the images, as data.manifest.")
@_json_option
def check(roots: tuple[str, ...], manifest: str | None, as_json: bool) -> int:
    """Audit a data set: counts, sizes, unreadable files, duplicates, leaks. Exit 3 when it has errors.

    \b
    Example:
      pneumo-batch data check data/chest_xray
    """
    from pneumo_batch import checking

    audit = checking.audit(roots, manifest)
    if as_json:
        _print_json(audit.as_dict())
    else:
        checking.show(audit, manifest or ", ".join(roots))
    return EXIT_DATA if audit.errors else 0


@cli.group(name="config")
def config_group() -> None:
    """Show, describe or begin a job file."""


@config_group.command()
@click.argument("job_file", metavar="JOB.toml")
@_set_option
@_json_option
def show(job_file: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print a job with every default filled in.

    \b
    Example:
      pneumo-batch config show jobs/demo.toml --set data.image_size=96
    """
    values = _load(job_file, overrides).model_dump(mode="json", exclude_none=True)
    if as_json:
        _print_json(values)
        return
    import tomli_w

    click.echo(tomli_w.dumps(values), nl=False)


@config_group.command()
def schema() -> None:
    """Print the JSON Schema of job files.

    \b
    Example:
      pneumo-batch config schema > job.schema.json
    """
    from pneumo_batch import config

    _print_json(config.Job.model_json_schema())


@config_group.command()
def init() -> None:
    """Print a commented job file with every field at its default.

    \b
    Example:
      pneumo-batch config init > my.toml
    """
    from pneumo_batch import jobfile

    click.echo(jobfile.template(), nl=False)


@cli.command()
@click.argument("job_file", metavar="[JOB.toml]", required=False)
@_json_option
def doctor(job_file: str | None, as_json: bool) -> int:
    """Check this machine: versions, CPUs and GPUs, Ray, disk, write access.

    \b
    Example:
      pneumo-batch doctor jobs/kaggle.toml
    """
    from pneumo_batch import checking

    checks = checking.machine(_load(job_file, ()) if job_file else None)
    if as_json:
        _print_json(checks)
    else:
        checking.show_machine(checks)
    return 0 if all(item["ok"] for item in checks) else EXIT_ERROR


cli.add_command(commands.submit)
cli.add_command(commands.job)
cli.add_command(commands.clean)


if __name__ == "__main__":
    main()
