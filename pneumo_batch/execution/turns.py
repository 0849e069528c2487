"""Which image a process works on, for others on its machine to read: bytes of a file that it has mapped into memory.

To say it to another process at every image would cost a call each. What stands here costs nothing, and stays readable
when the process is stuck, or gone.
"""

import contextlib
import functools
import mmap
import os
import struct
import time
from pathlib import Path

import psutil

from pneumo_batch.execution import places

NONE = -1
_NOTE = struct.Struct("<dq")  # since when, by the clock that all processes of a machine share; which image of its batch
_PREFIX = "turn-"


class Turn:
    """What this process notes."""

    def __init__(self, path: Path):
        path.write_bytes(_NOTE.pack(time.monotonic(), NONE))
        with path.open("r+b") as file:
            self._mapped = mmap.mmap(file.fileno(), _NOTE.size)

    def to(self, number: int) -> None:
        """Turn to an image of the batch, or to `NONE`."""
        _NOTE.pack_into(self._mapped, 0, time.monotonic(), number)


@functools.cache
def of_this_process() -> Turn:
    for path in places.own_folder().glob(f"{_PREFIX}*"):  # of those that were killed
        if not psutil.pid_exists(int(path.name.removeprefix(_PREFIX))):
            path.unlink(missing_ok=True)
    return Turn(_path(os.getpid()))


def stuck(pid: int, seconds: float) -> int | None:
    """The image that a process of this machine has sat on for longer, by its number; None where it has on none."""
    with contextlib.suppress(FileNotFoundError):
        since, number = _NOTE.unpack(_path(pid).read_bytes())
        if number != NONE and time.monotonic() - since > seconds:
            return int(number)
    return None


def _path(pid: int) -> Path:
    return places.own_folder() / f"{_PREFIX}{pid}"
