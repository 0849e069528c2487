"""The machine: whether a job could run here."""

import dataclasses

import click

from pneumo_batch.cli.options import json_option, load, print_json
from pneumo_batch.errors import EXIT_ERROR


@click.command()
@click.argument("job_file", metavar="[JOB.toml]", required=False)
@json_option
def doctor(job_file: str | None, as_json: bool) -> int:
    """Check this machine: versions, CPUs and GPUs, Ray, disk, write access.

    \b
    Example:
      pneumo-batch doctor jobs/kaggle.toml
    """
    from pneumo_batch.cli import doctor

    checks = doctor.machine(load(job_file, ()) if job_file else None)
    if as_json:
        print_json([dataclasses.asdict(check) for check in checks])
    else:
        doctor.show_machine(checks)
    return 0 if all(check.ok for check in checks) else EXIT_ERROR
