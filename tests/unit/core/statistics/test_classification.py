import math

import numpy as np
import pytest
import scipy.stats

from pneumo_batch.core.statistics import classification


def column(*values):
    return np.array(values, dtype=np.float32)[:, None]


def logit(probability):
    return math.log(probability / (1 - probability))


SIX = column(*map(logit, (0.1, 0.4, 0.35, 0.8, 0.6, 0.9)))
LABELS = np.array([0, 0, 1, 1, 0, 1])


def test_two_classes_by_hand():
    found = classification.metrics(SIX, LABELS, 0.5)
    # predicted 0 0 0 1 1 1; of nine pairs of a positive and a negative seven are in order
    assert found.confusion == [[2, 1], [1, 2]]
    assert found.images == 6
    assert found.threshold == 0.5
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1"):
        assert getattr(found, name) == pytest.approx(2 / 3), name
    assert found.auroc == pytest.approx(7 / 9)
    assert found.auprc == pytest.approx((1 / 1 + 2 / 2 + 3 / 5) / 3)


def test_the_threshold_is_reached_by_equality():
    found = classification.metrics(column(0.0, -1.0), np.array([1, 0]), 0.5)
    assert found.confusion == [[1, 0], [0, 1]]


def test_best_threshold_lies_midway_below_the_lowest_positive_it_pays_to_claim():
    # claiming from 0.9, 0.8, 0.6, 0.4, 0.35, 0.1 up gives F1 1/2, 4/5, 2/3, 4/7, 3/4, 2/3
    assert classification.best_threshold(SIX, LABELS) == pytest.approx((0.6 + 0.8) / 2)


def test_of_equally_good_thresholds_the_one_nearest_a_half_is_chosen():
    # F1 is 2/3 claiming only the highest, and 2/3 claiming all four
    logits = column(*map(logit, (0.2, 0.3, 0.7, 0.9)))
    labels = np.array([1, 0, 0, 1])
    assert classification.best_threshold(logits, labels) == pytest.approx(0.8)


@pytest.mark.parametrize("labels", [np.array([0, 0]), np.array([], dtype=int)])
def test_threshold_without_a_positive_is_a_half(labels):
    assert classification.best_threshold(np.zeros((len(labels), 1)), labels) == 0.5


def test_several_classes_by_hand():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.6, 0.2], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]))
    found = classification.metrics(logits, np.array([0, 0, 1, 1, 2]))
    assert found.confusion == [[2, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert found.accuracy == pytest.approx(4 / 5)
    assert found.balanced_accuracy == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert found.precision == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert found.f1 == pytest.approx((4 / 5 + 2 / 3 + 1) / 3)
    # class 0: 0.7 and 0.6 against 0.2, 0.6, 0.1; class 1: 0.6 and 0.3 against 0.2, 0.3, 0.1; class 2 is apart. The ties
    # are of equal rows: those of others hold with some versions of numpy only
    assert found.auroc == pytest.approx((5.5 / 6 + 5.5 / 6 + 1) / 3)
    # of both: the highest alone, then one of each
    assert found.auprc == pytest.approx(((1 + 2 / 3) / 2 + (1 + 2 / 3) / 2 + 1) / 3)
    assert found.threshold is None
    assert classification.best_threshold(logits, np.array([0, 0, 1, 1, 2])) == 0.5


def test_what_is_undefined_is_none():
    found = classification.metrics(column(1.0, 2.0), np.array([1, 1]), 0.5)
    assert found.auroc is None
    assert found.balanced_accuracy is None
    assert found.accuracy == found.recall == found.auprc == 1.0
    empty = classification.metrics(np.empty((0, 1)), np.empty(0, dtype=int), 0.5)
    assert empty.accuracy is None
    assert empty.images == 0


@pytest.mark.parametrize("decimals", [1, 6])
def test_auroc_is_the_mann_whitney_statistic(decimals):
    rng = np.random.default_rng(decimals)
    labels = rng.integers(0, 2, 200)
    logits = np.round(rng.normal(size=200) + labels, decimals)
    u = scipy.stats.mannwhitneyu(logits[labels == 1], logits[labels == 0]).statistic
    expected = u / ((labels == 1).sum() * (labels == 0).sum())
    assert classification.auroc_of(logits[:, None], labels) == pytest.approx(expected, abs=1e-12)


def by_repetition(logits, labels, patients, resamples, seed):
    """The interval by copying the images of the drawn patients, one resample at a time."""
    rng = np.random.default_rng(seed)
    count, values = patients.max() + 1, []
    for drawn in rng.integers(count, size=(resamples, count)):
        rows = np.concatenate([np.flatnonzero(patients == patient) for patient in drawn])
        values.append(classification.auroc(logits[rows], labels[rows] == 1))
    return np.nanpercentile(values, [2.5, 97.5])


def test_auroc_interval_resamples_patients():
    rng = np.random.default_rng(0)
    patients = np.sort(rng.integers(0, 30, 80))
    patients = np.unique(patients, return_inverse=True)[1]
    labels = rng.integers(0, 2, 80)
    logits = np.round(rng.normal(size=80) + labels, 1)
    expected = by_repetition(logits, labels, patients, 200, seed=4)
    found = classification.auroc_interval(logits[:, None], labels, patients, resamples=200, seed=4)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_auroc_interval_of_several_classes_is_of_their_mean():
    logits = np.eye(3)[[0, 1, 2] * 10] * 5
    assert classification.auroc_interval(logits, np.array([0, 1, 2] * 10), np.arange(30), resamples=50) == (1.0, 1.0)


def test_auroc_interval_without_both_classes_is_none():
    assert classification.auroc_interval(column(1, 2), np.array([1, 1]), np.arange(2), resamples=9) == (None, None)
    assert classification.auroc_interval(np.empty((0, 1)), np.empty(0), np.empty(0), resamples=9) == (None, None)


@pytest.mark.parametrize(("patients", "known"), [(4, False), (5, True)])
@pytest.mark.parametrize("few", [0, 1])
def test_auroc_interval_takes_five_patients_of_each_class(patients, known, few):
    """Twenty films of the rarer class, of so few patients: the films do not count."""
    labels = np.array([few] * 20 + [1 - few] * 40)
    codes = np.concatenate([np.arange(20) % patients, 100 + np.arange(40)])
    logits = np.linspace(-1, 1, 60)[:, None]
    found = classification.auroc_interval(logits, labels, codes, resamples=50)
    # they all score below the others
    assert found == ((1.0 - few,) * 2 if known else (None, None))


def test_auroc_interval_of_several_classes_takes_five_patients_of_each():
    labels = np.array([0] * 10 + [1] * 10 + [2] * 4)
    logits = 5 * np.eye(3)[labels]
    assert classification.auroc_interval(logits, labels, np.arange(24), resamples=9) == (None, None)
    labels, logits = np.append(labels, 2), np.vstack([logits, logits[-1]])
    assert classification.auroc_interval(logits, labels, np.arange(25), resamples=9)[0] == 1.0


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_model_that_answers_the_same_for_every_film_is_at_chance_by_any_number_of_patients(outputs):
    labels_N = np.array([0, 1, 1, 0, 2, 2] if outputs == 3 else [0, 1, 1, 0])
    logits_NK = np.full((len(labels_N), outputs), 0.3)
    assert classification.auroc_interval(logits_NK, labels_N, np.arange(len(labels_N))) == (0.5, 0.5)
    one_class_N = np.zeros(4, int)
    assert classification.auroc_interval(np.full((4, 1), 0.3), one_class_N, np.arange(4)) == (None, None)
