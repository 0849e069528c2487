"""How alike the maps of derived networks are to the original's: rows of the cascades table, and the curve over depth.

Shapes: B images, D derived networks, R similarities of two maps, h x w a map's own resolution; N images of a table,
Q points of all curves.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from pneumo_batch.core import tables
from pneumo_batch.core.randomization.cascade import Derived
from pneumo_batch.core.similarity import metrics
from pneumo_batch.core.similarity.comparison import Comparison
from pneumo_batch.core.similarity.per_image import Cell
from pneumo_batch.core.statistics import bootstrap
from pneumo_batch.core.statistics.options import RESAMPLES

_AT_ONCE = 16  # derived maps whose features are held together
_POINT = ["variant", "method", "view", "scale", "metric", "mode", "depth", "layer"]


def cells(plan: Comparison) -> list[Cell]:
    """What is scored of two maps, in the order of the job: those cells of the comparison that the run has."""
    return list(dict.fromkeys(Cell(cell.method, cell.view, cell.scale, cell.metric) for cell in plan.cells))


def to_original(plan: Comparison, original: Mapping[str, np.ndarray], derived: Mapping[str, np.ndarray]) -> np.ndarray:
    """Similarity (D, R) float32 of one image's derived maps to its original ones, R in the order of `cells`.

    `original` holds (h, w) and `derived` (D, h, w) for each method. The definitions are those of the scores table.
    """
    count = len(next(iter(derived.values())))
    parts = []
    for start in range(0, count, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        maps = {name: np.concatenate([original[name][None], maps_Dhw[part]]) for name, maps_Dhw in derived.items()}
        parts.append(_to_first(plan, maps, min(_AT_ONCE, count - start)))
    return np.concatenate(parts)


def _to_first(plan: Comparison, maps: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    features = plan.features(maps)
    pairs_D2 = np.stack([np.zeros(count, np.int64), np.arange(1, count + 1)], axis=1)
    columns = []
    for cell in cells(plan):
        of_cell = features.of(cell.method, cell.view)
        columns.append(metrics.scores(of_cell, of_cell, pairs_D2, cell.metric, cell.scale))
    return np.stack(columns, axis=1).astype(np.float32)


def table(
    identity: pa.Table,
    plan: Comparison,
    derived: Sequence[Derived],
    scores_BDR: np.ndarray,
    entropy_BD: np.ndarray,
) -> pa.Table:
    """`tables.CASCADES`: D x R rows for each row of `identity`; `plan` has the original as its one variant."""
    images, networks, rows = scores_BDR.shape
    image_N, network_N, cell_N = (index.ravel() for index in np.indices(scores_BDR.shape))
    named = cells(plan)
    columns = {name: identity[name].take(pa.array(image_N)) for name in ("image_id", "label", "patient_id")}
    columns |= {name: _coded([getattr(cell, name) for cell in named], cell_N) for name in Cell._fields}
    columns["variant"] = _coded([plan.variants[0].name], np.zeros(images * networks * rows, np.int16))
    columns |= {name: _coded([getattr(one, name) for one in derived], network_N) for name in ("mode", "layer")}
    for name in ("depth", "seed"):
        columns[name] = pa.array(np.array([getattr(one, name) for one in derived])[network_N])
    columns["score"] = pa.array(scores_BDR.ravel(), pa.float32())
    columns["degenerate"] = pa.array(np.isnan(scores_BDR.ravel()))
    columns["entropy"] = pa.array(entropy_BD[image_N, network_N], pa.float32())
    ordered = [columns[field.name].cast(field.type) for field in tables.CASCADES]
    return pa.table(ordered, schema=tables.CASCADES)


def _coded(values: Sequence[str], index_N: np.ndarray) -> pa.DictionaryArray:
    distinct, codes = np.unique(np.array(values, dtype=str), return_inverse=True)
    return pa.DictionaryArray.from_arrays(pa.array(codes[index_N], pa.int16()), pa.array(distinct.tolist()))


def curves(scores: pa.Table, *, resamples: int = RESAMPLES, seed: int = 0) -> pa.Table:
    """`tables.CASCADE_SUMMARY`: mean similarity to the original at every depth, of each curve.

    An image counts with its mean over seeds. The 95 % interval resamples patients, the same ones at every point; it
    does not cover other seeds, of which a job has few. NaN scores are counted as degenerate and left out.
    """
    names = [name for name in scores.column_names if name not in ("image_id", "patient_id", "label")]
    frame = scores.select(["image_id", "patient_id", *names]).to_pandas()
    frame = frame.astype({"score": np.float64, "entropy": np.float64})
    values = frame.groupby([*_POINT, "image_id"], observed=True)["score"].mean().unstack("image_id").sort_index()
    patients = frame.groupby("image_id")["patient_id"].first().loc[list(values.columns)]
    codes_N = np.unique(patients.to_numpy(dtype=str), return_inverse=True)[1]
    values_NQ = values.to_numpy(np.float64).T
    low_Q, high_Q = bootstrap.interval(bootstrap.means(values_NQ, codes_N, resamples, seed))
    whole = frame.groupby(_POINT, observed=True).agg(
        pairs=("score", "size"), degenerate=("degenerate", "sum"), entropy=("entropy", "mean")
    )
    found = pd.DataFrame(
        {"images": values.notna().sum(axis=1), "mean": values.mean(axis=1), "ci_low": low_Q, "ci_high": high_Q},
        index=values.index,
    ).join(whole)
    return pa.Table.from_pandas(found.reset_index(), schema=tables.CASCADE_SUMMARY, preserve_index=False)
