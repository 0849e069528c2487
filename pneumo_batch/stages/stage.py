"""What a stage is: a step of a run that is planned, done, and accounted for.

A stage is a module of this folder with the three functions of `Work`. The pipeline names it beside what the run's
directory has to know of it (`rundir.layout.OWNERS`); its module is imported when there is something to do, because its
libraries are not the start-up time of another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pneumo_batch.errors import DamagedError, RunError
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.accounts import ImbalanceError
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store
from pneumo_batch.rundir.writer import RunWriter

DAMAGE = (DamagedError, ImbalanceError, FileNotFoundError)  # whatever else is raised is a mistake of ours


@dataclass(frozen=True)
class Survey:
    """A job together with the data, checkpoints and code it refers to, as they are now."""

    fingerprint: str
    classes: list[str]
    images: dict[str, int]  # by split, before validation is carved from train
    patients: dict[str, int]  # by split, as paths and lists tell them: a DICOM header may join or part some
    earlier: int = 0  # of the images to attribute, those that earlier passes over growing data have had

    def attributed(self, job: Job) -> int:
        """Images to attribute."""
        return _limited(self.images, job) - self.earlier

    def patients_attributed(self, job: Job) -> int:
        """Patients of the images to attribute, at most."""
        return _limited(self.patients, job)


def _limited(counts: dict[str, int], job: Job) -> int:
    count = sum(counts.get(split, 0) for split in job.attribution.splits)
    return min(count, job.attribution.limit or count)


@dataclass(frozen=True)
class Plan:
    """What a stage would do: a line for people and, for `--json`, numbers."""

    line: str
    numbers: Mapping[str, object] = field(default_factory=dict)


class Work(Protocol):
    """What the module of a stage has."""

    def plan(self, job: Job, found: Survey, store: Store, /) -> Plan:
        """What it would do, without doing it.

        Raises JobError where it cannot end well: parts do not fit together, the disk of `store` has no room.
        """

    def execute(self, job: Job, run: RunWriter, resources: Resources | None, /) -> dict[str, int]:
        """Do what is not done yet; returns counts for the record. Raises JobError or DataError."""

    def verify(self, job: Job, run: Run, /) -> None:
        """Read what it left. Raises one of `DAMAGE` where it does not account for every image."""


@dataclass(frozen=True)
class Stage:
    """A step of every run."""

    name: str
    work: Callable[[], Work]
    """Imports the module."""
    needs_ray: bool = True


class UnbalancedError(RunError):
    """Tables that do not account for every image, or a file that cannot be read."""
