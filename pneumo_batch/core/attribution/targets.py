"""Which output of a network is explained: one and the same scalar in every variant, never a model's own prediction."""

from collections.abc import Sequence

import numpy as np

from pneumo_batch.core.attribution.options import LABEL, POSITIVE


def check_target(target: str, classes: Sequence[str], findings: Sequence[str] = ()) -> None:
    """Raise ValueError with one line when a network of these classes, or of several findings, has no such output."""
    if findings:
        if target not in findings:
            raise ValueError(f"attribution.target {target!r}: of several findings, name one: {', '.join(findings)}")
    elif len(classes) == 2:
        if target not in (POSITIVE, classes[1]):
            raise ValueError(
                f"attribution.target {target!r}: with two classes there is one logit, that of {classes[1]}; "
                f'use "positive"'
            )
    elif target != LABEL and target not in classes:
        names = ", ".join(classes)
        raise ValueError(f'attribution.target {target!r}: with {len(classes)} classes use "label" or one of {names}')


def check_targets(targets: Sequence[str], classes: Sequence[str], findings: Sequence[str] = ()) -> None:
    """`check_target` of each; of several also that they are outputs by name: "label" is another one every image."""
    if len(targets) > 1 and len(classes) == 2 and not findings:
        raise ValueError(
            f"attribution.target: with two classes there is one logit, that of {classes[1]}, and one target;"
            " several need several findings, or more classes"
        )
    if len(targets) > 1 and LABEL in targets:
        raise ValueError(f'attribution.target: "{LABEL}" cannot stand beside other targets; name each class')
    for target in targets:
        check_target(target, classes, findings)


def outputs_of_each(
    targets: Sequence[str], classes: Sequence[str], labels_B: np.ndarray, findings: Sequence[str] = ()
) -> np.ndarray:
    """`explained_outputs` of T targets (B, T) int64."""
    return np.stack([explained_outputs(target, classes, labels_B, findings) for target in targets], axis=1)


def explained_outputs(
    target: str, classes: Sequence[str], labels_B: np.ndarray, findings: Sequence[str] = ()
) -> np.ndarray:
    """Index of the explained output (B,) int64: 0 for the single logit of two classes."""
    check_target(target, classes, findings)
    if findings:
        return np.full(len(labels_B), list(findings).index(target), np.int64)
    if len(classes) == 2:
        return np.zeros(len(labels_B), np.int64)
    if target == LABEL:
        return labels_B.astype(np.int64)
    return np.full(len(labels_B), list(classes).index(target), np.int64)
