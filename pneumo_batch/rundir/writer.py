"""What writes a run: its record, events and passes over the data, and how tables become part of it."""

import contextlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Unpack, cast

import pyarrow as pa
import tomli_w

from pneumo_batch import terminal
from pneumo_batch.errors import DamagedError, RunError, root_cause
from pneumo_batch.job import jobfile
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir import checksums, exchange, integrity, lock, provenance
from pneumo_batch.rundir.checksums import Checksums
from pneumo_batch.rundir.layout import (
    DERIVED,
    EVENTS,
    FORMAT,
    JOB,
    METRICS,
    MODELS,
    PHANTOM,
    RECORD,
    STAGES,
    STAGING,
    SUMS,
    TABLES,
    owner,
)
from pneumo_batch.rundir.locations import reason
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.record import RunRecord, StageRecord, parse_record, record_bytes

_BEFORE_THE_RECORD = {SUMS, JOB, EVENTS, METRICS}  # what a run may have that ended before it had one


class RunWriter(Run):
    """A run directory to write. Hold it (`lock`) while you do."""

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__(path)
        self.checksums = Checksums(self.store)
        self._events: list[str] = []  # of this process, where files cannot be appended to
        self._session = uuid.uuid4().hex[:8]
        self._hidden: dict[str, str] = {}  # paths that no record is to hold, and what stands for them

    def refuse_other_folder(self) -> None:
        """Raise RunError for a folder that holds something and no run; before anything is written to it."""
        if not self.is_new:
            return
        with self._reached():
            if self.store.is_file():
                raise RunError(f"{self.path}: a file, not a folder: choose another --run-dir")
            found = self.store.names()
        others = [name for name in found if not name.startswith(".") and name not in _BEFORE_THE_RECORD]
        if others:
            raise RunError(
                f"{self.path}: holds no run, but is not empty (it has {others[0]}): choose another --run-dir"
            )

    def refuse_other_job(self, fingerprint: str) -> None:
        """Raise RunError for a run of another job."""
        if (known := self.record["fingerprint"]) != fingerprint:
            raise RunError(
                f"{self.path}: holds the run of another job (fingerprint {known[:12]}, this one is {fingerprint[:12]});"
                " choose another --run-dir"
            )

    @property
    def is_new(self) -> bool:
        """Whether it has no record yet. Raises RunError for an object store that does not answer, or not us."""
        with self._reached():
            return not self.store.exists_twice(RECORD)

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(f"{self.path}: cannot be read: {reason(error)}") from error

    def open(self, job: Job, fingerprint: str, hash_paths: bool = False) -> None:
        """Make the directory that of a job, new or to be resumed. Call it under `lock`.

        With `hash_paths` its records hold digests instead of the job's paths, which then are absolute ones.
        Raises RunError when the directory holds the run of another job or something that is no run.
        """
        if hash_paths:
            self._hidden = self._places_here() | jobfile.hidden_paths(job)
        if self.store.exists_twice(RECORD):
            self.heal()
            self.refuse_other_job(fingerprint)
            self._keep(job)
            return
        self.checksums.begin()
        self._keep(job)
        self.write_record(
            {
                "format": FORMAT,
                "name": job.name,
                "status": "running",
                "fingerprint": fingerprint,
                "created": provenance.now(),
                "stages": {},
                "counts": {},
                "versions": provenance.versions(),
                **provenance.source_commit(),
                "error": None,
            }
        )

    def _places_here(self) -> dict[str, str]:
        """What stands for the run, and for folders that any message may name."""
        home, here = os.path.expanduser("~"), str(Path.cwd())  # noqa: PTH111 - which says so where there is no home
        places = {home: "HOME", here: "CWD"}
        places |= dict.fromkeys([self.path, self.store.root, os.path.realpath(self.store.root)], "RUN")
        return {place: word for place, word in places.items() if "/" in place[:-1]}  # no words, and not the root

    def _keep(self, job: Job) -> None:
        """Write the job. One that resumes a run may differ in what changes no result: where the images lie now."""
        self.images = self._roots(job)  # now: a worker that gets this run has another current folder
        values = jobfile.redacted(job.model_dump(mode="json", exclude_none=True), self._hidden)
        content = tomli_w.dumps(values).encode()
        if not self.store.exists(JOB) or self.store.read_bytes(JOB) != content:
            self.checksums.replace(JOB, content)
        self.checksums.seal("job")

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the run; raises RunBusyError when another process does."""
        return lock.hold(self.store, self.path)

    def write_record(self, record: RunRecord) -> None:
        if self.store.is_lost:
            return
        written: RunRecord = {**record, "updated": provenance.now()}
        self.store.write_twice(RECORD, record_bytes(jobfile.redacted(written, self._hidden)))

    def heal(self) -> None:
        """Put back what two copies are kept of, and the copies. Raises RunError where both are damaged."""
        for name, parse in ((RECORD, parse_record), (SUMS, checksums.parse)):
            try:
                problems = self.store.heal(name, parse) if self.store.exists_twice(name) else {}
            except DamagedError as error:
                raise RunError(f"{self.path}/{error}, and so is its copy; choose another --run-dir") from error
            if name in problems:
                self.warn(f"{name}: {problems[name]}; its copy is used instead")
            elif problems and self.checksums.exist:  # runs of older versions have no copies
                (copy,) = problems
                self.warn(f"{copy}: {problems[copy]}; it is made anew")

    def warn(self, message: str, **fields: object) -> None:
        """Say what was found, here and in the events."""
        if not terminal.logs_json():  # which shows every event
            terminal.say(f"warning: {self.path}: {message}")
        self.event("warning", message=message, **fields)

    def update_record(self, **fields: object) -> None:
        """Give fields of run.json another value."""
        self.write_record(cast(RunRecord, {**self.record, **fields}))

    def stage(self, name: str, **fields: Unpack[StageRecord]) -> None:
        """Note how far a stage is."""
        record = self.record
        stages = {**record["stages"], name: fields}
        counts = dict(record["counts"])
        for wanted in ("images", "quarantined", "attributed"):
            of_stages = [
                stages[one].get("counts", {}) for one in STAGES if one in stages
            ]  # a later pass begins with train
            found = [of_stage[wanted] for of_stage in of_stages if wanted in of_stage]
            if found and wanted != "quarantined":
                counts[wanted] = found[0]
        counts["quarantined"] = sum(stage.get("counts", {}).get("quarantined", 0) for stage in stages.values())
        self.write_record({**record, "stages": stages, "counts": counts})
        self.event("stage", stage=name, **fields)

    def reopen(self, stages: Sequence[str], damaged: Sequence[str] = ()) -> None:
        """Take stages back. The first begins again with those files of its own that are whole, the others anew.

        A kill in between loses nothing: until the end the list has the damaged file, for which the next call does this
        again. Without a list, the record goes last: what is missing under finished stages is what tells.
        """
        self.recover()  # else a table that a crash left ready would come back
        listed = self.checksums.exist
        if listed:
            self._take_back(stages)
        for name in damaged:
            self.store.remove(_whole_of(name))
        for name in stages:
            kept = name == stages[0] and self._can_keep(name)
            for table in owner(name).tables:
                if not kept:
                    self.store.remove(table)
                    self.store.remove(f"{STAGING}/{table}")
                elif self.store.exists(table):
                    exchange.move(self.store, table, f"{STAGING}/{table}")
        if not listed:
            self._take_back(stages)
        if stages[0] == STAGES[0]:
            self.update_record(**{"pass": 1})
        self.checksums.drop(stages)

    def _take_back(self, stages: Sequence[str]) -> None:
        """Have these stages in the record no more."""
        record = self.record
        left = {name: stage for name, stage in record["stages"].items() if name not in stages}
        self.write_record({**record, "status": "running", "stages": left})

    def _can_keep(self, stage: str) -> bool:
        """Whether a stage can go on with some of its files: where an image's rows are all in one of them."""
        keeps = owner(stage).keeps
        first = self.number == 1 and not self.store.exists(DERIVED)  # whose files are of other networks each
        return keeps == "always" or (keeps == "in the first pass" and first)

    def fail(self, error: BaseException) -> None:
        """Note what ended the run early. The message is kept, not the traceback: records hold no paths of ours."""
        cause = root_cause(error)
        said = "interrupted" if isinstance(cause, KeyboardInterrupt) else str(cause).strip()
        kind, message = type(cause).__name__, next(iter(said.splitlines()), "")
        self.update_record(status="failed", error={"type": kind, "message": message})
        self.event("failed", error=kind, message=message)

    def complete(self) -> None:
        """The last write of a run."""
        self.store.remove(STAGING)
        self.event("complete")
        self.update_record(status="complete", error=None)

    def event(self, kind: str, **fields: object) -> None:
        """One line of events.jsonl."""
        told = jobfile.redacted(fields, self._hidden)
        line = json.dumps({"time": provenance.now(), "event": kind, **told}, default=str) + "\n"
        if terminal.logs_json() and kind != "failed":  # which the command itself says at its end
            terminal.say(kind, "warning" if kind == "warning" else "info", event=kind, **fields)
        if self.store.is_lost:
            return
        if self.store.is_local:
            with Path(self.store.path(EVENTS)).open("a", encoding="utf-8") as file:
                file.write(line)
            return
        self._events.append(line)
        self.store.write_bytes(f"events/{self._session}.jsonl", "".join(self._events).encode())

    def begin_pass(self) -> None:
        """Everything but what the first pass settled is to be done for images that joined the data."""
        record = self.record
        stages = {name: stage for name, stage in record["stages"].items() if owner(name).settled}
        self.write_record({**record, "status": "running", "pass": self.number + 1, "stages": stages})
        self.event("pass", number=self.number)

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
            exchange.extend(self.store, name, f"{STAGING}/{name}", prefix, contents)

    def recover(self) -> None:
        """End what a crash left undone."""
        for name in TABLES:
            exchange.recover(self.store, name, f"{STAGING}/{name}")
        self.checksums.settle()


def _whole_of(name: str) -> str:
    """What has to be made again for a damaged file: a model and the generated images as wholes."""
    parts = name.split("/")
    return {MODELS: "/".join(parts[:2]), PHANTOM: PHANTOM}.get(parts[0], name)
