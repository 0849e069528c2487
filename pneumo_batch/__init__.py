"""The data randomization test of attribution methods as a distributed batch job.

`run` does what the `pneumo-batch` command does, from a notebook; `Run` reads what it has written;
`randomization_test` takes networks and images in memory. The mathematics is in `pneumo_batch.attribution`,
`pneumo_batch.similarity` and `pneumo_batch.statistics`.
"""

import importlib
from importlib import metadata
from typing import TYPE_CHECKING

__version__ = metadata.version("pneumo-batch")
__all__ = ["Run", "Verdict", "__version__", "randomization_test", "run"]

if TYPE_CHECKING:
    from pneumo_batch.api.randomization import randomization_test
    from pneumo_batch.api.runs import run
    from pneumo_batch.api.verdict import Verdict
    from pneumo_batch.rundir.reader import Run

_PLACES = {
    "Run": "pneumo_batch.rundir.reader",
    "Verdict": "pneumo_batch.api.verdict",
    "randomization_test": "pneumo_batch.api.randomization",
    "run": "pneumo_batch.api.runs",
}
_MODULES = ("attribution", "similarity", "statistics")


def __getattr__(name: str) -> object:
    # Lazy, so that `pneumo-batch --help` does not pay for pyarrow and torch.
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
