"""The summary table: what a run's similarities are on average, kind by kind. It describes; it decides nothing."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pneumo_batch.core import tables
from pneumo_batch.core.similarity.per_image import Cell, PerImage, row_means
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
    rows = [row for g in range(len(groups)) for row in _rows(data.patients_N, columns, g, resamples, seed)]
    return pa.Table.from_pylist(rows, schema=tables.SUMMARY)


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
        found.values_NQ[:, q] = row_means(scores_NP)
        undefined_N, pairs = np.isnan(scores_NP).sum(axis=1), scores_NP.shape[1]
        found.counted.append([(int(of_N.sum()) * pairs, int(undefined_N[of_N].sum())) for _, of_N in groups])
    return found


def _rows(
    patients_N: np.ndarray, columns: _Columns, group: int, resamples: int, seed: int
) -> Iterator[dict[str, object]]:
    class_name, of_N = columns.groups[group]
    values_NQ = columns.values_NQ if of_N.all() else columns.values_NQ[of_N]
    projected_NQ = np.empty_like(values_NQ)
    for q, (_, kind) in enumerate(columns.keys):
        projected_NQ[:, q] = projected(values_NQ[:, q], kind)
    limits_2Q = bootstrap.interval(bootstrap.means(projected_NQ, patients_N[of_N], resamples, seed))
    for (cell, kind), counted, values_N, limits in zip(
        columns.keys, columns.counted, values_NQ.T, limits_2Q.T, strict=True
    ):
        size, undefined = counted[group]
        there = values_N[~np.isnan(values_N)]
        yield {
            "class_name": class_name,
            **cell._asdict(),
            "kind": kind,
            "images": len(there),
            "pairs": size,
            "degenerate": undefined,
            "mean": number(there.mean()) if len(there) else None,
            "std": number(there.std(ddof=1)) if len(there) > 1 else None,
            "median": number(np.median(there)) if len(there) else None,
            "ci_low": number(limits[0]),
            "ci_high": number(limits[1]),
        }
