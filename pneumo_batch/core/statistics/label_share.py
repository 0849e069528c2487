"""The randomization test: what the labels change about maps, in two parts, and how sure one can be of it.

    d = TT - TN = (TTx - TNx) + [(TT - TTx) - (TN - TNx)]
                =  everywhere +      image-specific

TT and TN are the mean similarities of the maps of two true models, and of a true and a random one, on the same film;
TTx and TNx those of the same pairs on films of two patients. h = TT - TTx is what two true models share about a film,
k = TN - TNx what is left of it with random labels, and L = 1 - k / h the label share. docs/statistics.md derives it.

Shapes: N images, V models, R true and K random ones, P patients, B resamples, Q quantities.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.special

from pneumo_batch.core.similarity.kernels import defined_mean
from pneumo_batch.core.similarity.pairs import CROSS_KINDS, WITHIN_KINDS, is_cross
from pneumo_batch.core.similarity.per_image import Cell, PerImage
from pneumo_batch.core.statistics import bootstrap, permutation
from pneumo_batch.core.statistics.estimates import CellTest, Deviations, Estimate, Interval, Permutations
from pneumo_batch.core.statistics.numbers import number
from pneumo_batch.core.statistics.options import RESAMPLES

KINDS = ("true_true", "true_random", "true_true_cross", "true_random_cross")  # what the quantities are made of
QUANTITIES = ("difference", "everywhere", "image_specific", "headroom", "remainder", "share")
_H, _K, _SHARE = 3, 4, 5  # among them
FEWEST_MODELS = 3  # of a kind, for an interval that speaks of other models
FEWEST_PATIENTS = 5  # for an interval at all, as they count: with V_P's df below 1, its t has no bound
_MOST_MISSING = 0.025  # of the resamples


class Models(NamedTuple):
    """Names of those that were trained on true labels, and of those on random ones."""

    true: Sequence[str]
    random: Sequence[str]


def randomization_test(
    data: PerImage, true: Sequence[str], random: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[Cell, CellTest]:
    """The test of every cell of a run's scores; `true` and `random` name the models of each kind."""
    models = Models(true, random)
    return {cell: _test(data, cell, models, resamples, seed) for cell in data.cells}


def quantities(kinds_4: np.ndarray) -> np.ndarray:
    """(..., 4) means of `KINDS` -> (..., 6) `QUANTITIES`; the share is NaN where h is not above 0."""
    tt, tn, ttx, tnx = np.moveaxis(np.asarray(kinds_4, dtype=np.float64), -1, 0)
    h, k = tt - ttx, tn - tnx
    share = 1 - np.divide(k, h, out=np.full(np.shape(h), np.nan), where=h > 0)
    return np.stack([tt - tn, ttx - tnx, h - k, h, k, share], axis=-1)


def projected(values_N: np.ndarray, kind: str) -> np.ndarray:
    """What each film contributes to the mean of a kind, for resampling films.

    A floor is a mean over pairs of films, and a film takes part in it both as the first and as the second: resampled as
    it stands, half of what it contributes would be held fixed. Its projection (Hoeffding 1948) is 2 f_i - mean f, where
    f_i is the mean over the film's own pairs, both ways.
    """
    return 2 * values_N - np.nanmean(values_N) if is_cross(kind) and not np.isnan(values_N).all() else values_N


def tangent(top_B: np.ndarray, bottom_B: np.ndarray, ratio: float, bottom: float) -> np.ndarray:
    """What varies of a ratio's draws along its tangent at the estimate (delta method), about 0.

    The draws themselves have no variance where some divide by almost nothing: it would be that of the few smallest.
    """
    return (top_B - ratio * bottom_B) / bottom


