"""Jobs on a cluster: hand one over, look after it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from pneumo_batch.cli.options import (
    Command,
    complain,
    json_option,
    load,
    print_json,
    require_option,
    requirements_of,
    set_option,
)
from pneumo_batch.core.statistics.outcomes import Requirement
from pneumo_batch.errors import EXIT_DONE, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_NOT_MET, EXIT_USAGE

if TYPE_CHECKING:
    from pneumo_batch.integrations import ray_jobs
    from pneumo_batch.integrations.ray_jobs import JobDetails, JobSubmissionClient

_REQUIRE, _HASH_PATHS = "--require=", "--hash-paths"


def _address_option(function: Command) -> Command:
    return click.option(
        "--address",
        required=True,
        envvar="RAY_API_SERVER_ADDRESS",
        metavar="URL",
        help="Dashboard of the cluster's head, http://HEAD:8265 (or RAY_API_SERVER_ADDRESS).",
    )(function)


class Submission(TypedDict):
    """Options of `submit`."""

    run_dir: str | None
    limit: int | None
    required: list[Requirement]
    hash_paths: bool
    no_wait: bool
    as_json: bool


@click.command()
@click.argument("job_file", metavar="JOB.toml")
@_address_option
@click.option("--run-dir", metavar="DIR", help="Run directory or URI that every node sees.")
@set_option
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Attribute at most N test images.")
@require_option
@click.option("--hash-paths", is_flag=True, help="Write digests instead of absolute paths into the run's records.")
@click.option("--no-wait", is_flag=True, help="Return as soon as the cluster has the job.")
@json_option
def submit(job_file: str, address: str, overrides: tuple[str, ...], **options: Unpack[Submission]) -> int:
    """Run a job on a Ray cluster; show its log here and end with its exit code.

    If the job already runs there, the command attaches to it, and asks it for what it was not started to --require
    once it has ended. A job that has ended is continued.

    \b
    Example:
      pneumo-batch submit jobs/kaggle.toml --address http://head:8265 --run-dir s3://bucket/runs/kaggle
    """
    job = load(job_file, overrides, options["limit"])
    words = [f"{_REQUIRE}{one.text}" for one in requirements_of(job, options["required"])]
    words += [_HASH_PATHS] if options["hash_paths"] else []
    from pneumo_batch.integrations import ray_jobs

    client = ray_jobs.connect(address)
    while True:
        found = ray_jobs.submit(client, address, job, options["run_dir"], words)
        _announce(found, words)
        if options["no_wait"]:
            _print_job(ray_jobs.find(client, address, found.id), options["as_json"])
            return _not_asked(found, words)
        try:
            ended = ray_jobs.follow(client, address, found.id)
        except KeyboardInterrupt:
            again = f"pneumo-batch job logs {found.id} --follow --address {address}"
            return complain(f"stopped following; the job goes on. To follow it again: {again}", EXIT_INTERRUPTED)
        code = ray_jobs.exit_code(ended)
        if _is_answer(code, found, words):
            _print_job(ended, options["as_json"])
            return code
        # else the records would get the paths that were kept out of them
        words += [_HASH_PATHS] if _HASH_PATHS in found.options and _HASH_PATHS not in words else []


def _announce(found: "ray_jobs.Submission", words: list[str]) -> None:
    """What was submitted or found running, and what of this command a job that was found cannot take up."""
    click.echo(f"{'attached to' if found.attached else 'submitted'} {found.id}, run {found.run_dir}", err=True)
    if found.other_job:
        line = "it keeps the values it was started with of fields that change no result: those of this job differ"
        click.echo(f"{found.id}: {line}", err=True)
    if _HASH_PATHS in words and _HASH_PATHS not in found.options:
        click.echo(f"{found.id}: it was started without --hash-paths: its records have absolute paths", err=True)


def _required(words: Iterable[str]) -> set[str]:
    return {word for word in words if word.startswith(_REQUIRE)}


def _is_answer(code: int, found: "ray_jobs.Submission", words: list[str]) -> bool:
    """Whether a job's exit code tells if its verdicts are as required here, which another command may have started.

    Where it does not, the job is submitted once more: what is complete has nothing to do there but to be asked.
    """
    asked, wanted = _required(found.options), _required(words)
    return code not in (EXIT_DONE, EXIT_NOT_MET) or asked == wanted or (code == EXIT_DONE and asked > wanted)


def _not_asked(found: "ray_jobs.Submission", words: list[str]) -> int:
    """0, or 2 where nobody will hold the verdicts of a job that was found to what is required here."""
    missing = sorted(_required(words) - _required(found.options))
    if not missing:
        return EXIT_DONE
    option = missing[0].replace("=", " ", 1)
    return complain(
        f"{option}: {found.id} was started without it; without --no-wait it is asked at the end", EXIT_USAGE
    )


@click.group()
def job() -> None:
    """Show, follow or stop jobs that were submitted to a cluster."""


@job.command(name="status")
@click.argument("submission", metavar="ID")
@_address_option
@json_option
def job_status(submission: str, address: str, as_json: bool) -> None:
    """Show the state of a submitted job, by its id or by that of its first attempt.

    \b
    Example:
      pneumo-batch job status demo-1a2b3c4d5e6f --address http://head:8265
    """
    _print_job(_found(address, submission)[1], as_json)


@job.command(name="logs")
@click.argument("submission", metavar="ID")
@_address_option
@click.option("--follow", is_flag=True, help="Follow the log until the job ends, then exit with its exit code.")
def job_logs(submission: str, address: str, follow: bool) -> int:
    """Print the log of a submitted job.

    \b
    Example:
      pneumo-batch job logs demo-1a2b3c4d5e6f --follow --address http://head:8265
    """
    from pneumo_batch.integrations import ray_jobs

    client, found = _found(address, submission)
    if not follow:
        click.echo(client.get_job_logs(found.submission_id), nl=False)
        return 0
    return ray_jobs.exit_code(ray_jobs.follow(client, address, found.submission_id))


@job.command(name="stop")
@click.argument("submission", metavar="ID")
@_address_option
@json_option
def job_stop(submission: str, address: str, as_json: bool) -> int:
    """Stop a submitted job. Submitting it again continues it.

    \b
    Example:
      pneumo-batch job stop demo-1a2b3c4d5e6f --address http://head:8265
    """
    from pneumo_batch.integrations import ray_jobs

    client, found = _found(address, submission)
    ended = ray_jobs.stop(client, address, found.submission_id)
    _print_job(ended, as_json)
    return 0 if ended.status.is_terminal() else EXIT_ERROR


def _found(address: str, submission: str) -> "tuple[JobSubmissionClient, Any]":
    """A client of the cluster, and what it knows of a submitted job."""
    from pneumo_batch.integrations import ray_jobs

    client = ray_jobs.connect(address)
    return client, ray_jobs.find(client, address, submission)


def _print_job(found: "JobDetails", as_json: bool) -> None:
    from pneumo_batch.integrations import ray_jobs

    values = ray_jobs.as_dict(found)
    if as_json:
        print_json(values)
        return
    shown = [f"{name} {values[name]}" for name in ("exit_code", "run_dir") if values[name] is not None]
    click.echo(f"{values['submission_id']}  {values['status']}" + "".join(f"  {one}" for one in shown))
