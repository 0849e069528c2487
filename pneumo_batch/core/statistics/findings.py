"""How well a model tells several findings apart from their absence, each by the logit of its own.

Shapes: N images, K findings. Labels (N, K) are 1, 0, or `UNKNOWN`, which no number here sees.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pneumo_batch.core.statistics import classification
from pneumo_batch.core.statistics.model_results import Classification, OnTest
from pneumo_batch.core.tables import UNKNOWN


def each(
    logits_NK: np.ndarray, labels_NK: np.ndarray, names: Sequence[str]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Of every finding its name, and logits (n, 1) and labels (n,) of the images whose label is known."""
    for k, name in enumerate(names):
        known_N = labels_NK[:, k] != UNKNOWN
        yield name, logits_NK[known_N, k : k + 1], labels_NK[known_N, k]


def thresholds(logits_NK: np.ndarray, labels_NK: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """By finding the threshold with the best F1 (`classification.best_threshold`)."""
    return {name: classification.best_threshold(*one) for name, *one in each(logits_NK, labels_NK, names)}


def metrics(
    logits_NK: np.ndarray, labels_NK: np.ndarray, names: Sequence[str], chosen: Mapping[str, float]
) -> dict[str, Classification]:
    """By finding `classification.metrics` at its threshold."""
    return {
        name: classification.metrics(logits_N1, labels_N, chosen[name])
        for name, logits_N1, labels_N in each(logits_NK, labels_NK, names)
    }


def on_test(
    logits_NK: np.ndarray,
    labels_NK: np.ndarray,
    names: Sequence[str],
    chosen: Mapping[str, float],
    patients_N: np.ndarray,
) -> dict[str, OnTest]:
    """By finding `classification.on_test` at its threshold; `patients_N` are any integer codes."""
    patients = (patients_N[labels_N != UNKNOWN] for labels_N in labels_NK.T)
    return {
        name: classification.on_test(logits_N1, labels_N, codes_N, chosen[name])
        for (name, logits_N1, labels_N), codes_N in zip(each(logits_NK, labels_NK, names), patients, strict=True)
    }


def majority(labels_NK: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """By finding what always naming its more frequent label would score."""
    shares = (labels_NK[labels_NK[:, k] != UNKNOWN, k].mean() for k in range(len(names)))
    return {name: float(max(share, 1 - share)) for name, share in zip(names, shares, strict=True)}


def auroc_of(logits_NK: np.ndarray, labels_N: np.ndarray) -> float | None:
    """`classification.auroc_of`; of several findings (labels (N, K)) its mean over those that have one."""
    if labels_N.ndim == 1:
        return classification.auroc_of(logits_NK, labels_N)
    names = [str(k) for k in range(labels_N.shape[1])]
    found = [classification.auroc_of(*one) for _, *one in each(logits_NK, labels_N, names)]
    there = [area for area in found if area is not None]
    return float(np.mean(there)) if there else None
