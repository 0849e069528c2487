"""How well a model classifies: from logits to the numbers of a report.

Shapes: N images, K outputs; K = 1 is the logit of label 1 among two classes, K > 1 one logit per class.
"""

import numpy as np
import scipy.special

from pneumo_batch.core.statistics import bootstrap
from pneumo_batch.core.statistics.areas import ResampledArea
from pneumo_batch.core.statistics.label_share import FEWEST_PATIENTS
from pneumo_batch.core.statistics.model_results import Classification, OnTest
from pneumo_batch.core.statistics.numbers import number
from pneumo_batch.core.statistics.options import RESAMPLES

NEUTRAL_THRESHOLD = 0.5


def metrics(logits_NK: np.ndarray, labels_N: np.ndarray, threshold: float = NEUTRAL_THRESHOLD) -> Classification:
    """Plain numbers; None where one is undefined (a class without images has no AUROC).

    Two classes: label 1 is predicted where its probability reaches `threshold`. More: the largest logit wins, and
    precision, recall, f1, auroc and auprc are means over classes, one class against the rest. `confusion[i][j]`
    counts the images of label i predicted as j.
    """
    binary = logits_NK.shape[1] == 1
    predicted_N = _positive(logits_NK, threshold) if binary else logits_NK.argmax(axis=1)
    confusion = confusion_matrix(labels_N, predicted_N, max(2, logits_NK.shape[1]))
    hits, given, claimed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    recall = _ratio(hits, given)
    per_class = {"precision": _ratio(hits, claimed), "recall": recall, "f1": _ratio(2 * hits, given + claimed)}
    chosen = {name: number(values[1] if binary else _mean(values)) for name, values in per_class.items()}
    return Classification(
        images=len(labels_N),
        accuracy=number(float(_ratio(hits.sum(), given.sum()))),
        balanced_accuracy=number(_mean(recall)),
        auroc=auroc_of(logits_NK, labels_N),
        auprc=number(_mean(np.array([average_precision(s, y) for s, y in _one_against_rest(logits_NK, labels_N)]))),
        precision=chosen["precision"],
        recall=chosen["recall"],
        f1=chosen["f1"],
        confusion=confusion.tolist(),
        threshold=threshold if binary else None,
    )


def on_test(logits_NK: np.ndarray, labels_N: np.ndarray, patients_N: np.ndarray, threshold: float) -> OnTest:
    """`metrics`, and the interval of the AUROC (`auroc_interval`)."""
    measured = metrics(logits_NK, labels_N, threshold)
    return OnTest(**vars(measured), auroc_interval=auroc_interval(logits_NK, labels_N, patients_N))


def best_threshold(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """The probability threshold with the best F1 of label 1, midway between two observed probabilities.

    Among equals the one nearest 0.5. It is 0.5 for several classes, or where there is no positive image to find.
    """
    if logits_NK.shape[1] > 1 or not (labels_N == 1).any():
        return NEUTRAL_THRESHOLD
    probabilities, inverse_N = np.unique(_probability(logits_NK), return_inverse=True)
    claimed = np.bincount(inverse_N)[::-1].cumsum()[::-1]  # images at or above each observed probability
    hits = np.bincount(inverse_N, weights=labels_N == 1)[::-1].cumsum()[::-1]
    f1 = 2 * hits / (claimed + (labels_N == 1).sum())
    below = np.concatenate([[0.0], probabilities[:-1]])
    candidates = ((below + probabilities) / 2)[f1 == f1.max()]
    return float(candidates[np.abs(candidates - NEUTRAL_THRESHOLD).argmin()])


def auroc_of(logits_NK: np.ndarray, labels_N: np.ndarray) -> float | None:
    """Area under the ROC curve, for more than two classes the mean of one class against the rest; None if undefined."""
    return number(_mean(np.array([auroc(scores, y) for scores, y in _one_against_rest(logits_NK, labels_N)])))


def auroc(scores_N: np.ndarray, positive_N: np.ndarray) -> float:
    """The chance that a positive scores above a negative, ties counting half (Mann-Whitney); NaN without either."""
    if not len(scores_N):
        return float("nan")
    return float(ResampledArea(scores_N, positive_N, np.arange(len(scores_N))).of(np.ones((1, len(scores_N))))[0])


def average_precision(scores_N: np.ndarray, positive_N: np.ndarray) -> float:
    """Area under the precision-recall curve as a step function, equal scores at once; NaN without a positive."""
    if not positive_N.any():
        return float("nan")
    inverse_N = np.unique(-scores_N, return_inverse=True)[1]
    hits = np.bincount(inverse_N, weights=positive_N)
    precision = hits.cumsum() / np.bincount(inverse_N).cumsum()
    return float((precision * hits).sum() / positive_N.sum())


def auroc_interval(
    logits_NK: np.ndarray, labels_N: np.ndarray, patients_N: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float | None, float | None]:
    """95 % interval of `auroc_of`, patients resampled; a model is better than chance if it lies above 0.5.

    `patients_N` are any integer codes. (None, None) where a class has images of fewer than five patients, or all but
    one class have: noise then lies above 0.5 as a whole far too often (with one patient in 46 of 100 cases). A model
    that answers the same for every image has the interval 0.5 to 0.5, whoever the patients are.
    """
    divided = _one_against_rest(logits_NK, labels_N)
    if len(labels_N) and (logits_NK == logits_NK[0]).all():
        value = auroc_of(logits_NK, labels_N)
        return value, value
    sides = [patients_N[side_N] for _, positive_N in divided for side_N in (positive_N, ~positive_N)]
    if min(len(np.unique(side)) for side in sides) < FEWEST_PATIENTS:
        return None, None
    codes_N = np.unique(patients_N, return_inverse=True)[1]
    areas = [ResampledArea(scores, positive, codes_N) for scores, positive in divided]
    drawn = [
        np.mean([area.of(weights_bC) for area in areas], axis=0)
        for weights_bC in bootstrap.draws(codes_N.max() + 1, resamples, seed)
    ]
    low, high = bootstrap.interval(np.concatenate(drawn)[:, None])[:, 0]
    return number(low), number(high)


def confusion_matrix(labels_N: np.ndarray, predicted_N: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) int64: rows are labels, columns predictions."""
    return np.bincount(labels_N.astype(np.int64) * classes + predicted_N, minlength=classes**2).reshape(
        classes, classes
    )


def _one_against_rest(logits_NK: np.ndarray, labels_N: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    if logits_NK.shape[1] == 1:
        return [(logits_NK[:, 0], labels_N == 1)]
    probabilities_NK = scipy.special.softmax(logits_NK.astype(np.float64), axis=1)
    return [(probabilities_NK[:, k], labels_N == k) for k in range(logits_NK.shape[1])]


def _probability(logits_N1: np.ndarray) -> np.ndarray:
    return scipy.special.expit(logits_N1[:, 0].astype(np.float64))


def _positive(logits_N1: np.ndarray, threshold: float) -> np.ndarray:
    return (_probability(logits_N1) >= threshold).astype(np.int64)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def _mean(values: np.ndarray) -> float:
    """NaN if any class lacks a value: a mean over fewer classes would be another number."""
    return float(np.mean(values))
