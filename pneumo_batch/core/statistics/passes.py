"""One pass over the data in a row a method, so that passes can be laid side by side."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pneumo_batch.core import tables
from pneumo_batch.core.similarity import pairs
from pneumo_batch.core.statistics.results import Results

_KINDS = {
    "mean_tt": "true_true",
    "mean_tn": "true_random",
    "mean_ttx": "true_true_cross",
    "mean_tnx": "true_random_cross",
}


@dataclass(frozen=True)
class Pass:
    """One pass: its number, when it ended, and how many images the run then had, and had maps of."""

    number: int
    time: str
    images: int
    attributed: int


def rows(results: Results, of: Pass) -> pa.Table:
    """Rows of `tables.PASSES`, one a method."""
    view = results.primary.view
    true = [one.test.accuracy for one in results.variants.values() if one.kind == "true"]
    accuracy = float(np.mean(np.array(true, dtype=np.float64))) if true else None
    own = {called: kind for kind, called in pairs.as_contrast(results.contrast).items()}
    found = []
    for method, concluded in sorted(results.methods.items()):
        numbers = concluded.numbers
        constant = results.degenerate.get(f"{method}/{view}", {})
        maps = of.attributed * len(results.variants)
        found.append(
            {
                "pass": of.number,
                "time": of.time,
                "images": of.images,
                "attributed": of.attributed,
                "method": method,
                **{name: numbers.means.get(own[kind]) for name, kind in _KINDS.items()},
                "headroom": numbers.headroom.value,
                "share": numbers.share.value,
                "share_low": numbers.share.ci_low,
                "share_high": numbers.share.ci_high,
                "accuracy": accuracy,
                "degenerate": sum(constant.values()) / maps if maps else None,
                "verdict": concluded.verdict,
            }
        )
    return pa.Table.from_pylist(found, schema=tables.PASSES)
