"""Films through processes of this machine alone, without Ray: one that kills its process, or hangs, is found.

As in a run (watchdog.py), a film that three processes died of is left out, and so is one that took too long. A process
tells at every film that it turns to it, so what is at fault is known at once, and only its block begins again.

The processes are no forks, which threads of Arrow would not survive, and none of multiprocessing's own, which begin
with the script of the user: it may have no `if __name__ == "__main__"`, or come from a pipe.
"""

import contextlib
import errno
import math
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]
from typing import Generic, TypeVar

import pyarrow as pa

from pneumo_batch.errors import RejectedImage
from pneumo_batch.execution import culprits

T = TypeVar("T")
Work = Callable[..., T]
_FILMS_PER_BLOCK = 256
_FILMS_PER_PROCESS = 64  # at least: they take about as long as a process takes to start
_LONGEST_WAIT_SECONDS = 15.0
_STILLBORN = "the processes that open films end before the first one; is there memory left?"


def each_block(films: pa.Table, work: Work[T], *, cpus: int, seconds: float = 300.0) -> list[T]:
    """What `work` makes of each block of a table of films, in their order.

    `work(block, before=begin)` calls `begin` with the `image_id` of every film that it turns to, which raises
    RejectedImage for a film that is left out: three processes died of it, or one sat on it for longer than `seconds`.
    `work` and what it returns are pickled. Raises what `work` raises, and ChildProcessError where no process gets to a
    film.
    """
    fair = math.ceil(films.num_rows / (4 * cpus))
    rows = min(max(_FILMS_PER_PROCESS, fair), _FILMS_PER_BLOCK)
    blocks = [range(start, min(start + rows, films.num_rows)) for start in range(0, films.num_rows, rows)]
    pool = _Pool(films, work, min(cpus, len(blocks)), seconds)
    try:
        return pool.each(blocks)
    finally:
        pool.kill()


class _Process:
    """One process, and what it works on: numbers of films in the table."""

    def __init__(self, work: Work[T]):
        self.pipe, other_end = connection.Pipe()
        end = other_end.fileno()
        program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({end})"
        self._process = subprocess.Popen(  # noqa: S603 - ours
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            pass_fds=[end],
            process_group=0,  # a terminal's Ctrl-C is for this process, which ends the others
        )
        other_end.close()  # so that this end is told when the process is gone
        self._tell(work)
        self.block = range(0)
        self.film: int | None = None
        self._since = 0.0

    def give(self, block: range, rows: pa.Table, left_out: dict[int, str]) -> None:
        self.block = block
        self.turns_to(None)
        self._tell((block.start, rows, {film: left_out[film] for film in block if film in left_out}))

    def turns_to(self, film: int | None) -> None:
        self.film, self._since = film, time.monotonic()

    def late_with(self, seconds: float) -> int | None:
        """The film that it has sat on for longer; on a busy machine a process may take that long to start."""
        is_late = self.block and time.monotonic() - self._since > seconds
        return self.film if is_late else None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _tell(self, what: object) -> None:
        with contextlib.suppress(ConnectionError):  # it is gone, as the next look into the pipe will tell
            self.pipe.send(what)


class _Pool(Generic[T]):
    def __init__(self, films: pa.Table, work: Work[T], most: int, seconds: float):
        self._films, self._work, self._most, self._seconds = films, work, most, seconds
        self._processes: list[_Process] = []
        self._waiting: deque[range] = deque()
        self._results: dict[int, T] = {}  # by the number of a block's first film
        self._deaths: Counter[int | None] = Counter()  # by film; None: before there was one
        self._left_out: dict[int, str] = {}

    def each(self, blocks: list[range]) -> list[T]:
        self._waiting.extend(blocks)
        while self._waiting or any(process.block for process in self._processes):
            self._hand_out()
            self._listen()
            self._end_the_late()
        return [self._results[start] for start in sorted(self._results)]

    def kill(self) -> None:
        for process in self._processes:
            process.kill()

    def _hand_out(self) -> None:
        while self._waiting and (process := self._idle()):
            block = self._waiting.popleft()
            # taken, not sliced: a pickled slice brings the whole table with it
            process.give(block, self._films.take(pa.array(block, pa.int64())), self._left_out)

    def _idle(self) -> _Process | None:
        for process in self._processes:
            if not process.block:
                return process
        if len(self._processes) == self._most:
            return None
        self._processes.append(_Process(self._work))
        return self._processes[-1]

    def _listen(self) -> None:
        by_pipe = {process.pipe: process for process in self._processes}
        for pipe in connection.wait(list(by_pipe), min(self._seconds / 4, _LONGEST_WAIT_SECONDS)):
            assert isinstance(pipe, Connection)
            try:
                said = pipe.recv()
            except (EOFError, OSError):  # nothing, or half a message
                self._bury(by_pipe[pipe])
            else:
                self._hear(by_pipe[pipe], said)

    def _hear(self, process: _Process, said: "_Turned | _Done[T] | Exception") -> None:
        if isinstance(said, Exception):
            raise said
        if isinstance(said, _Turned):
            process.turns_to(said.film)
            return
        self._results[process.block.start] = said.result
        process.block = range(0)

    def _end_the_late(self) -> None:
        for process in self._processes:
            if (film := process.late_with(self._seconds)) is not None:
                self._left_out[film] = culprits.stuck(self._seconds)
                process.kill()  # the next look into its pipe buries it

    def _bury(self, process: _Process) -> None:
        """What a dead process had to do is done again, apart from the film that it died of."""
        process.kill()
        self._processes.remove(process)
        block, film = process.block, process.film
        if not block:
            return
        self._deaths[film] += 1
        if self._deaths[film] > culprits.DEATHS:
            if film is None:
                raise ChildProcessError(errno.ECHILD, _STILLBORN)
            self._left_out.setdefault(film, culprits.died(self._deaths[film]))
        alone = range(block.start, block.start) if film is None else range(film, film + 1)
        parts = range(block.start, alone.start), alone, range(alone.stop, block.stop)
        self._waiting.extendleft(part for part in parts if part)


# ----------------------------------------------------------------------------------------------------- in a process


def serve(end: int) -> None:
    """Work on the blocks that come through a pipe until its other end is gone; `end` is the file descriptor of this."""
    pipe = Connection(end)
    with contextlib.suppress(EOFError, OSError):
        work = pipe.recv()
        while True:
            pipe.send(_answer(pipe, work, *pipe.recv()))


def _answer(
    pipe: Connection, work: Work[T], first: int, block: pa.Table, left_out: dict[int, str]
) -> "_Done[T] | ExceptionWithTraceback":
    numbers = {image_id: number for number, image_id in enumerate(block["image_id"].to_pylist(), first)}

    def begin(image_id: str) -> None:
        if reason := left_out.get(numbers[image_id]):
            raise RejectedImage(reason)
        pipe.send(_Turned(numbers[image_id]))

    try:
        return _Done(work(block, before=begin))
    except Exception as error:
        return ExceptionWithTraceback(error, error.__traceback__)  # pickled it is the error itself


@dataclass(frozen=True)
class _Turned:
    film: int


@dataclass(frozen=True)
class _Done(Generic[T]):
    result: T
