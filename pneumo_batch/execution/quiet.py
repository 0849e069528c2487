"""What Ray says in this process while a run is on: on stderr, and without the lines that worry for nothing.

Ray's C++ core writes to file descriptor 2 itself, and its log level lets these lines through or drops real errors with
them. So the descriptor leads through a filter, which is a process of its own: what is written as this one crashes still
arrives. Python's own stderr goes around it. This file is that process's program too, and imports little.
"""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import TextIO

# Ray warns that an actor's arguments could get lost, which its own data sets keep; it says that it could not restart an
# actor for a lost result, and that a worker died. The run computes these again, or ends with an error of its own.
_NOISE = re.compile(
    rb"\[[-\d]+ [\d:,]+ E \d+ \d+\] (?:\([^)]*\) )?\w+\.cc:\d+: .*"
    rb"(?:has constructor arguments in the object store and max_restarts > 0"
    rb"|Failed to reconstruct actor\. Error message: .*permanently dead)"
    rb"|(?:\x1b\[\d+m)*\(raylet\)(?:\x1b\[\d+m)* "
    rb"(?:A worker died or was killed while executing a task by an unexpected system error"
    rb"|Task .* failed\. There are .* remaining, so the task will be retried)"
)
_END_SECONDS = 5
_BEGINNINGS = (b"[", b"(", b"\x1b")


@contextlib.contextmanager
def filtered() -> Iterator[None]:
    """While the block runs, descriptor 2 leads through the filter, and what is printed to stdout goes to stderr.

    stdout is always put back: a notebook goes on after its stop button. After an interruption the rest stays, for the
    process to end with: Ray is still there and writes on, and what a command says last must not wait for the filter.
    """
    real = os.dup(2)
    command = [sys.executable, "-I", "-S", __file__]
    process = subprocess.Popen(  # noqa: S603 - this file
        command, stdin=subprocess.PIPE, stdout=real, stderr=real, start_new_session=True
    )
    assert process.stdin is not None
    os.dup2(process.stdin.fileno(), 2)
    process.stdin.close()
    with contextlib.ExitStack() as undo:
        undo.callback(_end, process, real)
        try:
            with _results_apart(_own_stderr(real, undo)):
                yield
        except BaseException as error:
            if not isinstance(error, Exception):
                undo.pop_all()
            raise


def _own_stderr(real: int, undo: contextlib.ExitStack) -> bool:
    """Python's stderr to the terminal itself, for which progress bars look; whether that is where it went before.

    A stderr that is somebody's, as in a notebook, stays.
    """
    try:
        original = sys.stderr.fileno() == 2
    except (OSError, ValueError):  # captured in memory
        original = False
    if original:
        undo.enter_context(contextlib.redirect_stderr(undo.enter_context(_text(real))))
    return original


@contextlib.contextmanager
def _results_apart(has_filter: bool) -> Iterator[None]:
    """What is printed to stdout, which is for the results of a command: to the filter, or to somebody's stderr.

    Ray prints warnings there.
    """
    with contextlib.ExitStack() as undo:
        place = undo.enter_context(_text(2)) if has_filter else sys.stderr
        undo.enter_context(contextlib.redirect_stdout(place))
        yield


def _text(descriptor: int) -> TextIO:
    encoding, errors = sys.stderr.encoding, sys.stderr.errors
    return open(descriptor, "w", buffering=1, encoding=encoding, errors=errors, closefd=False)


def _end(process: "subprocess.Popen[bytes]", real: int) -> None:
    os.dup2(real, 2)
    os.close(real)
    with contextlib.suppress(subprocess.TimeoutExpired):  # who inherited the descriptor may write on
        process.wait(_END_SECONDS)


def main() -> None:
    """Copy stdin to stdout line by line, but for the noise; what cannot become noise does not wait for its end."""
    held = b""
    while data := os.read(0, 65536):
        *lines, held = (held + data).split(b"\n")
        out = b"".join(line + b"\n" for line in lines if not _NOISE.match(line))
        if not held.startswith(_BEGINNINGS):
            out, held = out + held, b""
        _write(out)
    _write(held)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
