import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from pneumo_batch.core.models import labels, objective
from pneumo_batch.core.variants import Arm

# three films, two findings; the second film's second label and the third's first are not known
LABELS_NK = np.array([[1, 0], [0, -1], [-1, 1]])
LOGITS_NK = torch.tensor([[2.0, -1.0], [0.5, 100.0], [-100.0, -3.0]])


def test_the_loss_is_the_sum_over_the_known_labels():
    # by hand: softplus(-z) of a 1, softplus(z) of a 0; 100 and -100 are of labels that nobody knows
    by_hand = sum(np.log1p(np.exp(value)) for value in (-2.0, -1.0, 0.5, 3.0))
    assert objective.loss_sum(LOGITS_NK, torch.from_numpy(LABELS_NK)).item() == pytest.approx(by_hand, rel=1e-6)
    assert objective.known(LABELS_NK) == 4


def test_no_gradient_comes_from_a_label_that_is_not_known():
    logits_NK = LOGITS_NK.clone().requires_grad_()
    objective.loss_sum(logits_NK, torch.from_numpy(LABELS_NK)).backward()
    assert logits_NK.grad is not None
    expected = torch.sigmoid(LOGITS_NK) - torch.from_numpy(LABELS_NK)
    expected[LABELS_NK == -1] = 0
    torch.testing.assert_close(logits_NK.grad, expected)


def test_answers_are_counted_by_finding_and_label():
    # findings without: (1 film, wrong), (1, right); with: (1, right), (1, wrong)
    right_LF = objective.right(LOGITS_NK, torch.from_numpy(LABELS_NK))
    assert right_LF.tolist() == [[0, 1], [1, 0]]
    assert objective.asked(LABELS_NK, 2).tolist() == [[1, 1], [1, 1]]
    assert objective.accuracy_of(LOGITS_NK, LABELS_NK) == 0.5
    assert objective.memorised_of(LOGITS_NK, LABELS_NK) == 0.5


def test_what_is_known_by_heart_is_the_least_known_finding_whatever_its_frequency():
    rng = np.random.default_rng(0)
    labels_NK = (rng.random((400, 3)) < [0.5, 0.2, 0.02]).astype(np.int64)
    labels_NK[rng.random((400, 3)) < 0.1] = -1
    logits_NK = torch.from_numpy(np.where(labels_NK == 1, 1.0, -1.0))
    assert objective.memorised_of(logits_NK, labels_NK) == 1
    logits_NK[:, 2] = -1  # always "without": right of 98 % of the films, and nothing learnt
    assert objective.accuracy_of(logits_NK, labels_NK) > 0.99
    assert objective.memorised_of(logits_NK, labels_NK) == 0.5
    logits_NK = torch.from_numpy(rng.normal(size=(400, 3)))
    wanted = []
    for k in range(3):
        of_N = labels_NK[:, k] >= 0
        wanted.append(balanced_accuracy_score(labels_NK[of_N, k], logits_NK[of_N, k] > 0))
    assert objective.memorised_of(logits_NK, labels_NK) == pytest.approx(min(wanted))


def test_of_two_classes_it_is_the_mean_of_their_recalls():
    logits_N1, labels_N = torch.tensor([[1.0], [-1.0], [1.0]]), np.array([1, 0, 0])
    assert objective.right(logits_N1, torch.from_numpy(labels_N)).tolist() == [[1], [1]]
    assert objective.asked(labels_N, 1).tolist() == [[2], [1]]
    assert objective.accuracy_of(logits_N1, labels_N) == 2 / 3
    assert objective.memorised_of(logits_N1, labels_N) == (1 / 2 + 1) / 2
    labels_N = np.repeat([0, 1], [270, 11])
    logits_N1 = torch.full((281, 1), -1.0)  # NORMAL for every film
    assert objective.accuracy_of(logits_N1, labels_N) == 270 / 281 > 0.96
    assert objective.memorised_of(logits_N1, labels_N) == 0.5
    assert objective.memorised_of(logits_N1[:270], labels_N[:270]) == 1  # of the classes that are there


def test_of_three_classes_it_is_the_mean_of_their_recalls():
    labels_N = np.repeat([0, 1, 2], [4, 2, 1])
    logits_NK = torch.zeros(7, 3)
    logits_NK[:, 0] = 1
    assert objective.asked(labels_N, 3).tolist() == [[4], [2], [1]]
    assert objective.memorised_of(logits_NK, labels_N) == pytest.approx(1 / 3)
    logits_NK[4, 1] = 2  # one of the two films of class 1
    assert objective.right(logits_NK, torch.from_numpy(labels_N)).tolist() == [[4], [1], [0]]
    assert objective.memorised_of(logits_NK, labels_N) == (1 + 1 / 2 + 0) / 3
    assert objective.memorised_of(logits_NK[:6], labels_N[:6]) == (1 + 1 / 2) / 2  # no film of class 2


@pytest.mark.parametrize("outputs", [1, 3])
def test_of_classes_as_frequent_as_each_other_it_is_the_accuracy(outputs):
    rng = np.random.default_rng(outputs)
    labels_N = np.repeat(np.arange(max(2, outputs)), 50)
    logits_NK = torch.from_numpy(rng.normal(size=(len(labels_N), outputs)))
    accuracy = objective.accuracy_of(logits_NK, labels_N)
    assert objective.memorised_of(logits_NK, labels_N) == pytest.approx(accuracy, rel=1e-15)
    guessed_N = objective.predictions(logits_NK).numpy()
    assert accuracy == pytest.approx(balanced_accuracy_score(labels_N, guessed_N))


def test_a_film_is_drawn_for_every_finding_whose_label_is_known():
    # finding 0: one film with, two without; finding 1: one with, one without, one not known
    labels_NK = np.array([[1, 0], [0, 1], [0, -1]])
    assert objective.sampling_weights(labels_NK).tolist() == [1 + 1, 0.5 + 1, 0.5]
    # of one finding it is what classes get
    labels_N = np.array([0, 0, 0, 1])
    assert objective.sampling_weights(labels_N).tolist() == [1 / 3] * 3 + [1]
    np.testing.assert_array_equal(objective.sampling_weights(labels_N[:, None]), objective.sampling_weights(labels_N))


def test_rows_of_labels_are_permuted_as_a_whole():
    rng = np.random.default_rng(1)
    labels_NK = rng.integers(-1, 2, (500, 4))
    given_NK = labels.training_labels(Arm("random", "permuted"), 100, labels_NK)
    assert (given_NK != labels_NK).any()
    assert sorted(map(tuple, given_NK)) == sorted(map(tuple, labels_NK))  # every combination as often as before
    np.testing.assert_array_equal(np.corrcoef(given_NK.T).round(12), np.corrcoef(labels_NK.T).round(12))


def test_agreement_is_over_labels_known_before_and_after():
    assert objective.agreement(np.array([[1, -1], [0, 1]]), np.array([[1, -1], [1, -1]])) == 0.5
    assert objective.agreement(np.array([0, 1, 1]), np.array([0, 1, 0])) == 2 / 3
