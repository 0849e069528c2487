"""One pass over the data in a row a method, so that passes can be laid side by side."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core import tables

_KINDS = {"mean_tt": "true_true", "mean_tn": "true_random", "mean_ttx": "true_true_cross"}


def rows(verdict: Mapping[str, Any], summary: pa.Table, about: Mapping[str, Any]) -> pa.Table:
    """Rows of `tables.PASSES` from verdict.json and the summary; `about` has `pass`, `time`, `images`, `attributed`."""
    view = verdict["primary"]["view"]
    true = [one for one in verdict["variants"].values() if one["kind"] == "true"]
    accuracy = float(np.mean([one["test"]["accuracy"] for one in true])) if true else None
    found = []
    for method, concluded in sorted(verdict["methods"].items()):
        cell = {"class_name": "all", "method": method, **verdict["primary"]}
        constant = verdict["degenerate"].get(f"{method}/{view}", {})
        maps = about["attributed"] * len(verdict["variants"])
        found.append(
            {
                **about,
                "method": method,
                **{name: _mean(summary, {**cell, "kind": kind}) for name, kind in _KINDS.items()},
                "accuracy": accuracy,
                "degenerate": sum(constant.values()) / maps if maps else None,
                "verdict": concluded["verdict"],
            }
        )
    return pa.Table.from_pylist(found, schema=tables.PASSES)


def _mean(summary: pa.Table, wanted: Mapping[str, str]) -> float | None:
    for name, value in wanted.items():
        summary = summary.filter(pc.equal(summary[name], value))
    return summary["mean"][0].as_py() if summary.num_rows else None
