import csv
import io

import numpy as np
from helpers.report_runs import shown

from pneumo_batch.report import parts


def test_summary_is_the_table(full):
    run, page, _, _ = full
    rows, summary = page.tables["summary"], run.summary()
    assert rows[0] == list(summary.columns)
    assert [row[9] for row in rows[1:]] == [shown(value) for value in summary["mean"]]
    assert [row[6] for row in rows[1:]] == [str(value) for value in summary["images"]]
    text = run.store.read_bytes("report/figures/summary.csv").decode()
    written = [float(row["ci_low"] or "nan") for row in csv.DictReader(io.StringIO(text))]
    np.testing.assert_array_equal(written, summary["ci_low"].to_numpy())


def test_verdict_is_that_of_the_run(full):
    run, page, _, _ = full
    found = run.verdict["methods"]["grad_cam"]
    header, *rows = page.tables["verdict"]
    row = dict(zip(header, next(row for row in rows if row[0] == "Grad-CAM"), strict=True))
    assert row["verdict"] == found["verdict"] == "sensitive"
    for name, kind in (("TT", "true_true"), ("TNx", "true_random_cross"), ("NNx", "random_random_cross")):
        assert row[name] == shown(found["numbers"]["means"][kind])
    for name, quantity in (("L", "share"), ("h", "headroom"), ("k", "remainder"), ("everywhere", "everywhere")):
        assert row[name] == shown(found["numbers"][quantity]["value"])
    share = found["numbers"]["share"]
    assert row["interval"] == f"{shown(share['ci_low'])} to {shown(share['ci_high'])}"
    assert row["p over models"] == "0.050"


def test_the_first_screen_answers(full):
    run, page, text, _ = full
    methods = run.verdict["methods"]
    assert any(
        line == "Maps of Grad-CAM follow the labels. Maps of Integrated Gradients show the film: most of what correct"
        " models agree on about a film is there without the labels."
        for line in page.text
    )
    for one in methods.values():
        assert parts.signs(" ".join(one["reasons"])) in page.text
        assert parts.signs(one["on_every_film"]) in page.text
    before_folds = text[: text.index("<details")]
    assert before_folds.count("<img") == 1
    assert "What two true models agree on about a film (h)" in before_folds
    assert 'data-table="arms"' in before_folds
    assert before_folds.count('class="finding') == 2
    assert before_folds.count('<span class="these">12 films of 12 patients</span>') == 2


def test_both_arms_show_their_training(full):
    run, page, _, _ = full
    rows = {row[0]: row[1:] for row in page.tables["arms"][1:]}
    for kind in ("true", "random"):
        found = [one for one in run.verdict["variants"].values() if one["kind"] == kind]
        name = "training_balanced_accuracy" if kind == "true" else "memorised"
        accuracies = sorted(one[name] for one in found)
        ends = list(dict.fromkeys((shown(accuracies[0]), shown(accuracies[-1]))))
        assert rows[kind][:3] == ["3", " to ".join(ends), "2"]


def test_each_method_has_one_fold(full):
    _, page, text, _ = full
    summaries = [line for line in page.text if line.endswith("every view, scale and metric")]
    assert [line.partition(" in detail")[0] for line in summaries] == ["Integrated Gradients", "Grad-CAM"]
    inside = text.split("<details>")[1].split("</details>")[0]
    words = ("mean similarity", "TT against TN", "histograms", "similarity of every two models", "label share in")
    assert [name for name in words if f"Integrated Gradients: {name}" not in inside] == []


def test_the_forest_says_every_share(full):
    run, page, _, _ = full
    (words,) = [one["alt"] for one in page.of("img") if one["alt"].startswith("Grad-CAM: label share in every view")]
    for cell, one in run.verdict["methods"]["grad_cam"]["cells"].items():
        low, high = one["share"]["ci_low"], one["share"]["ci_high"]
        expected = f"L {one['share']['value']:.2f} ({low:.2f} to {high:.2f}), {one['verdict']}".replace("-", "−")
        assert f"{cell.replace('/', ' ')} {expected}" in words


def test_one_true_and_one_random_variant(pair):
    _, page, text, _ = pair
    row = page.tables["verdict"][1]
    assert row[1:3] == ["inconclusive", parts.MISSING]
    assert any("there is no h, and so no label share" in line for line in page.text)
    assert "For Integrated Gradients this run cannot tell." in page.text
    before_folds = text[: text.index("<details")]
    assert "mean similarity by kind of pair" in before_folds  # where there is nothing to split, what there is


def test_two_and_two_models_hold_for_themselves(few):
    run, page, text, _ = few
    assert any(
        line.startswith("For these four models, maps of Grad-CAM follow the labels and maps of") for line in page.text
    )
    assert "Intervals hold for these models only: others take 3 of each kind." in text
    patients = run.verdict["methods"]["grad_cam"]["numbers"]["share"]["patients"]
    words = f"{patients['ci_low']:.2f} to {patients['ci_high']:.2f}, these models only)"
    assert any(words in one["alt"] for one in page.of("img") if one["alt"].startswith("What two true models agree"))
    assert "for these models: sensitive" in page.text


def test_a_verdict_without_a_similarity_of_every_kind_is_of_no_count_of_films(pair):
    assert "0 films" not in pair[2]
    assert 'class="these"' not in pair[2]
