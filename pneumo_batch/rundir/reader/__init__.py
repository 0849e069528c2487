"""The API that reads a run directory, and no Ray: where a run stands, its tables, its networks and images."""

import functools

from pneumo_batch.rundir.reader.models import RunModels
from pneumo_batch.rundir.reader.tables import RunTables
from pneumo_batch.rundir.record import RunRecord

__all__ = ["Run", "Snapshot"]


class Run(RunTables, RunModels):
    """A run directory, local or a URI.

    Reading needs no Ray:

    >>> run = Run("runs/demo-1a2b3c4d5e6f")
    >>> ids, maps_NHW = run.maps("grad_cam", "true_0")
    """


class Snapshot(Run):
    """A run with its record as it was when first asked for, to be shown at once and not kept.

    Each look at the record is a round trip on object storage. Who waits for a run, or writes it, needs `Run`.
    """

    @functools.cached_property
    def record(self) -> RunRecord:
        return super().record
