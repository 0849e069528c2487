"""A run: make one, look at it, rebuild its report, remove old ones."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from pneumo_batch import terminal
from pneumo_batch.cli.options import json_option, load, print_json, require_option, requirements_of, set_option
from pneumo_batch.core.statistics.outcomes import Requirement
from pneumo_batch.errors import EXIT_DATA, RunBusyError
from pneumo_batch.rundir.layout import JOB, REPORT, STAGES

if TYPE_CHECKING:
    from pneumo_batch.job.schema import Job


class RunOptions(TypedDict):
    """Options of `run`."""

    run_dir: str | None
    limit: int | None
    until: str
    address: str | None
    required: list[Requirement]
    hash_paths: bool
    dry_run: bool
    log_format: str
    as_json: bool


@click.command()
@click.argument("job_file", metavar="JOB.toml")
@click.option("--run-dir", metavar="DIR", help="Run directory or URI (default: runs/<name>-<fingerprint>).")
@set_option
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Attribute at most N test images.")
@click.option("--until", type=click.Choice(STAGES), default=STAGES[-1], help="Stop after this stage.")
@click.option("--address", help="Ray cluster to join, e.g. auto or ray://head:10001.")
@require_option
@click.option("--hash-paths", is_flag=True, help="Write digests instead of absolute paths into the run's records.")
@click.option("--dry-run", is_flag=True, help="Print what each stage would do, and do nothing.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="Format of progress on stderr.")
@json_option
def run(job_file: str, overrides: tuple[str, ...], **options: Unpack[RunOptions]) -> int:
    """Run a job: all stages; resumes an unfinished run; does nothing when the run is complete.

    JOB.toml is a job file, or a job that comes with pneumo-batch by its name: demo, kaggle, rigorous, ...

    \b
    Example:
      pneumo-batch run jobs/kaggle.toml --set data.root=/data/chest_xray --limit 64
    """
    if options["log_format"] == "json":
        terminal.use_json()
    job = load(job_file, overrides, options["limit"], options["address"])
    required = requirements_of(job, options["required"])
    if options["dry_run"]:
        return _dry_run(job, options["run_dir"], options["as_json"])
    from pneumo_batch import pipeline
    from pneumo_batch.cli import display

    outcome = pipeline.execute(job, options["run_dir"], options["until"], hash_paths=options["hash_paths"])
    if options["as_json"]:
        print_json(outcome.as_dict())
    else:
        display.show(outcome)
    return display.exit_code(outcome, required)


def _dry_run(job: "Job", run_dir: str | None, as_json: bool) -> int:
    from pneumo_batch.cli import estimate

    plan = estimate.plan(job, run_dir)
    if as_json:
        print_json(plan.as_dict())
    else:
        estimate.show(plan)
    return 0


@click.command()
@click.argument("run_dir", metavar="RUN")
@json_option
def status(run_dir: str, as_json: bool) -> None:
    """Show the state of one run, and what it found: the answer, a line for each method, and where its report is.

    \b
    Example:
      pneumo-batch status runs/demo-1a2b3c4d5e6f
    """
    from pneumo_batch.cli import display
    from pneumo_batch.rundir.reader import Snapshot

    opened = Snapshot(run_dir)
    if as_json:
        print_json(display.as_dict(opened))
    else:
        display.show_status(opened)


@click.command(name="ls")
@click.argument("folder", metavar="[DIR]", default="runs")
@json_option
def list_runs(folder: str, as_json: bool) -> None:
    """List the runs in a folder.

    \b
    Example:
      pneumo-batch ls runs
    """
    from pneumo_batch.cli import display

    rows = display.rows(folder)
    if as_json:
        print_json(rows)
    else:
        display.show_rows(rows, folder)


@click.command()
@click.argument("run_dir", metavar="RUN")
@click.option("--open", "browse", is_flag=True, help="Open the page in the web browser.")
def report(run_dir: str, browse: bool) -> None:
    """Rebuild the report of a run from its tables.

    \b
    Example:
      pneumo-batch report runs/demo-1a2b3c4d5e6f --open
    """
    from pneumo_batch import report as reporting
    from pneumo_batch.errors import RunError
    from pneumo_batch.rundir.writer import RunWriter

    opened = RunWriter(run_dir)
    opened.check_format("report")
    opened.job  # noqa: B018 - says so if there is none, before the lock would make the directory
    opened.check_concluded()
    with opened.lock():
        reporting.build(opened)  # which reads all of it before it writes: of a damaged run the former report stays
        opened.checksums.drop(["report"])
        opened.checksums.seal("report")
    click.echo(f"{run_dir}/{REPORT}")
    if browse:
        if not opened.store.is_local:
            raise RunError(f"{run_dir}: a browser opens local files only; copy {REPORT} to this machine")
        webbrowser.open(Path(opened.store.path(REPORT)).as_uri())


@click.command()
@click.argument("run_dir", metavar="RUN")
@click.option("--reopen", is_flag=True, help="Let the next `run` of the job recompute what is damaged or missing.")
@json_option
def verify(run_dir: str, reopen: bool, as_json: bool) -> int:
    """Read every file of a run and compare it with the SHA-256 it was written with.

    Prints a line for each file that is damaged, missing or not the run's own, and then exits with 3; else with 0.

    \b
    Example:
      pneumo-batch verify runs/demo-1a2b3c4d5e6f
    """
    from pneumo_batch.rundir import verification
    from pneumo_batch.rundir.writer import RunWriter

    opened = RunWriter(run_dir)
    before = opened.record
    found = verification.verify_unheld(opened)
    if as_json:
        print_json({"run_dir": run_dir, **found.as_dict()})
    else:
        for finding in found.findings:
            click.echo(f"{finding.name}: {finding.problem}")
        if not found.findings:
            click.echo(f"{found.files} files, each as it was written")
    if reopen and found.findings:
        unreadable = any(finding.name == JOB for finding in found.findings)  # the next run writes it again
        with opened.lock():
            if opened.record != before:
                raise RunBusyError(f"{run_dir}: another process has worked on this run meanwhile; try again")
            opened.heal()
            grows = unreadable or opened.job.data.grows
            verification.reopen(opened, found.findings, grows=grows, later=True)
    return EXIT_DATA if found.findings else 0


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("--keep", type=click.IntRange(min=1), required=True, help="How many complete runs to keep of each job.")
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
def clean(folder: str, keep: int, dry_run: bool) -> None:
    """Remove the oldest complete runs of each job in a folder. Unfinished runs and those in use stay.

    \b
    Example:
      pneumo-batch clean runs --keep 30 --dry-run
    """
    from pneumo_batch.rundir import retention

    for path in retention.clean(folder, keep, dry_run=dry_run):
        click.echo(path)
