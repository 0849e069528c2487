"""What users are told in one line, and the exit code it ends with."""

import difflib
import os
from collections.abc import Iterable

EXIT_DONE = 0  # or nothing to do
EXIT_ERROR = 1  # unexpected
EXIT_USAGE = 2
EXIT_DATA = 3
EXIT_NOT_MET = 4  # `--require`
EXIT_BUSY = 75  # try again
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class JobError(ValueError):
    """A job file or option the user has to change; the message is one line that names it."""

    exit_code = EXIT_USAGE


class DataError(ValueError):
    """The data set cannot be used; one line that names the folder or class and says what to do."""

    exit_code = EXIT_DATA


class RunError(ValueError):
    """A run directory that cannot be used as requested; the message is one line that names it."""

    exit_code = EXIT_USAGE


class RunBusyError(RunError):
    """Another process holds the run."""

    exit_code = EXIT_BUSY


class DamagedError(ValueError):
    """A file of a run that is not what was written; the message is one line that names it."""

    exit_code = EXIT_DATA


class RejectedImage(ValueError):  # noqa: N818 - the word users read in the quarantine table
    """An image that cannot be used; the message is the reason, without the path."""


UNREAD = "cannot be read"


def unread(error: OSError | ValueError) -> str:
    """Why an image could not be used, without its place: tables name it by its id, and may hold no path."""
    if not isinstance(error, OSError):
        return str(error)
    return f"{UNREAD}: {os.strerror(error.errno) if error.errno else error}"


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """` (did you mean X?)` with the known names closest to one that is not among them; "" where none is close."""
    folded = {one.casefold(): one for one in known}
    close = [folded[one] for one in difflib.get_close_matches(name.casefold(), folded, n=most)]
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def root_cause(error: BaseException) -> BaseException:
    """The error under what Ray wraps around one that a worker raised."""
    seen = error
    while (inner := getattr(seen, "cause", None) or getattr(seen, "__cause__", None)) and _is_wrapper(seen):
        seen = inner
    return seen


def _is_wrapper(error: BaseException) -> bool:
    return type(error).__module__.startswith("ray.") or "RayTaskError" in type(error).__name__
