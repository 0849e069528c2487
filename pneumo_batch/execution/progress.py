"""Progress of a stage: workers report to the board, the driver shows it as bars or as plain lines, and notes it."""

import contextlib
import dataclasses
import sys
import threading
import time
from collections.abc import Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pneumo_batch import terminal
from pneumo_batch.execution.board import Board, TaskState
from pneumo_batch.rundir import provenance
from pneumo_batch.rundir.layout import PROGRESS
from pneumo_batch.rundir.writer import RunWriter

_POLL_SECONDS = 0.5
_LINE_SECONDS = 15.0
_NOTE_SECONDS = 15.0


def warn(run: RunWriter, stage: str, line: str) -> None:
    """Tell the user and the record what weakens a result."""
    if not terminal.logs_json():  # which shows every event
        terminal.say(f"warning: {line}")
    run.event("warning", stage=stage, message=line)


@contextlib.contextmanager
def shown(totals: dict[str, int], run: RunWriter) -> Iterator[Board]:
    """Show the tasks of a stage while the block runs; yields the board that workers report to.

    How far they are is noted in the run meanwhile, for whoever asks from elsewhere; what ends the block early leaves
    the note there.
    """
    board = Board.of_driver()
    stop = threading.Event()
    show = _show_bars if sys.stderr.isatty() and not terminal.logs_json() else _show_lines
    run.store.remove(PROGRESS)  # of an attempt before this one
    threads = [
        threading.Thread(target=show, args=(board, totals, stop), daemon=True),
        threading.Thread(target=_note, args=(board, totals, stop, run), daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield board
    finally:
        stop.set()
        # as long as one question to the board takes: nobody may ask Ray anything once it is shut down
        for thread in threads:
            thread.join()
    run.store.remove(PROGRESS)


def _states(board: Board, totals: dict[str, int]) -> dict[str, TaskState]:
    """By task of this stage: one of the stage before may come late, and what was told by who died then comes twice."""
    found = board.read().items()
    return {
        task: dataclasses.replace(state, done=min(state.done, totals[task])) for task, state in found if task in totals
    }


def _note(board: Board, totals: dict[str, int], stop: threading.Event, run: RunWriter) -> None:
    while not stop.wait(_NOTE_SECONDS):
        tasks = {
            task: {"done": state.done, "total": totals[task], "note": state.note}
            for task, state in _states(board, totals).items()
        }
        with contextlib.suppress(OSError):  # the stage itself says what is wrong with its disk
            run.store.write_json(PROGRESS, {"time": provenance.now(), "tasks": tasks})


def _show_bars(board: Board, totals: dict[str, int], stop: threading.Event) -> None:
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
            for task, state in _states(board, totals).items():
                bars.update(ids[task], completed=state.done, note=state.note)


def _show_lines(board: Board, totals: dict[str, int], stop: threading.Event) -> None:
    started = time.monotonic()
    shown: dict[str, int] = {}
    while not stop.wait(_LINE_SECONDS):
        for task, state in _states(board, totals).items():
            if shown.get(task) == state.done:
                continue
            shown[task] = state.done
            note = f"  {state.note}" if state.note else ""
            seconds = time.monotonic() - started
            line = f"  {task}: {state.done}/{totals[task]}  {seconds:.0f} s{note}"
            words = line if not terminal.logs_json() else line.strip()
            terminal.say(words, task=task, done=state.done, total=totals[task], note=state.note)
