"""The numbers of the calibrated test, from per-image similarities.

Shapes: N images, V models, Q quantities, B resamples. Numbers that are undefined are None, ready for JSON.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.stats

from pneumo_batch.core import bootstrap, tables
from pneumo_batch.core.per_image import Cell, PerImage

_CHUNK = 65_536  # relabelings evaluated at once
_TIE = 1e-12  # two relabelings of equal statistic must not differ by rounding

Numbers = dict[str, Any]


def calibrated_test(
    data: PerImage, true: Sequence[str], random: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> dict[Cell, Numbers]:
    """Every number of the test for every cell.

    `means` are over the images with a value, by kind.
    `difference` is the mean over images of d = TT - TN and `headroom` that of TT - TTx, both with 95 % intervals from
    the same resampled patients, as has `sensitivity_index`, their ratio: only where the interval of `headroom` is
    above 0. `wilcoxon_p` (one-sided) and `rank_biserial` take the patients' mean d as their unit; `holm_p` is
    corrected over all cells. `permutation` is exact over relabelings of the models.
    """
    cells = data.cells
    columns = [column for cell in cells for column in _differences(data, cell)]
    values_NQ = np.stack(columns, axis=1) if columns else np.empty((len(data.labels_N), 0))
    drawn_BQ = bootstrap.means(values_NQ, data.patients_N, resamples, seed)
    tests = {}
    for position, cell in enumerate(cells):
        pair = slice(2 * position, 2 * position + 2)
        numbers = {"means": _kind_means(data, cell), **_effect(values_NQ[:, pair], drawn_BQ[:, pair])}
        numbers |= signed_rank(patient_means(values_NQ[:, 2 * position], data.patients_N))
        numbers["permutation"] = model_permutation(data.matrix(cell, [*true, *random]), len(true))
        tests[cell] = numbers
    corrected = holm([numbers["wilcoxon_p"] for numbers in tests.values()])
    for numbers, p in zip(tests.values(), corrected, strict=True):
        numbers["holm_p"] = p
    return tests


def summarise(data: PerImage, classes: Sequence[str], *, resamples: int = 2000, seed: int = 0) -> pa.Table:
    """`tables.SUMMARY`: per cell and kind the mean, spread, median and interval of the per-image means.

    First over all images (`class_name` "all"), then over those of each class; the label is the index into `classes`.
    `images` have a defined score, `pairs` counts all scores and `degenerate` those that are NaN.
    """
    groups = [("all", np.ones(len(data.labels_N), dtype=bool))]
    groups += [(name, data.labels_N == label) for label, name in enumerate(classes)]
    keys = sorted(data.kinds)
    rows = [row for name, of_N in groups for row in _summary_rows(data, keys, name, of_N, resamples, seed)]
    return pa.Table.from_pylist(rows, schema=tables.SUMMARY)


def _summary_rows(
    data: PerImage, keys: list[tuple[Cell, str]], class_name: str, of_N: np.ndarray, resamples: int, seed: int
) -> Iterator[Numbers]:
    values_NQ = np.stack([data.kinds[key].means[of_N] for key in keys], axis=1) if keys else np.empty((of_N.sum(), 0))
    limits_2Q = bootstrap.interval(bootstrap.means(values_NQ, data.patients_N[of_N], resamples, seed))
    for (cell, kind), values_N, limits in zip(keys, values_NQ.T, limits_2Q.T, strict=True):
        tally, there = data.kinds[cell, kind], values_N[~np.isnan(values_N)]
        pairs = int(tally.rows_N[of_N].sum())
        yield {
            "class_name": class_name,
            **cell._asdict(),
            "kind": kind,
            "images": len(there),
            "pairs": pairs,
            "degenerate": pairs - int(tally.defined_N[of_N].sum()),
            "mean": number(there.mean()) if len(there) else None,
            "std": number(there.std(ddof=1)) if len(there) > 1 else None,
            "median": number(np.median(there)) if len(there) else None,
            "ci_low": number(limits[0]),
            "ci_high": number(limits[1]),
        }


def _kind_means(data: PerImage, cell: Cell) -> dict[str, float | None]:
    by_kind = {kind: data.means(cell, kind) for found, kind in sorted(data.kinds) if found == cell}
    return {
        kind: number(means_N[~np.isnan(means_N)].mean()) if (~np.isnan(means_N)).any() else None
        for kind, means_N in by_kind.items()
    }


def _differences(data: PerImage, cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Of each image d = TT - TN and TT - TTx, NaN where either side has no value."""
    ceiling_N = data.means(cell, "true_true")
    return ceiling_N - data.means(cell, "true_random"), ceiling_N - data.means(cell, "true_true_cross")


