"""The `pneumo-batch` command: parse, load, call one function, print. Data on stdout, everything else on stderr."""

import logging
import os
import signal
import sys
from typing import NoReturn

import click

from pneumo_batch import __version__, terminal
from pneumo_batch.cli.commands import datasets, exchange, job_files, machine, runs, submission
from pneumo_batch.cli.options import complain
from pneumo_batch.errors import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    DamagedError,
    DataError,
    JobError,
    RunError,
    root_cause,
)


class Terminated(BaseException):
    """SIGTERM: unwinds the run like Ctrl-C does, so that its state is written."""


def main() -> None:
    """Entry point: every user error is one line on stderr and an exit code."""
    terminal.keep_names()
    # without a HOME it makes a folder for its fonts, and says so at length
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = cli.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _leave(complain("interrupted; the same command continues the run", EXIT_INTERRUPTED))
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except Terminated:
        _leave(complain("terminated; the same command continues the run", EXIT_TERMINATED))
    except Exception as error:
        code = _explain(error)
    sys.exit(code)


def _leave(code: int) -> NoReturn:
    """End at once, without Ray's own farewell, which races with what still runs and would lose the exit code.

    The record is written. On Linux Ray's processes end with the one that started them; elsewhere it has to say goodbye.
    """
    if sys.platform == "linux":
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _terminate(*_: object) -> None:
    raise Terminated("terminated")


def _explain(error: Exception) -> int:
    """One line for what the user can change; the traceback for what only we can."""
    cause = root_cause(error)
    said = next(iter(str(cause).splitlines()), "")  # Ray adds lines of its own to what is raised in its tasks
    if isinstance(cause, JobError | DataError | RunError):
        return complain(said, cause.exit_code)
    if isinstance(cause, DamagedError):
        return complain(f"{said}; pneumo-batch verify --reopen lets the next run compute it again", cause.exit_code)
    if isinstance(cause, OSError) and cause.errno is not None:  # full or read-only disks, lost mounts
        place = f"{cause.filename}: " if cause.filename is not None else ""
        return complain(place + (cause.strerror or os.strerror(cause.errno)).splitlines()[0], EXIT_ERROR)
    import traceback

    traceback.print_exception(error)
    return complain(f"unexpected {type(cause).__name__}: {said}", EXIT_ERROR)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="pneumo-batch")
def cli() -> None:
    """Can these saliency maps be trusted? The data randomization test as a batch job.

    \b
    Example:
      pneumo-batch run demo
      pneumo-batch status runs/demo-*
    """


for command in (
    runs.run,
    runs.status,
    runs.list_runs,
    runs.report,
    runs.verify,
    runs.clean,
    exchange.export,
    exchange.track,
    datasets.data,
    job_files.config,
    machine.doctor,
    submission.submit,
    submission.job,
):
    cli.add_command(command)
