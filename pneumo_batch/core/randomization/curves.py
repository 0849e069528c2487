"""How alike the maps of derived networks are to the original's: rows of the cascades table, and the curve over depth.

Beside the similarity stand what Hedström et al. (2024) made of it: that of maps averaged over noisy inputs
(smoothing.py), and the entropy of a map's histogram (complexity.py).

Shapes: B images, D derived networks, R similarities of two maps, h x w a map's own resolution; N images of a table,
Q points of all curves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from pneumo_batch.core import tables
from pneumo_batch.core.randomization.cascade import CASCADE, Derived
from pneumo_batch.core.randomization.complexity import histogram_entropy, relative_rise
from pneumo_batch.core.similarity import metrics
from pneumo_batch.core.similarity.comparison import Comparison
from pneumo_batch.core.similarity.per_image import Cell
from pneumo_batch.core.statistics import bootstrap
from pneumo_batch.core.statistics.options import RESAMPLES
from pneumo_batch.core.statistics.randomised import Bounded, Randomised

_AT_ONCE = 16  # derived maps whose features are held together
_RISE = ("rise", "rise_low", "rise_high")
_SMOOTH = ("smooth_mean", "smooth_low", "smooth_high")
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


def map_entropies(plan: Comparison, derived: Mapping[str, np.ndarray], bins: int) -> np.ndarray:
    """Entropy (D, R) float32 in bits of one image's derived maps (D, h, w) at the input's resolution.

    R is in the order of `cells`; all scales and metrics of a view have the same.
    """
    named = cells(plan)
    of_view = {
        place: histogram_entropy(metrics.prepare(derived[place[0]], *place, plan.size), bins)
        for place in dict.fromkeys((cell.method, cell.view) for cell in named)
    }
    return np.stack([of_view[cell.method, cell.view] for cell in named], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Measured:
    """Of B images under D networks: R similarities, the entropy of the output and of maps in bits; float32 all.

    `smooth_BDR` are the similarities of maps averaged over noisy inputs, None without.
    """

    scores_BDR: np.ndarray
    entropy_BD: np.ndarray
    map_entropy_BDR: np.ndarray
    smooth_BDR: np.ndarray | None = None


def table(identity: pa.Table, plan: Comparison, derived: Sequence[Derived], found: Measured) -> pa.Table:
    """`tables.CASCADES`: D x R rows for each row of `identity`; `plan` has the original as its one variant."""
    scores_BDR = found.scores_BDR
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
    columns["entropy"] = pa.array(found.entropy_BD[image_N, network_N], pa.float32())
    columns["map_entropy"] = pa.array(found.map_entropy_BDR.ravel(), pa.float32())
    smooth = pa.nulls(scores_BDR.size) if found.smooth_BDR is None else pa.array(found.smooth_BDR.ravel())
    columns["smooth_score"] = smooth.cast(pa.float32())
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
    frame = frame.astype(dict.fromkeys(("score", "entropy", "map_entropy", "smooth_score"), np.float64))
    frame["rise"] = _rise(frame)
    whole = frame.groupby(_POINT, observed=True).agg(
        pairs=("score", "size"),
        degenerate=("degenerate", "sum"),
        entropy=("entropy", "mean"),
        map_entropy=("map_entropy", "mean"),
    )
    whole = whole.join(_means(frame, "score", resamples, seed))
    for value, named in (("rise", _RISE), ("smooth_score", _SMOOTH)):
        means = _means(frame, value, resamples, seed)[["mean", "ci_low", "ci_high"]]
        whole = whole.join(means.set_axis(list(named), axis=1))
    return pa.Table.from_pandas(whole.reset_index(), schema=tables.CASCADE_SUMMARY, preserve_index=False)


def _means(frame: pd.DataFrame, value: str, resamples: int, seed: int) -> pd.DataFrame:
    """By point of all curves: images with a value, their mean and its interval."""
    values = frame.groupby([*_POINT, "image_id"], observed=True)[value].mean().unstack("image_id").sort_index()
    patients = frame.groupby("image_id")["patient_id"].first().loc[list(values.columns)]
    codes_N = np.unique(patients.to_numpy(dtype=str), return_inverse=True)[1]
    values_NQ = values.to_numpy(np.float64).T
    low_Q, high_Q = bootstrap.interval(bootstrap.means(values_NQ, codes_N, resamples, seed))
    return pd.DataFrame(
        {"images": values.notna().sum(axis=1), "mean": values.mean(axis=1), "ci_low": low_Q, "ci_high": high_Q},
        index=values.index,
    )


def _rise(frame: pd.DataFrame) -> np.ndarray:
    """Of every row the rise of its map's entropy over that of the original's, relative."""
    place = ["image_id", "variant", "method", "view"]
    at_first = frame[(frame["mode"] == CASCADE) & (frame["depth"] == 0)]
    original = at_first.groupby(place, observed=True)["map_entropy"].first().rename("original")
    joined = frame[[*place, "map_entropy"]].join(original, on=place)
    return relative_rise(joined["map_entropy"].to_numpy(), joined["original"].to_numpy())


def at_full_depth(summary: pa.Table, view: str, scale: str, metric: str) -> dict[str, Randomised]:
    """By method the end of the cascade in one view and scale and by one metric, from `tables.CASCADE_SUMMARY`."""
    frame = summary.to_pandas()
    chosen = (frame["view"] == view) & (frame["scale"] == scale) & (frame["metric"] == metric)
    curve = frame[chosen & (frame["mode"] == CASCADE)].sort_values("depth")
    return {str(method): _end(rows) for method, rows in curve.groupby("method", sort=False)}


def _end(rows: pd.DataFrame) -> Randomised:
    first, last = rows.iloc[0], rows.iloc[-1]
    return Randomised(
        variant=last["variant"],
        layers=int(last["depth"]),
        images=int(last["images"]),
        mprt=_bounded(last, "mean", "ci_low", "ci_high"),
        smprt=_bounded(last, *_SMOOTH),
        smprt_ceiling=_bounded(first, *_SMOOTH),
        emprt=_bounded(last, *_RISE),
    )


def _bounded(row: pd.Series, *names: str) -> Bounded:
    return Bounded(*(None if pd.isna(row[name]) else float(row[name]) for name in names))
