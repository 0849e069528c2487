"""The data randomization test of attribution methods as a distributed batch job.

`from pneumo_batch import Run` opens a run directory for reading; everything else is the `pneumo-batch` command.
"""

from importlib import metadata
from typing import TYPE_CHECKING, Any

__version__ = metadata.version("pneumo-batch")
__all__ = ["Run", "__version__"]

if TYPE_CHECKING:
    from pneumo_batch.rundir.reader import Run


def __getattr__(name: str) -> Any:
    # Lazy, so that `pneumo-batch --help` does not pay for pyarrow.
    if name == "Run":
        from pneumo_batch.rundir.reader import Run

        return Run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
