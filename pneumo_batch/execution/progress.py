"""Progress of a stage: workers report to one actor, the driver shows it as bars or as plain lines."""

import contextlib
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import ray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pneumo_batch import terminal
from pneumo_batch.execution.worklog import Desk
from pneumo_batch.rundir.writer import RunWriter

_POLL_SECONDS = 0.5
_LINE_SECONDS = 15.0
_NAME = f"pneumo-batch board {uuid.uuid4().hex}"  # of this driver
_held: dict[str, Any] = {}  # an actor ends with the last reference to it


@ray.remote(num_cpus=0, max_restarts=-1)
class Board:
    """Latest state of every task of a stage, and who works on which image. Losing it loses no result.

    One serves all stages of a driver, cleared in between: a process more would take a second to start.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._tasks: dict[str, dict[str, Any]] = {}
        self._desk = Desk()

    def add(self, task: str, done: int) -> None:
        state = self._tasks.setdefault(task, {"done": 0, "note": ""})
        state["done"] += done

    def set(self, task: str, done: int, note: str = "") -> None:
        self._tasks[task] = {"done": done, "note": note}

    def read(self) -> dict[str, dict[str, Any]]:
        return self._tasks

    def desk(self, method: str, *arguments: Any) -> Any:
        """Call a method of the desk."""
        return getattr(self._desk, method)(*arguments)


def warn(run: RunWriter, stage: str, line: str) -> None:
    """Tell the user and the record what weakens a result."""
    if not terminal.logs_json():  # which shows every event
        terminal.say(f"warning: {line}")
    run.event("warning", stage=stage, message=line)


@contextlib.contextmanager
def shown(totals: dict[str, int]) -> Iterator[Any]:
    """Show the tasks of a stage while the block runs; yields the board that workers report to."""
    board = _held[_NAME] = Board.options(name=_NAME, get_if_exists=True).remote()  # type: ignore[attr-defined]
    board.clear.remote()
    stop = threading.Event()
    show = _show_bars if sys.stderr.isatty() and not terminal.logs_json() else _show_lines
    thread = threading.Thread(target=show, args=(board, totals, stop), daemon=True)
    thread.start()
    try:
        yield board
    finally:
        stop.set()
        thread.join()  # as long as one question to the board takes: nobody may ask Ray anything once it is shut down


def _read(board: Any) -> dict[str, dict[str, Any]]:
    try:
        return ray.get(board.read.remote(), timeout=5)
    except ray.exceptions.RayError:
        return {}  # restarting, or the cluster is busy: the next poll shows it


def _show_bars(board: Any, totals: dict[str, int], stop: threading.Event) -> None:
    columns = (
        TextColumn("  {task.description:<24}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=terminal.progress_console()) as bars:
        ids = {task: bars.add_task(task, total=total, note="") for task, total in totals.items()}
        last = False
        while not last:
            last = stop.wait(_POLL_SECONDS)
            for task, state in _read(board).items():
                bars.update(ids[task], completed=state["done"], note=state["note"])


def _show_lines(board: Any, totals: dict[str, int], stop: threading.Event) -> None:
    started = time.monotonic()
    shown: dict[str, int] = {}
    while not stop.wait(_LINE_SECONDS):
        for task, state in _read(board).items():
            if shown.get(task) == state["done"]:
                continue
            shown[task] = state["done"]
            note = f"  {state['note']}" if state["note"] else ""
            seconds = time.monotonic() - started
            line = f"  {task}: {state['done']}/{totals[task]}  {seconds:.0f} s{note}"
            about = {"task": task, "done": state["done"], "total": totals[task], "note": state["note"]}
            terminal.say(line if not terminal.logs_json() else line.strip(), **about)
