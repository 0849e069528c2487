"""A pass over the data as a row a method, and passes side by side in the report."""

import pandas as pd
import pyarrow as pa
import pytest
from helpers.results import classified

from pneumo_batch.core import tables
from pneumo_batch.core.statistics import estimates, passes, results
from pneumo_batch.report.parts import Picture, Table, Text
from pneumo_batch.report.sections import passes as section
from pneumo_batch.rundir.reader import Run

NUMBERS = estimates.CellTest(
    means={"true_true": 0.8, "true_random": 0.3, "true_true_cross": None},  # and a kind that no pair has
    headroom=estimates.Estimate(0.4, 0.3, 0.5),
    share=estimates.Estimate(0.9, 0.7, 1.1),
)
RESULTS = results.Results(
    primary=results.Primary("magnitude", "region", "spearman"),
    threshold=0.5,
    methods={"grad_cam": results.MethodResult("sensitive", [], numbers=NUMBERS)},
    variants={
        "true_0": classified("true", 0.9),
        "true_1": classified("true", 0.7),
        "random_100": classified("random", 0.5),
    },
    degenerate={"grad_cam/magnitude": {"true_0": 2, "true_1": 0, "random_100": 1}, "grad_cam/signed": {"true_0": 9}},
)


def test_a_pass_is_the_primary_cell_the_accuracy_of_true_models_and_the_share_of_empty_maps():
    time = "2026-01-01T00:00:00+00:00"
    (row,) = passes.rows(RESULTS, passes.Pass(3, time, images=100, attributed=10)).to_pylist()
    assert row.pop("accuracy") == pytest.approx(0.8)
    assert row.pop("degenerate") == pytest.approx(3 / 30)
    numbers = {"mean_tt": 0.8, "mean_tn": 0.3, "mean_ttx": None, "mean_tnx": None}
    numbers |= {"headroom": 0.4, "share": 0.9, "share_low": 0.7, "share_high": 1.1}
    about = {"pass": 3, "time": time, "images": 100, "attributed": 10}
    assert row == {**about, "method": "grad_cam", **numbers, "verdict": "sensitive"}


class Source:
    def __init__(self, run):
        self.run = run
        self.results = RESULTS


@pytest.fixture
def run(tmp_path):
    frame = pd.DataFrame(
        {
            "pass": [1, 2],
            "time": ["a", "b"],
            "method": ["grad_cam"] * 2,
            "images": [20, 30],
            "attributed": [10, 20],
            "mean_tt": [0.8, 0.75],
            "mean_tn": [0.3, 0.35],
            "mean_ttx": [None, None],
            "mean_tnx": [0.1, 0.1],
            "headroom": [None, None],
            "share": [0.9, 0.75],
            "share_low": [0.7, None],
            "share_high": [1.1, None],
            "accuracy": [0.9, 0.85],
            "degenerate": [0.0, 0.1],
            "verdict": ["sensitive", "inconclusive"],
        }
    )
    found = Run(tmp_path / "run")
    found.store.write_table("history.parquet", pa.Table.from_pandas(frame, schema=tables.PASSES, preserve_index=False))
    return found


def test_the_report_says_how_far_the_last_pass_is_from_the_first(run):
    _, text, picture, fold = section.blocks(Source(run))
    (table,) = fold.blocks
    assert isinstance(text, Text)
    assert text.text == (
        "Grad-CAM, pass 1 to 2, 10 to 20 images: L 0.900 (0.700 to 1.100) to 0.750, TT 0.800 to 0.750, TN 0.300 to"
        " 0.350, TNx 0.100 to 0.100, accuracy 0.900 to 0.850 and empty 0.000 to 0.100; sensitive at first, now"
        " inconclusive."
    )
    assert isinstance(picture, Picture)
    assert b"label share L" in picture.data
    assert picture.alt.endswith("Grad-CAM, pass 1: 0.900 (0.700 to 1.100); Grad-CAM, pass 2: 0.750.")
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == [1, 2]


def test_one_pass_is_no_drift(run, tmp_path):
    first = run.store.read_table("history.parquet").slice(0, 1)
    run.store.write_table("history.parquet", first)
    assert section.blocks(Source(run)) == []
    assert section.blocks(Source(Run(tmp_path / "other"))) == []
