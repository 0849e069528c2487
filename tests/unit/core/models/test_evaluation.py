import numpy as np
import pyarrow as pa
import pytest

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.models import evaluation

NAMES = ["Effusion", "Mass"]
LABELS_NK = {"val": np.array([[1, 0], [0, 1]]), "test": np.array([[1, -1], [0, 0], [1, 1]])}
LOGITS_NK = {
    "train": np.empty((0, 2), np.float32),
    "val": np.array([[2, -2], [-1, 1]], np.float32),
    "test": np.array([[1, 9], [-1, np.nan], [3, 2]], np.float32),
}


def manifest():
    rows = [
        {"image_id": f"{split}{i}", "split": split, "class_name": "-", "label": 1, "patient_id": "p", "mode": "L"}
        | {"width": 1, "height": 1, "bytes": 1, "sha256": "-"}
        | {f"label__{name}": None if value < 0 else int(value) for name, value in zip(NAMES, labels, strict=True)}
        for split, labels_NK in LABELS_NK.items()
        for i, labels in enumerate(labels_NK)
    ]
    return pa.Table.from_pylist(rows, schema=tables.with_labels(tables.MANIFEST, NAMES))


def test_predictions_have_the_labels_of_every_finding_but_for_films_without_an_answer():
    found = evaluation.predictions(manifest(), LOGITS_NK)
    assert found["image_id"].to_pylist() == ["val0", "val1", "test0", "test2"]
    np.testing.assert_array_equal(table_columns.labels_of(found), [[1, 0], [0, 1], [1, -1], [1, 1]])
    assert evaluation.logits_of(found, 2).tolist() == [[2, -2], [-1, 1], [1, 9], [3, 2]]
    assert evaluation.logits_of(found.slice(0, 0), 2).shape == (0, 2)


def test_each_finding_has_its_threshold_from_validation_and_its_numbers_by_split():
    labels_NK = {"train": np.empty((0, 2), np.int64), **LABELS_NK}
    found = evaluation.measure(LOGITS_NK, labels_NK, NAMES)
    assert set(found) == {"thresholds", "metrics_by_finding"}
    assert set(found["metrics_by_finding"]) == {"val", "test"}
    # by hand: midway between the probabilities of the film without and the film with the finding
    low, high = 1 / (1 + np.exp(1)), 1 / (1 + np.exp(-2))
    assert found["thresholds"]["Effusion"] == pytest.approx((low + high) / 2)
    assert found["metrics_by_finding"]["val"]["Mass"]["auroc"] == 1
    test = found["metrics_by_finding"]["test"]  # test1 has no answer; of test0 nobody knows about a mass
    assert (test["Effusion"]["images"], test["Mass"]["images"]) == (2, 1)
    assert test["Mass"]["auroc"] is None
