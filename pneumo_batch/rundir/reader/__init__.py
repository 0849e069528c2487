"""The API that reads a run directory, and no Ray: where a run stands, its tables, its networks and images."""

from pneumo_batch.rundir.reader.models import RunModels
from pneumo_batch.rundir.reader.tables import RunTables

__all__ = ["Run"]


class Run(RunTables, RunModels):
    """A run directory, local or a URI.

    Reading needs no Ray:

    >>> run = Run("runs/demo-1a2b3c4d5e6f")
    >>> ids, maps_NHW = run.maps("grad_cam", "true_0")
    """
