"""How well a model tells several findings apart from their absence, each by the logit of its own.

Shapes: N images, K findings. Labels (N, K) are 1, 0, or `UNKNOWN`, which no number here sees.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pneumo_batch.core.statistics import classification
from pneumo_batch.core.tables import UNKNOWN

MEASURE = "balanced accuracy"  # tells what was learnt by heart of a finding; a majority guess scores a half
_MEANS = ("accuracy", "balanced_accuracy", "auroc", "auprc", "precision", "recall", "f1")


def known(logits_NK: np.ndarray, labels_NK: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, 1) and labels (n,) of the finding at `k`, of the images whose label is known."""
    known_N = labels_NK[:, k] != UNKNOWN
    return logits_NK[known_N, k : k + 1], labels_NK[known_N, k]


def each(
    logits_NK: np.ndarray, labels_NK: np.ndarray, names: Sequence[str]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Of every finding its name, and what `known` gives."""
    for k, name in enumerate(names):
        yield (name, *known(logits_NK, labels_NK, k))


def thresholds(logits_NK: np.ndarray, labels_NK: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """By finding the threshold with the best F1 (`classification.best_threshold`)."""
    return {name: classification.best_threshold(*one) for name, *one in each(logits_NK, labels_NK, names)}


def metrics(
    logits_NK: np.ndarray, labels_NK: np.ndarray, names: Sequence[str], chosen: Mapping[str, float]
) -> dict[str, Any]:
    """As `classification.metrics`: under `findings` of each at its threshold, beside their means.

    A mean is over the findings whose number is defined. `confusion` and `threshold` are of single findings only.
    """
    found = {
        name: classification.metrics(logits_N1, labels_N, chosen[name])
        for name, logits_N1, labels_N in each(logits_NK, labels_NK, names)
    }
    return {
        "images": len(labels_NK),
        **{key: _mean([one[key] for one in found.values()]) for key in _MEANS},
        "confusion": None,
        "threshold": None,
        "findings": found,
    }


def auroc_intervals(
    logits_NK: np.ndarray, labels_NK: np.ndarray, names: Sequence[str], patients_N: np.ndarray
) -> dict[str, tuple[float | None, float | None]]:
    """By finding `classification.auroc_interval`; `patients_N` are any integer codes."""
    found = {}
    for k, (name, logits_N1, labels_N) in enumerate(each(logits_NK, labels_NK, names)):
        found[name] = classification.auroc_interval(logits_N1, labels_N, patients_N[labels_NK[:, k] != UNKNOWN])
    return found


def majority(labels_NK: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """By finding what always naming its more frequent label would score."""
    shares = (labels_NK[labels_NK[:, k] != UNKNOWN, k].mean() for k in range(len(names)))
    return {name: float(max(share, 1 - share)) for name, share in zip(names, shares, strict=True)}


def of_one(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a model.json says of one of its findings, in the fields of a model of two classes.

    A random model has memorised a finding by its balanced accuracy, of which a majority guess has a half.
    """
    memory = record.get("memorisation", {}).get(name)
    return {
        **record,
        "threshold": record["thresholds"][name],
        "metrics": {split: one["findings"][name] for split, one in record["metrics"].items()},
        "memorised": memory["balanced_accuracy"] if memory and record["memorised"] is not None else None,
        "majority": 0.5 if memory else None,
    }


def auroc_of(logits_NK: np.ndarray, labels_N: np.ndarray) -> float | None:
    """`classification.auroc_of`; of several findings its mean over those that have one."""
    if labels_N.ndim == 1:
        return classification.auroc_of(logits_NK, labels_N)
    return _mean([classification.auroc_of(*known(logits_NK, labels_N, k)) for k in range(labels_N.shape[1])])


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
