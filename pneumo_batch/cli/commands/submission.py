"""Jobs on a cluster: hand one over, look after it."""

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
from pneumo_batch.errors import EXIT_ERROR, EXIT_INTERRUPTED

if TYPE_CHECKING:
    from pneumo_batch.integrations.ray_jobs import JobDetails, JobSubmissionClient


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

    If the job already runs there, the command attaches to it. A job that has ended is continued.

    \b
    Example:
      pneumo-batch submit jobs/kaggle.toml --address http://head:8265 --run-dir s3://bucket/runs/kaggle
    """
    job = load(job_file, overrides, options["limit"])
    required = requirements_of(job, options["required"])
    from pneumo_batch.integrations import ray_jobs

    client = ray_jobs.connect(address)
    words = [word for one in required for word in ("--require", one.text)]
    words += ["--hash-paths"] if options["hash_paths"] else []
    found = ray_jobs.submit(client, address, job, options["run_dir"], words)
    click.echo(f"{'attached to' if found.attached else 'submitted'} {found.id}, run {found.run_dir}", err=True)
    if options["no_wait"]:
        _print_job(ray_jobs.find(client, address, found.id), options["as_json"])
        return 0
    try:
        ended = ray_jobs.follow(client, address, found.id)
    except KeyboardInterrupt:
        again = f"pneumo-batch job logs {found.id} --follow --address {address}"
        return complain(f"stopped following; the job goes on. To follow it again: {again}", EXIT_INTERRUPTED)
    _print_job(ended, options["as_json"])
    return ray_jobs.exit_code(ended)


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
