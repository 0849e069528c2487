"""What is written about a run: its record, lock, events and passes over the data, and how tables become part of it."""

import contextlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import pyarrow as pa

from pneumo_batch import checksums, integrity, jobfile, lease, provenance, terminal
from pneumo_batch.checksums import Checksums
from pneumo_batch.integrity import DamagedError
from pneumo_batch.layout import (
    CASCADES,
    DERIVED,
    EVENTS,
    FORMAT,
    MANIFEST,
    MAPS,
    MODELS,
    PHANTOM,
    RECORD,
    SCORES,
    SETTLED,
    STAGING,
    SUMS,
)
from pneumo_batch.storage import Store, json_bytes, reason

_OF_PASS = re.compile(r"/p(\d{4,})-[^/]*$")
# What a stage commits as a whole once all of it is there; other files are simply written again.
_TABLES = {"index": (MANIFEST,), "attribute": (MAPS,), "compare": (SCORES,), "cascade": (CASCADES, DERIVED)}
_CHECKSUM = "checksum"  # of the record's other fields


class RunError(ValueError):
    """A run directory that cannot be used as asked; the message is one line that names it."""


class RunBusyError(RunError):
    """Another process holds the run."""


class Ledger:
    """A run directory as what is written about it; `path` is local or a URI."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fspath(path)
        self.store = Store(path)
        self.checksums = Checksums(self.store)
        self._events: list[str] = []  # of this process, where files cannot be appended to
        self._session = uuid.uuid4().hex[:8]
        self._hidden: dict[str, str] = {}  # paths that no record is to hold, and what stands for them

    @property
    def record(self) -> dict[str, Any]:
        """The content of run.json, from its copy where it is damaged. Raises RunError when this is no run directory."""
        try:
            record = self.store.read_twice(RECORD, parse_record)
        except FileNotFoundError as error:
            raise RunError(f"{self.path}: no run here (no {RECORD})") from error
        except OSError as error:
            raise RunError(f"{self.path}: cannot be read: {reason(error)}") from error
        except DamagedError as error:
            raise RunError(f"{self.path}/{error}") from error
        if record.get("format", 0) > FORMAT:
            raise RunError(f"{self.path}: written by a newer pneumo-batch (format {record['format']}); upgrade")
        return record

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run; raises RunBusyError at once when another process does.

        On a local disk the operating system releases the lock with the process, so that no crash leaves a stale one;
        elsewhere a killed holder's lease ends after a minute (see `lease`).
        """
        if not self.store.is_local:
            with self._lease():
                yield
            return
        Path(self.store.root).mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.store.path(".lock"), blocking=False)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise RunBusyError(f"{self.path}: another process holds this run; try again later") from error
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _lease(self) -> Iterator[None]:
        held = lease.Lease(self.store)
        try:
            held.acquire()
        except lease.HeldError as error:
            raise RunBusyError(f"{self.path}: {error} holds this run; try again later") from error
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {reason(error)}") from error
        try:
            yield
        finally:
            held.release()

    def is_held(self) -> bool:
        """Whether a process works on this run now."""
        if not self.store.is_local:
            return lease.is_held(self.store)
        try:
            with self.lock():
                return False
        except RunBusyError:
            return True

    def write_record(self, record: dict[str, Any]) -> None:
        record = jobfile.without({**record, "updated": provenance.now()}, self._hidden)
        self.store.write_twice(RECORD, json_bytes({**record, _CHECKSUM: _digest(record)}))

    def heal(self) -> None:
        """Put back what two copies are kept of. Raises RunError where both are damaged."""
        for name, parse in ((RECORD, parse_record), (SUMS, checksums.parse)):
            try:
                if self.store.exists(name) and self.store.heal(name, parse):
                    self.warn(f"{name}: damaged; its copy takes its place")
            except DamagedError as error:
                raise RunError(f"{self.path}/{error}, and so is its copy; choose another --run-dir") from error

    def warn(self, message: str, **fields: Any) -> None:
        """Say what was found, here and in the events."""
        if not terminal.logs_json():  # which shows every event
            terminal.say(f"warning: {self.path}: {message}")
        self.event("warning", message=message, **fields)

    def update_record(self, **fields: Any) -> None:
        self.write_record({**self.record, **fields})

    def stage(self, name: str, **fields: Any) -> None:
        """Note how far a stage is: `status`, and when it is complete `seconds` and `counts`."""
        record = self.record
        stages = {**record["stages"], name: fields}
        counts = dict(record["counts"])
        for wanted in ("images", "quarantined", "attributed"):
            found = [stage["counts"][wanted] for stage in stages.values() if wanted in stage.get("counts", {})]
            if found and wanted != "quarantined":
                counts[wanted] = found[0]
        counts["quarantined"] = sum(stage.get("counts", {}).get("quarantined", 0) for stage in stages.values())
        self.write_record({**record, "stages": stages, "counts": counts})
        self.event("stage", stage=name, **fields)

    def reopen(self, stages: Sequence[str], damaged: Sequence[str] = ()) -> None:
        """Take stages back. The first begins again with those files of its own that are whole, the others anew."""
        for name in damaged:
            self.store.remove(_whole_of(name))
        self.checksums.drop(stages)
        for name in stages:
            kept = name == stages[0] and self._can_keep(name)
            for table in _TABLES.get(name, ()):
                if not kept:
                    self.store.remove(table)
                    self.store.remove(f"{STAGING}/{table}")
                elif self.store.exists(table):
                    self.store.move(table, f"{STAGING}/{table}")
        record = self.record
        stages_left = {name: stage for name, stage in record["stages"].items() if name not in stages}
        number = 1 if stages[0] == "index" else self.number
        self.write_record({**record, "status": "running", "pass": number, "stages": stages_left})

    def _can_keep(self, stage: str) -> bool:
        """Whether a stage can go on with some of its files: where an image's rows are all in one of them."""
        return stage == "attribute" or (self.number == 1 and stage in ("compare", "cascade") and not self._has_derived)

    @property
    def _has_derived(self) -> bool:
        return self.store.exists(DERIVED)

    def fail(self, error: BaseException) -> None:
        """Note what ended the run early. The message is kept, not the traceback: records hold no paths of ours."""
        message = next(iter(str(error).strip().splitlines()), "")
        self.update_record(status="failed", error={"type": type(error).__name__, "message": message})
        self.event("failed", error=type(error).__name__, message=message)

    def complete(self) -> None:
        """The last write of a run."""
        self.store.remove(STAGING)
        self.event("complete")
        self.update_record(status="complete", error=None)

    def event(self, kind: str, **fields: Any) -> None:
        """One line of events.jsonl."""
        told = jobfile.without(fields, self._hidden)
        line = json.dumps({"time": provenance.now(), "event": kind, **told}, default=str) + "\n"
        if terminal.logs_json():
            terminal.say(kind, event=kind, **fields)
        if self.store.is_local:
            with Path(self.store.path(EVENTS)).open("a", encoding="utf-8") as file:
                file.write(line)
            return
        self._events.append(line)
        self.store.write_bytes(f"events/{self._session}.jsonl", "".join(self._events).encode())

    @property
    def number(self) -> int:
        """Of the pass over the data, from 1; later ones only where `data.grows`."""
        return self.record.get("pass", 1)

    def begin_pass(self) -> None:
        """Everything but what the first pass settled is to be done for images that joined the data."""
        record = self.record
        stages = {name: stage for name, stage in record["stages"].items() if name in SETTLED}
        self.write_record({**record, "status": "running", "pass": self.number + 1, "stages": stages})
        self.event("pass", number=self.number)

    def files_of_pass(self, table: str, *, earlier: bool = False) -> list[str]:
        """The files that this pass has given a table, or those of the passes before it."""
        number, found = self.number, self.store.files(table, ".parquet")
        passes = [int(match[1]) if (match := _OF_PASS.search(name)) else 1 for name in found]
        return [name for name, one in zip(found, passes, strict=True) if (one < number if earlier else one == number)]

    def staged(self, table: str) -> list[str]:
        """The files of a table in the making, one of each: of two that a repeated task has left, the second goes."""
        found: dict[str, str] = {}
        for name in self.store.files(f"{STAGING}/{table}", ".parquet"):
            if found.setdefault(integrity.stem(name), name) != name:
                self.store.remove(name)
        return list(found.values())

    def is_committed(self, table: str) -> bool:
        """Whether what this pass gives a table is in it."""
        return self.store.has(table) and (self.number == 1 or bool(self.files_of_pass(table)))

    def commit_table(self, name: str, replaced: Mapping[str, pa.Table] | None = None) -> None:
        """Make what was written under `staging/` part of a table; `replaced` puts others in place of files of it."""
        prefix = f"p{self.number:04}-" if self.number > 1 else ""
        self.staged(name)
        contents = {one: integrity.parquet_bytes(table) for one, table in (replaced or {}).items()}
        with self.checksums.replacing({one: integrity.sha256(content) for one, content in contents.items()}):
            self.store.extend(name, f"{STAGING}/{name}", prefix, contents)

    def recover(self) -> None:
        """End what a crash left undone."""
        for name in (MANIFEST, MAPS, SCORES, CASCADES, DERIVED):
            self.store.recover(name, f"{STAGING}/{name}")


def parse_record(data: bytes) -> dict[str, Any]:
    """The content of run.json without its checksum, which records of older versions lack. Raises DamagedError."""
    try:
        record = json.loads(data)
    except ValueError as error:
        raise DamagedError(f"{RECORD}: damaged: not JSON: {error}") from error
    if not isinstance(record, dict) or record.pop(_CHECKSUM, None) not in (None, _digest(record)):
        raise DamagedError(f"{RECORD}: damaged: not what was written")
    return record


def _digest(record: dict[str, Any]) -> str:
    return integrity.sha256(json.dumps(record, sort_keys=True).encode())


def _whole_of(name: str) -> str:
    """What has to be made again for a damaged file: a model and the generated images as wholes."""
    parts = name.split("/")
    return {MODELS: "/".join(parts[:2]), PHANTOM: PHANTOM}.get(parts[0], name)
