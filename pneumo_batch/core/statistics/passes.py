"""One pass over the data in a row a method, so that passes can be laid side by side."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pneumo_batch.core import tables

_KINDS = {
    "mean_tt": "true_true",
    "mean_tn": "true_random",
    "mean_ttx": "true_true_cross",
    "mean_tnx": "true_random_cross",
}


def rows(verdict: Mapping[str, Any], about: Mapping[str, Any]) -> pa.Table:
    """Rows of `tables.PASSES` from verdict.json; `about` has `pass`, `time`, `images` and `attributed`."""
    view = verdict["primary"]["view"]
    true = [one for one in verdict["variants"].values() if one["kind"] == "true"]
    accuracy = float(np.mean([one["test"]["accuracy"] for one in true])) if true else None
    found = []
    for method, concluded in sorted(verdict["methods"].items()):
        numbers = concluded["numbers"]
        constant = verdict["degenerate"].get(f"{method}/{view}", {})
        maps = about["attributed"] * len(verdict["variants"])
        found.append(
            {
                **about,
                "method": method,
                **{name: numbers["means"].get(kind) for name, kind in _KINDS.items()},
                "headroom": numbers["headroom"]["value"],
                "share": numbers["share"]["value"],
                "share_low": numbers["share"]["ci_low"],
                "share_high": numbers["share"]["ci_high"],
                "accuracy": accuracy,
                "degenerate": sum(constant.values()) / maps if maps else None,
                "verdict": concluded["verdict"],
            }
        )
    return pa.Table.from_pylist(found, schema=tables.PASSES)
