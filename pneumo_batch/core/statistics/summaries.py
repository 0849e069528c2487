"""The summary table: what a run's similarities are on average, kind by kind. It describes; it decides nothing."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pneumo_batch.core import tables
from pneumo_batch.core.similarity.kernels import defined_mean
from pneumo_batch.core.similarity.per_image import Cell, PerImage
from pneumo_batch.core.statistics import bootstrap
from pneumo_batch.core.statistics.label_share import projected
from pneumo_batch.core.statistics.numbers import number
from pneumo_batch.core.statistics.options import RESAMPLES


def summarise(data: PerImage, classes: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0) -> pa.Table:
    """`tables.SUMMARY`: per cell and kind the mean, spread, median and interval of the per-image means.

    First over all images (`class_name` "all"), then over those of each class; the label is the index into `classes`.
    `images` have a defined score, `pairs` counts all scores and `degenerate` those that are NaN. The interval resamples
    patients: it holds for the models at hand.
    """
    groups = [_Group("all", np.ones(len(data.labels_N), dtype=bool))]
    groups += [_Group(name, data.labels_N == label) for label, name in enumerate(classes)]
    columns = _columns(data, groups)
    of_classes = [
        row
        for g, (_, of_N) in enumerate(groups[1:], start=1)
        for row in _rows(columns.values_NQ[of_N], data.patients_N[of_N], columns, g, resamples, seed)
    ]
    of_all = _rows(columns.values_NQ, data.patients_N, columns, 0, resamples, seed)  # last: the means are gone after it
    return pa.Table.from_pylist([*of_all, *of_classes], schema=tables.SUMMARY)


class _Group(NamedTuple):
    """Images that a row is of."""

    class_name: str
    of_N: np.ndarray


class _Columns(NamedTuple):
    """Means (N, Q) per image of each cell and kind, and by group how many scores it has and how many are NaN."""

    groups: Sequence[_Group]
    keys: list[tuple[Cell, str]]
    values_NQ: np.ndarray
    counted: list[list[tuple[int, int]]]  # of each key and group; the scores themselves are too many to keep


def _columns(data: PerImage, groups: Sequence[_Group]) -> _Columns:
    keys = [(cell, kind) for cell in data.cells for kind in data.kinds(cell)]
    found = _Columns(groups, keys, np.empty((len(data.labels_N), len(keys))), [])
    for q, (cell, kind) in enumerate(keys):
        scores_NP = data.table(cell, kind)
        found.values_NQ[:, q] = defined_mean(scores_NP, axis=1)
        undefined_N, pairs = np.isnan(scores_NP).sum(axis=1), scores_NP.shape[1]
        found.counted.append([(int(of_N.sum()) * pairs, int(undefined_N[of_N].sum())) for _, of_N in groups])
    return found


def _rows(
    spent_NQ: np.ndarray, patients_N: np.ndarray, columns: _Columns, group: int, resamples: int, seed: int
) -> list[dict[str, object]]:
    """Of means (N, Q), which are gone afterwards: of all images and kinds they are the largest thing in memory."""
    rows = []
    for q, ((cell, kind), counted) in enumerate(zip(columns.keys, columns.counted, strict=True)):
        values_N, (size, undefined) = spent_NQ[:, q], counted[group]
        row = {"class_name": columns.groups[group].class_name, **cell._asdict(), "kind": kind}
        rows.append({**row, **_described(values_N[~np.isnan(values_N)]), "pairs": size, "degenerate": undefined})
        values_N[:] = projected(values_N, kind)
    limits_2Q = bootstrap.interval(bootstrap.means(spent_NQ, patients_N, resamples, seed))
    limits = ({"ci_low": number(low), "ci_high": number(high)} for low, high in limits_2Q.T)
    return [row | of_row for row, of_row in zip(rows, limits, strict=True)]


def _described(there: np.ndarray) -> dict[str, object]:
    return {
        "images": len(there),
        "mean": number(there.mean()) if len(there) else None,
        "std": number(there.std(ddof=1)) if len(there) > 1 else None,
        "median": number(np.median(there)) if len(there) else None,
    }
