"""Retention: the oldest complete runs of each job are removed, and nothing else ever is."""

import shutil
import uuid
from pathlib import Path

from pneumo_batch import terminal
from pneumo_batch.errors import DamagedError, RunBusyError, RunError
from pneumo_batch.rundir.layout import RECORD
from pneumo_batch.rundir.locations import folder_of_runs
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.record import RunRecord
from pneumo_batch.rundir.writer import RunWriter


def clean(folder: str, keep: int, *, dry_run: bool = False) -> list[str]:
    """Remove all but the `keep` newest complete runs of each job name in a folder; returns those (to be) removed.

    Runs that are not complete, damaged, or held by a process stay and do not count. Raises RunError without such a
    folder.
    """
    complete: dict[str, list[tuple[str, Path]]] = {}
    for path in sorted(folder_of_runs(folder).iterdir()):
        record = _complete_record(path)
        if record:
            complete.setdefault(record["name"], []).append((record["updated"], path))
    removed = []
    for runs in complete.values():
        for updated, path in sorted(runs, reverse=True)[keep:]:
            if dry_run or _remove(path, updated):
                removed.append(str(path))
    return sorted(removed)


def _complete_record(path: Path) -> RunRecord | None:
    """The record of a complete run that nobody holds; a damaged one is none, and is named."""
    if path.is_symlink() or not (path / RECORD).is_file():
        return None
    run = Run(path)
    try:
        record = run.record
    except (RunError, DamagedError) as error:
        terminal.say(f"warning: {error}; it stays")
        return None
    return record if record["status"] == "complete" and not run.is_held() else None


def _remove(path: Path, updated: str) -> bool:
    """Remove a run unless a process took it up meanwhile. It is renamed first: half a run would look like one."""
    doomed = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.removed")
    try:
        with RunWriter(path).lock():
            if Run(path).record["updated"] != updated:
                return False
            path.rename(doomed)
    except RunBusyError:
        return False
    shutil.rmtree(doomed)
    return True
