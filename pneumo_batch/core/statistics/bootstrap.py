"""Bootstrap intervals that resample patients: the images of one patient are not independent.

Shapes: N images, C patients (clusters), B resamples, Q quantities.
"""

import contextlib
import functools
import tempfile
from collections.abc import Iterator

import numpy as np

LEVEL = 0.95
_CHUNK = 4_000_000  # weights held at once
_DRAWN = 1 << 18  # of them while they are drawn, which takes four times as much
_COLUMNS = 16  # quantities whose values are sorted at once
_KEPT = 256_000_000  # weights that are kept, a byte each, in a file


def draws(clusters: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Chunks (b, C) float64 of how often each patient is drawn, C patients with replacement; B rows in all."""
    step = max(1, _CHUNK // clusters)
    kept_BC = _kept(clusters, resamples, seed) if 0 < clusters * resamples <= _KEPT else None
    anew = _drawn(clusters, resamples, seed, step)
    for start in range(0, resamples, step):
        yield (next(anew) if kept_BC is None else kept_BC[start : start + step]).astype(np.float64)


@functools.lru_cache(maxsize=1)  # every cell of a run and every model asks for the same
def _kept(clusters: int, resamples: int, seed: int) -> np.ndarray | None:
    """What is drawn, (B, C) uint8: nobody is drawn 256 times of as many draws as there are patients.

    In a file without a name that is mapped, so that the system can take its memory back; None where there is no room.
    """
    with contextlib.suppress(OSError), tempfile.TemporaryFile() as file:
        for counts_bC in _drawn(clusters, resamples, seed, max(1, _DRAWN // clusters)):
            file.write(counts_bC)
        file.flush()
        return np.asarray(np.memmap(file, np.uint8, "r", shape=(resamples, clusters)))
    return None


def _drawn(clusters: int, resamples: int, seed: int, step: int) -> Iterator[np.ndarray]:
    """What is drawn, (step, C) uint8 at a time."""
    rng, part = np.random.default_rng(seed), max(1, _DRAWN // clusters)
    for start in range(0, resamples, step):
        counts_bC = np.empty((min(step, resamples - start), clusters), np.uint8)
        for rows_pC in np.split(counts_bC, range(part, len(counts_bC), part)):
            drawn_pC = rng.integers(clusters, size=rows_pC.shape)
            drawn_pC += clusters * np.arange(len(rows_pC))[:, None]
            rows_pC[:] = np.bincount(drawn_pC.ravel(), minlength=rows_pC.size).reshape(rows_pC.shape)
        yield counts_bC


def effective(patients_N: np.ndarray) -> float:
    """As how many patients with equally many films the patients of N films count (Kish, Survey Sampling, 1965)."""
    films_C = np.unique(patients_N, return_counts=True)[1]
    return float(len(patients_N) ** 2 / (films_C**2).sum())


def means(values_NQ: np.ndarray, patients_N: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means (B, Q) over the images of resampled patients, the same patients for every quantity: joint draws.

    `patients_N` are any integer codes. NaN values are left out; a quantity without any value in a resample is NaN.
    """
    codes_N = np.unique(patients_N, return_inverse=True)[1]
    clusters = int(codes_N.max(initial=-1)) + 1
    if clusters == 0:
        return np.full((resamples, values_NQ.shape[1]), np.nan)
    totals, counted_Q = _cluster_totals(values_NQ, codes_N, clusters)
    drawn = np.concatenate([weights_bC @ totals for weights_bC in draws(clusters, resamples, seed)])
    sums_BQ, counts_BQ = drawn[:, : len(counted_Q)], drawn[:, counted_Q]
    return np.divide(sums_BQ, counts_BQ, out=np.full(sums_BQ.shape, np.nan), where=counts_BQ > 0)


def interval(draws_BQ: np.ndarray) -> np.ndarray:
    """(2, Q): the 95 % percentile interval of each quantity; NaN where no resample has a value."""
    found_Q = ~np.isnan(draws_BQ).all(axis=0)
    limits_2Q = np.full((2, draws_BQ.shape[1]), np.nan)
    percent = (100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2)
    limits_2Q[:, found_Q] = np.nanpercentile(draws_BQ[:, found_Q], percent, axis=0)
    return limits_2Q


def _cluster_totals(values_NQ: np.ndarray, codes_N: np.ndarray, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Each patient's sums of the values that are there, and behind them their counts; and where those are (Q,).

    Counts are whole numbers, exact in any product; quantities of which no image lacks a value have one column of them.
    """
    order_N = np.argsort(codes_N, kind="stable")
    starts_C = np.searchsorted(codes_N[order_N], np.arange(clusters))
    quantities = values_NQ.shape[1]
    lacking = np.flatnonzero(np.isnan(values_NQ).any(axis=0))
    counted_Q = np.full(quantities, quantities)
    counted_Q[lacking] = quantities + 1 + np.arange(len(lacking))
    totals = np.empty((clusters, quantities + 1 + len(lacking)))
    totals[:, quantities] = np.bincount(codes_N, minlength=clusters)
    for start in range(0, quantities, _COLUMNS):  # the values of all, sorted, would be a second copy of them
        columns = slice(start, min(start + _COLUMNS, quantities))
        sorted_Nq = values_NQ[order_N, columns]
        sorted_Nq[np.isnan(sorted_Nq)] = 0.0
        totals[:, columns] = np.add.reduceat(sorted_Nq, starts_C, axis=0)
    for q in lacking:
        there_N = ~np.isnan(values_NQ[order_N, q])
        totals[:, counted_Q[q]] = np.add.reduceat(there_N.astype(np.float64), starts_C)
    return totals, counted_Q
