"""From similarities to label shares, intervals and the permutation over models.

TT and TN are the mean similarities of the maps of two true models, and of a true and a random one, on the same film;
TTx and TNx those of the same pairs on films of two patients. h = TT - TTx is what two true models agree on about a
film, k = TN - TNx what is left of it with random labels, and L = 1 - k / h the label share.

>>> from pneumo_batch import statistics
>>> found = statistics.quantities(true_true=0.8, true_random=0.35, true_true_cross=0.3, true_random_cross=0.25)
>>> round(found.headroom, 3), round(found.remainder, 3), round(found.share, 3)
(0.5, 0.1, 0.8)
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from pneumo_batch.core.similarity import per_image
from pneumo_batch.core.similarity.per_image import Cell
from pneumo_batch.core.statistics import bootstrap
from pneumo_batch.core.statistics import label_share as _core
from pneumo_batch.core.statistics import permutation as _permutation
from pneumo_batch.core.statistics.estimates import CellTest, Estimate, Interval, Permutation

__all__ = [
    "Cell",
    "CellTest",
    "Estimate",
    "Interval",
    "Permutation",
    "Quantities",
    "bootstrap_interval",
    "interval_over_models",
    "label_share",
    "permutation_test",
    "quantities",
]


@dataclass(frozen=True)
class Quantities:
    """What four mean similarities come to; the share is NaN where the headroom is not above 0."""

    difference: float
    everywhere: float
    image_specific: float
    headroom: float
    remainder: float
    share: float


def quantities(true_true: float, true_random: float, true_true_cross: float, true_random_cross: float) -> Quantities:
    """The difference TT - TN, its part on every film, TTx - TNx, the rest of it, h, k and L = 1 - k / h.

    >>> quantities(0.5, 0.5, 0.5, 0.5).share
    nan
    """
    kinds_4 = np.array([true_true, true_random, true_true_cross, true_random_cross])
    return Quantities(*map(float, _core.quantities(kinds_4)))


def label_share(scores: pd.DataFrame, resamples: int = 2000, seed: int = 0) -> dict[Cell, CellTest]:
    """The test of every method, view, scale and metric in a table of scores, as `Run.scores` gives it.

    Columns: image_id, label, patient_id, method, view, scale, metric, kind, variant_a, variant_b, score. Which models
    are true and which random follows from the kinds. Intervals are over patients (bootstrap) and models (jackknife).
    Raises ValueError where a film has two scores of one pair, as in a table of several targets or of two runs.

    >>> rows = [("true_true", "a", "b", 0.8), ("true_random", "a", "n", 0.35), ("true_random", "b", "n", 0.35),
    ...         ("true_true_cross", "a", "b", 0.3), ("true_random_cross", "a", "n", 0.25)]
    >>> scores = pd.DataFrame(rows, columns=["kind", "variant_a", "variant_b", "score"])
    >>> scores = scores.merge(pd.DataFrame({"image_id": list("123456"), "patient_id": list("123456")}), how="cross")
    >>> scores = scores.assign(label=0, method="grad_cam", view="magnitude", scale="region", metric="spearman")
    >>> test = label_share(scores)[Cell("grad_cam", "magnitude", "region", "spearman")]
    >>> test.images, round(test.share.value, 3), test.share.ci_low  # of other models nothing is known with so few
    (6, 0.8, None)
    """
    twice = scores["image_id"][scores.duplicated(["image_id", *per_image.COLUMNS])]
    if len(twice):
        raise ValueError(
            f"scores: {twice.iloc[0]} has two scores of one pair of models: give those of one run, and of several"
            " targets those of one, run.scores(target)"
        )
    images = scores[["image_id", "label", "patient_id"]].drop_duplicates("image_id").sort_values("image_id")
    data = per_image.gather(_table(scores), pa.Table.from_pandas(images, preserve_index=False))
    true, random = _models(scores)
    return _core.randomization_test(data, true, random, resamples=resamples, seed=seed)


def permutation_test(matrix_VV: npt.ArrayLike, true_count: int) -> Permutation | None:
    """The exact one-sided test over relabelings of V models: p is the share that reaches the observed separation.

    `matrix_VV` is symmetric and holds the similarity of every two models, the `true_count` true ones first; the
    statistic is the mean over true pairs minus that over mixed pairs. None without two true models and a random one,
    or where a pair has no value. The smallest p is 1 / binomial(V, true_count): 0.05 for 3 + 3 models.
    Where there are more than 65 536 relabelings, so many are drawn at random, the given one among them.
    Raises ValueError for a matrix that is not symmetric, such as a triangle of one.

    >>> matrix_VV = np.zeros((6, 6))
    >>> matrix_VV[:3, :3] = 1
    >>> permutation_test(matrix_VV, 3)
    Permutation(statistic=1.0, p=0.05, smallest_p=0.05, relabelings=20)
    """
    values = np.asarray(matrix_VV, dtype=np.float64)
    if values.ndim != 2 or values.shape != values.T.shape or not np.allclose(values, values.T, equal_nan=True):
        raise ValueError(f"a symmetric matrix (V, V) is needed, with both orders of a pair: this is {values.shape}")
    return _permutation.exact(values, true_count)


def bootstrap_interval(
    values_N: npt.ArrayLike, patients_N: npt.ArrayLike, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of a mean over N images, patients resampled; NaN values are left out.

    The images of one patient are not independent, so whole patients are drawn. Raises ValueError unless every value has
    a patient.

    >>> low, high = bootstrap_interval([0.1, 0.2, 0.3, 0.4], ["a", "a", "b", "b"])
    >>> round(low, 2), round(high, 2)
    (0.15, 0.35)
    """
    values, patients = np.asarray(values_N, dtype=np.float64), np.asarray(patients_N)
    if values.ndim != 1 or values.shape != patients.shape:
        raise ValueError(f"values and patients have shapes {values.shape} and {patients.shape}: give (N,) twice")
    low, high = bootstrap.interval(bootstrap.means(values[:, None], patients, resamples, seed))[:, 0]
    return float(low), float(high)


