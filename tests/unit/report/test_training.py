import dataclasses

import matplotlib
import numpy as np
import pandas as pd
import pytest
import scipy
from helpers.report_runs import EVIL, shown

from pneumo_batch.core.statistics import classification
from pneumo_batch.report import parts
from pneumo_batch.report.figures import base, training
from pneumo_batch.report.sections import training as section
from pneumo_batch.report.source import Source

_FIRST = ("accuracy", "balanced_accuracy", "auroc")


def test_metrics_are_those_of_the_models(full):
    run, page, _, _ = full
    rows = {(row[0], row[2]): row for row in page.tables["metrics"][1:]}
    assert len(rows) == 6 * 3
    for (name, split), row in rows.items():
        measured = run.model_record(name)["metrics"][split]
        assert row[3:7] == [str(measured["images"]), *(shown(measured[k]) for k in _FIRST)]


def test_accuracy_by_subtype_is_counted(full):
    run, page, _, _ = full
    predicted = run.store.read_table("models/true_0/predictions.parquet").to_pandas()
    predicted = predicted[predicted["split"] == "test"].merge(run.manifest()[["image_id", "subtype"]], on="image_id")
    said = 1 / (1 + np.exp(-np.array([row[0] for row in predicted["logits"]], dtype=np.float64)))
    right = (said >= run.model_record("true_0")["threshold"]) == (predicted["label"] == 1)
    expected = {
        "NORMAL": right[predicted["label"] == 0].mean(),
        EVIL: right[(predicted["label"] == 1) & predicted["subtype"].isna()].mean(),
        f"{EVIL}, virus": right[predicted["subtype"] == "virus"].mean(),
    }
    rows = {row[2]: row[4] for row in page.tables["subtypes"][1:] if row[0] == "true_0"}
    assert rows == {name: shown(value) for name, value in expected.items()}


def test_no_variant_is_without_its_accuracy_in_training(full):
    run, _, _, _ = full
    drawn = run.store.read_bytes("report/figures/curves.svg").decode()
    assert "not measured" not in drawn
    assert "Diamonds: the weights that were kept" in run.store.read_bytes("report/index.html").decode()


@pytest.mark.parametrize(
    ("rates", "named"),
    [([3e-4], ["0.0003"]), ([3e-4, 1.5e-4], ["0.00015", "0.0003"]), ([2.0**-k for k in range(9)], ["0.00390625", "1"])],
)
def test_the_axis_of_the_learning_rate_names_what_there_was(rates, named):
    figure, axes = base.canvas(4, 2)
    training._mark_rates(axes[0, 0], [pd.DataFrame({"learning_rate": rates})])
    figure.draw_without_rendering()
    assert [label.get_text() for label in axes[0, 0].get_yticklabels() if label.get_text()] == named


def test_what_was_memorised_stands_beside_a_guess_by_the_same_measure(full):
    run, page, _, _ = full
    rows = {row[0]: row for row in page.tables["memorisation"][1:]}
    measured = run.model_record("true_0")["metrics"]["train"]["balanced_accuracy"]
    assert rows["true_0"][4:6] == [shown(measured), shown(0.5)]
    name = next(name for name in rows if name.startswith("random"))
    assert rows[name][4:6] == [shown(run.model_record(name)["memorised"]), shown(0.5)]


def test_operating_points():
    scores_N, positive_N = np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, True, False, False])
    hits_T, false_T = training.operating_points(scores_N, positive_N)
    assert hits_T.tolist() == [1, 2, 2]
    assert false_T.tolist() == [0, 1, 2]
    area = scipy.integrate.trapezoid([0, *hits_T / 2], [0, *false_T / 2])
    assert area == classification.auroc(scores_N, positive_N) == 0.875


@pytest.mark.parametrize(("known", "drawn"), [({}, 0), ({"memorised": 0.9}, 2), ({"epochs": 2}, 2)])
def test_how_labels_were_learnt_is_left_out_where_no_training_is_known(pair, known, drawn):
    source = Source(pair[0])
    nothing = {"epochs": None, "memorised": None, "training_balanced_accuracy": None} | known
    variants = {name: dataclasses.replace(one, **nothing) for name, one in source.results.variants.items()}
    source.results = dataclasses.replace(source.results, variants=variants)
    with matplotlib.rc_context(base.STYLE):
        names = [getattr(block, "name", "") for block in parts.walk(section.build(source).blocks)]
    assert names.count("memorisation") == drawn  # a picture and a table
    assert "metrics" in names
