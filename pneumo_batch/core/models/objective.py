"""What a network learns to say: which class, or which of several findings, some of whose labels are not known.

Labels (B,) are of classes, with one logit for the second of two, else one each. Labels (B, K) are of K findings, a
logit each: 1, 0, or `UNKNOWN`, which no loss, accuracy or sampling sees. Shapes: B images of a batch, N of a split, K
outputs; of counts L labels, one a class or a finding's two, and F findings: one where labels are of classes.
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
    """Right answers (L, F)."""
    answers_BF = predictions(logits_BK)[:, None] if labels_B.ndim == 1 else (logits_BK > 0).long()
    labels_BF = labels_B.reshape(answers_BF.shape)
    right_BF = answers_BF == labels_BF
    return torch.stack([(right_BF & (labels_BF == label)).sum(0) for label in _labels(logits_BK.shape[1], labels_B)])


def asked(labels_N: np.ndarray, outputs: int) -> np.ndarray:
    """Known labels (L, F) that `right` counts the right answers to, of a network of so many outputs."""
    labels_NF = labels_N.reshape(len(labels_N), -1)
    return np.stack([(labels_NF == label).sum(axis=0) for label in _labels(outputs, labels_N)])


def _labels(outputs: int, labels_N: np.ndarray | torch.Tensor) -> range:
    """L of them."""
    return range(2 if labels_N.ndim == 2 else max(2, outputs))


def learnt(right_LF: np.ndarray, asked_LF: np.ndarray) -> float:
    """How well labels are known by heart: the balanced accuracy, of several findings the smallest.

    It is the mean over the labels that are there of how many of their films are known. Naming the more frequent label
    scores 0.98 where one film in fifty has the other: accuracy alone says nothing.
    """
    recall_LF = np.divide(right_LF, asked_LF, out=np.full(asked_LF.shape, np.nan), where=asked_LF > 0)
    return float(np.nanmean(recall_LF, axis=0).min())


def accuracy_of(logits_NK: torch.Tensor, labels_N: np.ndarray) -> float:
    """Share of the known labels that the logits are right about."""
    labels = torch.tensor(labels_N)  # a copy: those that Ray shares are read-only
    return float(right(logits_NK, labels).sum()) / known(labels_N)


def memorised_of(logits_NK: torch.Tensor, labels_N: np.ndarray) -> float:
    """`learnt` of all images at once."""
    return learnt(right(logits_NK, torch.tensor(labels_N)).numpy(), asked(labels_N, logits_NK.shape[1]))


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
