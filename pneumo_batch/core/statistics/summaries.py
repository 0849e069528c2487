"""The summary table: what a run's similarities are on average, kind by kind. It describes; it decides nothing."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from pneumo_batch.core import tables
from pneumo_batch.core.similarity.per_image import PerImage, row_means
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
    groups = [("all", np.ones(len(data.labels_N), dtype=bool))]
    groups += [(name, data.labels_N == label) for label, name in enumerate(classes)]
    rows = [row for name, of_N in groups for row in _rows(data, name, of_N, resamples, seed)]
    return pa.Table.from_pylist(rows, schema=tables.SUMMARY)


def _rows(data: PerImage, class_name: str, of_N: np.ndarray, resamples: int, seed: int) -> Iterator[dict[str, object]]:
    keys = [(cell, kind) for cell in data.cells for kind in data.kinds(cell)]
    values_NQ = np.empty((of_N.sum(), len(keys)))
    counted = []  # of each key its scores, and those that are NaN; the scores themselves are too many to keep
    for q, (cell, kind) in enumerate(keys):
        scores_NP = data.table(cell, kind)[of_N]
        values_NQ[:, q] = row_means(scores_NP)
        counted.append((scores_NP.size, int(np.isnan(scores_NP).sum())))
    projected_NQ = np.empty_like(values_NQ)
    for q, (_, kind) in enumerate(keys):
        projected_NQ[:, q] = projected(values_NQ[:, q], kind)
    limits_2Q = bootstrap.interval(bootstrap.means(projected_NQ, data.patients_N[of_N], resamples, seed))
    for (cell, kind), (size, undefined), values_N, limits in zip(keys, counted, values_NQ.T, limits_2Q.T, strict=True):
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
