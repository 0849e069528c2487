"""Which output of a network is explained: one and the same scalar in every variant, never a model's own prediction."""

from collections.abc import Sequence

import numpy as np

from pneumo_batch.core.attribution.options import LABEL, POSITIVE


def check_target(target: str, classes: Sequence[str]) -> None:
    """Raise ValueError with one line when the classes do not have such an output."""
    names = ", ".join(classes)
    if len(classes) == 2:
        if target not in (POSITIVE, classes[1]):
            raise ValueError(
                f"attribution.target {target!r}: with two classes there is one logit, that of {classes[1]}; "
                f'use "positive"'
            )
    elif target != LABEL and target not in classes:
        raise ValueError(f'attribution.target {target!r}: with {len(classes)} classes use "label" or one of {names}')


def explained_outputs(target: str, classes: Sequence[str], labels_B: np.ndarray) -> np.ndarray:
    """Index of the explained output (B,) int64: 0 for the single logit of two classes."""
    check_target(target, classes)
    if len(classes) == 2:
        return np.zeros(len(labels_B), np.int64)
    if target == LABEL:
        return labels_B.astype(np.int64)
    return np.full(len(labels_B), list(classes).index(target), np.int64)