def _effect(values_N2: np.ndarray, drawn_B2: np.ndarray) -> Numbers:
    there_N2 = ~np.isnan(values_N2)
    difference, headroom = (
        {
            "mean": number(values_N2[there_N2[:, q], q].mean()) if there_N2[:, q].any() else None,
            "ci_low": number(low),
            "ci_high": number(high),
        }
        for q, (low, high) in enumerate(bootstrap.interval(drawn_B2).T)
    )
    return {
        "images": int(there_N2[:, 0].sum()),
        "difference": difference,
        "headroom": headroom,
        "sensitivity_index": _index(difference, headroom, drawn_B2),
    }


def _index(difference: Numbers, headroom: Numbers, drawn_B2: np.ndarray) -> Numbers | None:
    if difference["mean"] is None or headroom["ci_low"] is None or headroom["ci_low"] <= 0:
        return None
    # At most one resample in forty has a denominator that is not positive: a ratio to it would mean nothing.
    ratio_B = np.full(len(drawn_B2), np.nan)
    np.divide(drawn_B2[:, 0], drawn_B2[:, 1], out=ratio_B, where=drawn_B2[:, 1] > 0)
    low, high = bootstrap.interval(ratio_B[:, None])[:, 0]
    return {"value": difference["mean"] / headroom["mean"], "ci_low": number(low), "ci_high": number(high)}


def patient_means(values_N: np.ndarray, patients_N: np.ndarray) -> np.ndarray:
    """Mean of each patient's images, NaN left out, patients without any value too: independent units for a test."""
    there_N = ~np.isnan(values_N)
    counts = np.bincount(patients_N[there_N])
    sums = np.bincount(patients_N[there_N], weights=values_N[there_N])
    return sums[counts > 0] / counts[counts > 0]


def signed_rank(differences_C: np.ndarray) -> Numbers:
    """Wilcoxon's one-sided p that differences (C,) of independent patients are above 0, and the effect size.

    Zeros are left out. `rank_biserial` is the matched-pairs one of Kerby (2014): the share of the rank sum in favour
    less the share against, from -1 to 1. Without a difference other than 0 there is no effect: p is 1.
    """
    numbers: Numbers = {"patients": len(differences_C), "wilcoxon_p": None, "rank_biserial": None}
    if len(differences_C):
        changed = differences_C[differences_C != 0]
        numbers |= {"wilcoxon_p": 1.0, "rank_biserial": 0.0}
        if len(changed):
            result = scipy.stats.wilcoxon(changed, alternative="greater")
            total = len(changed) * (len(changed) + 1) / 2
            numbers |= {"wilcoxon_p": float(result.pvalue), "rank_biserial": float(2 * result.statistic / total - 1)}
    return numbers


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction over those that are not None, in the order given."""
    known = [(p, position) for position, p in enumerate(p_values) if p is not None]
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, position) in enumerate(sorted(known)):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        corrected[position] = highest
    return corrected


def model_permutation(matrix_VV: np.ndarray, true_count: int) -> Numbers | None:
    """Exact test over all relabelings of V models as `true_count` true ones and the rest random.

    The statistic is mean TT - mean TN of the symmetric similarity matrix whose first `true_count` models are the
    true ones; p is the share of relabelings that reach it. `smallest_p` is what complete separation would give.
    None without two true models and a random one, or where a pair of models has no similarity.
    """
    models = len(matrix_VV)
    filled_VV = np.where(np.eye(models, dtype=bool), 0.0, matrix_VV)
    if true_count < 2 or models <= true_count or np.isnan(filled_VV).any():
        return None
    reached, count = 0, math.comb(models, true_count)
    observed = _separation(filled_VV, np.arange(true_count)[None])[0]
    relabelings = itertools.combinations(range(models), true_count)
    while chosen := list(itertools.islice(relabelings, _CHUNK)):
        reached += int((_separation(filled_VV, np.array(chosen)) >= observed - _TIE).sum())
    return {"statistic": float(observed), "p": reached / count, "smallest_p": 1 / count, "relabelings": count}


def _separation(matrix_VV: np.ndarray, chosen_LR: np.ndarray) -> np.ndarray:
    """Mean TT - mean TN (L,) of L choices of R true models."""
    relabelings, true_count = chosen_LR.shape
    is_true_LV = np.zeros((relabelings, len(matrix_VV)))
    np.put_along_axis(is_true_LV, chosen_LR, 1.0, axis=1)
    toward_LV = is_true_LV @ matrix_VV
    twice_true_L = (toward_LV * is_true_LV).sum(axis=1)  # the matrix is symmetric: every pair is met twice
    mixed_L = (toward_LV * (1 - is_true_LV)).sum(axis=1)
    random_count = len(matrix_VV) - true_count
    return twice_true_L / (true_count * (true_count - 1)) - mixed_L / (true_count * random_count)


def number(value: float) -> float | None:
    """A plain float, None for NaN."""
    return None if np.isnan(value) else float(value)
