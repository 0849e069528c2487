"""What a network learns to say: which class, or which of several findings, some of whose labels are not known.

Labels (B,) are of classes, with one logit for the second of two, else one each. Labels (B, K) are of K findings, a
logit each: 1, 0, or `UNKNOWN`, which no loss, accuracy or sampling sees. Shapes: B images of a batch, N of a split, K
outputs, C counts: one for classes; two a finding, of films without it and with it.
"""

import numpy as np
import torch
from torch import nn

from pneumo_batch.core.tables import UNKNOWN


def loss_sum(logits_BK: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
    """Sum over the batch of the cross-entropy: binary (K = 1), multi-class, or binary of every known label."""
    if labels_B.ndim == 2:
        known_BK = labels_B != UNKNOWN
        return nn.functional.binary_cross_entropy_with_logits(
            logits_BK.float()[known_BK], labels_B[known_BK].float(), reduction="sum"
        )
    if logits_BK.shape[1] == 1:
        return nn.functional.binary_cross_entropy_with_logits(
            logits_BK[:, 0].float(), labels_B.float(), reduction="sum"
        )
    return nn.functional.cross_entropy(logits_BK.float(), labels_B, reduction="sum")


def known(labels_B: np.ndarray) -> int:
    """How many labels `loss_sum` is a sum over."""
    return int((labels_B != UNKNOWN).sum()) if labels_B.ndim == 2 else len(labels_B)


def predictions(logits_BK: torch.Tensor) -> torch.Tensor:
    """Classes (B,): sign of the single logit, or the largest of several."""
    return (logits_BK[:, 0] > 0).long() if logits_BK.shape[1] == 1 else logits_BK.argmax(1)


def right(logits_BK: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
    """Right answers (C,)."""
    if labels_B.ndim == 1:
        return (predictions(logits_BK) == labels_B).sum()[None]
    right_BK = (logits_BK > 0).long() == labels_B
    return torch.cat([(right_BK & (labels_B == label)).sum(0) for label in (0, 1)])


def asked(labels_N: np.ndarray) -> np.ndarray:
    """Known labels (C,) that `right` counts the right answers to."""
    if labels_N.ndim == 1:
        return np.array([len(labels_N)])
    return np.concatenate([(labels_N == label).sum(axis=0) for label in (0, 1)])


def learnt(right_C: np.ndarray, asked_C: np.ndarray) -> float:
    """How well labels are known by heart: the accuracy; of several findings the smallest balanced accuracy.

    Naming the more frequent label scores 0.98 where one film in fifty has a finding: its accuracy alone says nothing.
    """
    recall_C = np.divide(right_C, asked_C, out=np.full(len(asked_C), np.nan), where=asked_C > 0)
    if len(recall_C) == 1:
        return float(recall_C[0])
    return float(np.nanmean(recall_C.reshape(2, -1), axis=0).min())


def accuracy_of(logits_NK: torch.Tensor, labels_N: np.ndarray) -> float:
    """Share of the known labels that the logits are right about."""
    labels = torch.tensor(labels_N)  # a copy: those that Ray shares are read-only
    return float(right(logits_NK, labels).sum()) / known(labels_N)


def memorised_of(logits_NK: torch.Tensor, labels_N: np.ndarray) -> float:
    """`learnt` of all images at once."""
    return learnt(right(logits_NK, torch.tensor(labels_N)).numpy(), asked(labels_N))


def sampling_weights(labels_N: np.ndarray) -> np.ndarray:
    """How likely each image (N,) is drawn, up to a factor, so that classes are drawn equally often.

    Of several findings: so that each draw is of a finding, then of films with or without it, each as likely; a film
    is drawn by every finding whose label is known of it.
    """
    if labels_N.ndim == 1:
        return 1.0 / np.bincount(labels_N)[labels_N]
    weights_N = np.zeros(len(labels_N))
    for labels in labels_N.T:
        for label in (0, 1):
            of_N = labels == label
            weights_N[of_N] += 1.0 / max(1, of_N.sum())
    return weights_N


def agreement(given_N: np.ndarray, true_N: np.ndarray) -> float:
    """Share of the labels a variant was given that equal the true ones, where both are known."""
    both = (given_N != UNKNOWN) & (true_N != UNKNOWN)
    return float((given_N == true_N)[both].mean())
