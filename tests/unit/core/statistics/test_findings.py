import numpy as np
import pytest
from sklearn import metrics as reference

from pneumo_batch.core.statistics import classification, findings

NAMES = ("Effusion", "Mass", "Hernia")


def films(count=300, seed=0):
    """Logits that know something, and labels of which a tenth is not known."""
    rng = np.random.default_rng(seed)
    labels_NK = (rng.random((count, 3)) < [0.4, 0.2, 0.1]).astype(np.int64)
    logits_NK = (rng.normal(size=(count, 3)) + labels_NK * [2, 1, 0.5]).astype(np.float32)
    labels_NK[rng.random((count, 3)) < 0.1] = -1
    return logits_NK, labels_NK


def test_numbers_of_a_finding_are_those_of_the_films_whose_label_is_known():
    logits_NK, labels_NK = films()
    chosen = findings.thresholds(logits_NK, labels_NK, NAMES)
    found = findings.metrics(logits_NK, labels_NK, NAMES, chosen)
    areas = []
    for k, name in enumerate(NAMES):
        of_N = labels_NK[:, k] != -1
        y, probability = labels_NK[of_N, k], 1 / (1 + np.exp(-logits_NK[of_N, k].astype(float)))
        one, predicted = found[name], probability >= chosen[name]
        assert one.images == of_N.sum()
        assert one.auroc == pytest.approx(reference.roc_auc_score(y, probability))
        assert one.auprc == pytest.approx(reference.average_precision_score(y, probability))
        assert one.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(y, predicted))
        assert one.f1 == pytest.approx(reference.f1_score(y, predicted))
        assert one.confusion == reference.confusion_matrix(y, predicted).tolist()
        assert one.threshold == chosen[name]
        areas.append(reference.roc_auc_score(y, probability))
    assert findings.auroc_of(logits_NK, labels_NK) == pytest.approx(np.mean(areas))


def test_a_finding_that_no_film_has_leaves_the_mean_to_the_others():
    logits_NK, labels_NK = films()
    labels_NK[:, 2] = np.minimum(labels_NK[:, 2], 0)
    found = findings.metrics(logits_NK, labels_NK, NAMES, dict.fromkeys(NAMES, 0.5))
    assert found["Hernia"].auroc is None
    assert findings.auroc_of(logits_NK, labels_NK) == pytest.approx(np.mean([found[name].auroc for name in NAMES[:2]]))
    assert findings.thresholds(logits_NK, labels_NK, NAMES)["Hernia"] == 0.5
    assert findings.auroc_of(logits_NK, np.zeros((300, 3), np.int64)) is None


def test_intervals_resample_the_patients_of_the_films_whose_label_is_known():
    logits_NK, labels_NK = films()
    patients_N = np.arange(300) // 3
    found = findings.on_test(logits_NK, labels_NK, NAMES, dict.fromkeys(NAMES, 0.5), patients_N)
    of_N = labels_NK[:, 1] != -1
    alone = classification.auroc_interval(logits_NK[of_N, 1:2], labels_NK[of_N, 1], patients_N[of_N])
    assert found["Mass"].auroc_interval == alone
    low, high = alone
    assert low < found["Mass"].auroc < high
    assert found["Effusion"].auroc_interval[0] > 0.5


def test_the_majority_guess_is_of_the_known_labels():
    labels_NK = np.array([[1, 0], [0, 0], [0, -1], [0, 1]])
    assert findings.majority(labels_NK, NAMES[:2]) == {"Effusion": 0.75, "Mass": pytest.approx(2 / 3)}
