"""Where a run is and where it stands: its record, job, progress and verdict."""

import functools
import os
import re
from typing import Any

from pneumo_batch.errors import DamagedError, RunError
from pneumo_batch.job import jobfile, schema
from pneumo_batch.rundir import lock
from pneumo_batch.rundir.layout import FORMAT, JOB, PROGRESS, RECORD, VERDICT
from pneumo_batch.rundir.locations import refused
from pneumo_batch.rundir.record import Progress, RunRecord, parse_record
from pneumo_batch.rundir.storage import Store

_OF_PASS = re.compile(r"/p(\d{4,})-[^/]*$")


class RunDirectory:
    """What is known of a run before its tables and models are opened."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fspath(path)
        self.store = Store(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    @property
    def record(self) -> RunRecord:
        """The content of run.json, from its copy where it is damaged or gone. Raises RunError where this is no run."""
        try:
            record = self.store.read_twice(RECORD, parse_record)
        except FileNotFoundError as error:
            raise RunError(f"{self.path}: no run here (no {RECORD})") from error
        except NotADirectoryError as error:
            raise RunError(f"{self.path}: a file, or below one: a run is the folder that holds {RECORD}") from error
        except OSError as error:
            raise RunError(f"{self.path}: cannot be read: {refused(error)}") from error
        except DamagedError as error:
            raise RunError(f"{self.path}/{error}") from error
        if record.get("format", 0) > FORMAT:
            raise RunError(f"{self.path}: written by a newer pneumo-batch (format {record['format']}); upgrade")
        return record

    def progress(self) -> Progress | None:
        """How far the tasks of the running stage were some seconds ago, or of the one that was ended; else None."""
        try:
            return self.store.read_json(PROGRESS)
        except FileNotFoundError:
            return None

    @property
    def verdict(self) -> dict[str, Any]:
        """The content of verdict.json, which `has_concluded` tells from an earlier one. Raises RunError without one."""
        return self.store.read_json(self._need(VERDICT, "conclude"))

    @property
    def has_concluded(self) -> bool:
        """Whether there is a verdict, and no earlier one: of the pass before, or from before a stage began again."""
        concluded = self.record["stages"].get("conclude", {"status": ""})["status"] == "complete"
        return concluded and self.store.exists(VERDICT)

    def check_concluded(self) -> None:
        """Raises RunError where there is no verdict, or an earlier one that belongs to other tables."""
        self._need(VERDICT, "conclude")
        if not self.has_concluded:
            raise RunError(f"{self.path}: {VERDICT} is an earlier one; the stage 'conclude' has yet to write it anew")

    @functools.cached_property
    def job(self) -> schema.Job:
        """The resolved job of the run."""
        import tomllib

        data = self.store.read_bytes(self._need(JOB, "index"))
        try:
            values = tomllib.loads(data.decode())
        except ValueError as error:
            raise DamagedError(f"{self.path}/{JOB}: damaged: {error}") from error
        if self.record["format"] < FORMAT:
            values.get("compare", {}).pop("margin", None)  # of the first rule; it decides nothing any more
        return jobfile.parse(values, source=f"{self.path}/{JOB}")

    def check_format(self, wanted: str) -> None:
        """Raises RunError where an older version wrote the run and it lacks what a `wanted` thing is made of."""
        found = self.record["format"]
        if found < FORMAT:
            raise RunError(
                f"{self.path}: no {wanted}: an earlier pneumo-batch wrote this run (format {found}), without"
                " random_random_cross scores and label shares; run its job again in another directory"
            )

    @property
    def targets(self) -> list[str]:
        """What is explained: one output most often, or several by name."""
        return self.job.attribution.targets

    @property
    def number(self) -> int:
        """Of the pass over the data, from 1; later ones only where `data.grows`."""
        return self.record.get("pass", 1)

    def is_held(self) -> bool:
        """Whether a process works on this run now."""
        return lock.is_held(self.store)

    def files_of_pass(self, table: str, *, earlier: bool = False) -> list[str]:
        """The files that this pass has given a table, or those of the passes before it."""
        number, found = self.number, self.store.files(table, ".parquet")
        passes = [int(match[1]) if (match := _OF_PASS.search(name)) else 1 for name in found]
        return [name for name, one in zip(found, passes, strict=True) if (one < number if earlier else one == number)]

    def _need(self, name: str, stage: str) -> str:
        if not self.store.has(name):
            self.record  # noqa: B018 - says so if this is no run at all
            raise RunError(f"{self.path}: no {name} yet; the stage {stage!r} writes it")
        return name