def interval_over_models(
    value: float,
    without_true: npt.ArrayLike,
    without_random: npt.ArrayLike,
    drawn_B: npt.ArrayLike,
    patients: float,
    tangent_B: npt.ArrayLike | None = None,
) -> Estimate:
    """A quantity with its 95 % interval over models and patients, as a run computes it.

    `without_true` and `without_random` are its values with each model left out in turn, `drawn_B` those of resampled
    patients. The variances of both jackknives (Efron and Stein 1981) and of the bootstrap, times P / (P - 1), add up;
    Student's t with Satterthwaite's (1946) degrees of freedom. The interval is None with fewer than three models of a
    kind.

    `patients` are P. Where some have more films than others a run counts them as (sum n)^2 / sum n^2 for n films each
    (Kish 1965), and gives no interval where that is below 5. Of a ratio such as L, `tangent_B` is what its draws vary
    by along the tangent: (k_b - (1 - L) h_b) / h for the h_b and k_b of the same resamples. Without it the variance is
    that of `drawn_B` itself, which a few resamples decide where h is small. Raises ValueError for `patients` of 1 or
    fewer, and for a `tangent_B` of another length than `drawn_B`.

    >>> drawn_B = np.random.default_rng(0).normal(0.8, 0.02, 1000)
    >>> found = interval_over_models(0.8, [0.78, 0.80, 0.82], [0.79, 0.80, 0.81], drawn_B, patients=50)
    >>> found.ci_low < 0.8 < found.ci_high, 2 < found.df < 49
    (True, True)
    """
    if not patients > 1:
        raise ValueError(f"patients = {patients:g}: an interval over patients takes more than one")
    true_R, random_K, drawn = (
        np.asarray(values, dtype=np.float64) for values in (without_true, without_random, drawn_B)
    )
    tangent = None if tangent_B is None else np.asarray(tangent_B, dtype=np.float64)
    if tangent is not None and tangent.shape != drawn.shape:
        raise ValueError(
            f"tangent_B has {tangent.size} values and drawn_B {drawn.size}: one of each resample is needed"
        )
    return _core.combine(value, true_R, random_K, drawn, patients, tangent)


def _models(scores: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Names of the true and of the random models, sorted."""
    kinds = scores["kind"].astype(str)
    both, mixed, neither = (scores[kinds == kind] for kind in ("true_true", "true_random", "random_random"))
    true = {*both["variant_a"], *both["variant_b"], *mixed["variant_a"]}
    return sorted(true), sorted({*mixed["variant_b"], *neither["variant_a"], *neither["variant_b"]})


def _table(scores: pd.DataFrame) -> pa.Table:
    names = ["image_id", *per_image.COLUMNS, "score"]
    return pa.Table.from_pandas(scores[names].astype({"score": np.float32}), preserve_index=False)
