import numpy as np
import pytest

from pneumo_batch.core import tables
from pneumo_batch.core.similarity.per_image import Cell, PerImage, ScoredPair
from pneumo_batch.core.statistics import bootstrap, summaries

CELL = Cell("grad_cam", "magnitude", "region", "spearman")
NAN = float("nan")


def data_of(patients, labels, *columns):
    pairs = {ScoredPair("true_true", "t0", f"t{i}"): np.array(one, np.float32) for i, one in enumerate(columns, 1)}
    return PerImage(np.array(labels), np.array(patients), {CELL: pairs} if columns else {})


def test_summary_of_all_and_of_each_class():
    data = data_of([0, 1, 2, 2], [0, 1, 1, 1], [0.625, 0.25, 0.75, NAN], [0.375, 0.25, 0.75, NAN])
    found = summaries.summarise(data, ["NORMAL", "PNEUMONIA", "VIRUS"], resamples=500, seed=3)
    assert found.schema == tables.SUMMARY
    rows = {row.pop("class_name"): row for row in found.to_pylist()}
    drawn = bootstrap.means(np.array([[0.5], [0.25], [0.75], [NAN]]), data.patients_N, 500, 3)
    low, high = np.percentile(drawn, [2.5, 97.5])
    common = {**CELL._asdict(), "kind": "true_true"}
    assert rows["all"] == common | {
        "images": 3, "pairs": 8, "degenerate": 2, "mean": 0.5, "std": 0.25, "median": 0.5,
        "ci_low": pytest.approx(low), "ci_high": pytest.approx(high),
    }  # fmt: skip
    assert rows["NORMAL"] == common | {
        "images": 1, "pairs": 2, "degenerate": 0, "mean": 0.5, "std": None, "median": 0.5,
        "ci_low": 0.5, "ci_high": 0.5,
    }  # fmt: skip
    assert rows["PNEUMONIA"] == common | {
        "images": 2, "pairs": 6, "degenerate": 2, "mean": 0.5, "std": pytest.approx(0.5 / np.sqrt(2)), "median": 0.5,
        "ci_low": 0.25, "ci_high": 0.75,
    }  # fmt: skip
    assert rows["VIRUS"] == common | {
        "images": 0, "pairs": 0, "degenerate": 0, "mean": None, "std": None, "median": None,
        "ci_low": None, "ci_high": None,
    }  # fmt: skip


def test_no_scores_no_rows():
    assert summaries.summarise(data_of([0, 1], [0, 0]), ["NORMAL"], resamples=10).num_rows == 0