def combine(
    value: float,
    true_R: np.ndarray,
    random_K: np.ndarray | None,
    drawn_B: np.ndarray,
    patients: float,
    tangent_B: np.ndarray | None = None,
) -> Estimate:
    """A quantity's interval over models and patients.

    `true_R` and `random_K` are its values without each model (None where random ones take no part in it), `drawn_B`
    those of resampled patients, and of a ratio `tangent_B` what they vary by. The variances of the delete-one jackknife
    over true and over random models (Efron and Stein 1981) and of the patient bootstrap, times P / (P - 1), add up,
    since the three are drawn independently; Student's t with Satterthwaite's (1946) degrees of freedom. `patients` are
    P, their effective number where some have more films than others (`bootstrap.effective`).
    """
    models = [true_R] if random_K is None else [true_R, random_K]
    missing = np.isnan(drawn_B).mean()  # ratios to a headroom that was not above 0: with many, nothing can be said
    drawn_B = drawn_B if missing <= _MOST_MISSING else np.full(1, np.nan)
    low, high = bootstrap.interval(drawn_B[:, None])[:, 0]
    of_patients = Interval(number(low), number(high))
    varying_B = drawn_B if tangent_B is None else tangent_B
    variance_P = np.nan if np.isnan(drawn_B).all() else np.nanvar(varying_B, ddof=1) * patients / (patients - 1)
    parts = np.array([*(_jackknife(without_V) for without_V in models), variance_P])
    freedom = np.array([*(len(without_V) - 1 for without_V in models), patients - 1])
    deviations = [number(np.sqrt(part)) for part in parts]
    sd = Deviations(deviations[0], None if random_K is None else deviations[1], deviations[-1])
    total = parts.sum()
    if np.isnan(total) or min(len(without_V) for without_V in models) < FEWEST_MODELS:
        return Estimate(number(value), patients=of_patients, sd=sd)
    if total == 0:
        return Estimate(float(value), float(value), float(value), of_patients, None, sd)
    df = total**2 / (parts**2 / freedom).sum()
    reach = scipy.special.stdtrit(df, (1 + bootstrap.LEVEL) / 2) * np.sqrt(total)
    return Estimate(float(value), float(value - reach), float(value + reach), of_patients, float(df), sd)


def _jackknife(without_V: np.ndarray) -> float:
    """Variance from a quantity's values without each of V models; NaN where too few models leave none."""
    if len(without_V) < 2:
        return np.nan
    return (len(without_V) - 1) / len(without_V) * ((without_V - without_V.mean()) ** 2).sum()


def _test(data: PerImage, cell: Cell, models: Models, resamples: int, seed: int) -> CellTest:
    kinds_N4 = np.stack([data.means(cell, kind) for kind in KINDS], axis=1)
    complete_N = ~np.isnan(kinds_N4).any(axis=1)
    patients = len(np.unique(data.patients_N[complete_N]))
    means = _means(data, cell, complete_N if patients else np.ones_like(complete_N))
    if not patients:
        return CellTest(images=0, patients=0, means=means)
    values_Q = quantities(kinds_N4[complete_N].mean(axis=0))
    effective = bootstrap.effective(data.patients_N[complete_N])
    if effective < FEWEST_PATIENTS:
        found = [Estimate(number(value)) for value in values_Q]
    else:
        projected_N4 = np.stack([projected(kinds_N4[complete_N, k], kind) for k, kind in enumerate(KINDS)], axis=1)
        drawn_B4 = bootstrap.means(projected_N4, data.patients_N[complete_N], resamples, seed)
        drawn_QB = quantities(drawn_B4).T
        without = (np.stack([data.means_without(cell, kind, names) for kind in KINDS], axis=-1) for names in models)
        true_QR, random_QK = (quantities(without_each(kinds_NV4)).T for kinds_NV4 in without)
        h, _, share = values_Q[_H:]
        of_share_B = tangent(drawn_QB[_K], drawn_QB[_H], 1 - share, h) if h > 0 else None
        parts = zip(values_Q, true_QR, random_QK, drawn_QB, [*[None] * _SHARE, of_share_B], strict=True)
        found = [
            combine(value, true_R, random_K, drawn_B, effective, tangent_B)
            for value, true_R, random_K, drawn_B, tangent_B in parts
        ]
    return CellTest(
        images=int(complete_N.sum()),
        patients=patients,
        means=means,
        **dict(zip(QUANTITIES, found, strict=True)),
        permutation=_permutations(data, cell, models, complete_N),
        effective_patients=effective,
    )


def without_each(kinds_NVK: np.ndarray) -> np.ndarray:
    """Means (V, K) without each of V models, over the films that have every kind then; NaN without such a film."""
    found_VK = np.full(kinds_NVK.shape[1:], np.nan)
    for position, kinds_NK in enumerate(kinds_NVK.swapaxes(0, 1)):
        complete_N = ~np.isnan(kinds_NK).any(axis=1)
        if complete_N.any():
            found_VK[position] = kinds_NK[complete_N].mean(axis=0)
    return found_VK


def _means(data: PerImage, cell: Cell, images_N: np.ndarray) -> dict[str, float | None]:
    return {kind: number(float(defined_mean(data.means(cell, kind)[images_N], axis=0))) for kind in data.kinds(cell)}


def _permutations(data: PerImage, cell: Cell, models: Models, images_N: np.ndarray) -> Permutations:
    names, true_count = [*models.true, *models.random], len(models.true)
    same_VV = data.matrix(cell, WITHIN_KINDS, names, images_N)
    floor_VV = data.matrix(cell, CROSS_KINDS, names, images_N)
    return Permutations(permutation.exact(same_VV - floor_VV, true_count), permutation.exact(same_VV, true_count))
