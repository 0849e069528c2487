"""The arms of a run in its report."""

import dataclasses

import numpy as np
import pytest
from helpers.report_runs import build, make_run, shown

from pneumo_batch.core.statistics import arm_lines, estimates, results
from pneumo_batch.core.statistics import doses as core_doses
from pneumo_batch.report.figures import doses
from pneumo_batch.report.figures.base import FULL, canvas
from pneumo_batch.report.parts import signs
from pneumo_batch.report.sections import arms, method_details
from pneumo_batch.report.source import Source

ARMS = ["random", "some_25", "some_50", "fresh"]


def test_every_arm_and_method_has_its_numbers_and_reasons(armed):
    run, page, _, _ = armed
    header, *rows = page.tables["arm_verdicts"]
    found = run.verdict["arms"]
    assert list(found) == ARMS
    assert [row[0] for row in rows] == [arm for arm in ARMS for _ in (1, 2)]
    for arm, method, verdict, share, *_ in rows:
        one = found[arm]["methods"]["grad_cam" if method == "Grad-CAM" else "integrated_gradients"]
        assert (verdict, share) == (one["verdict"], shown(one["numbers"]["share"]["value"]))
        assert any(signs(" ".join(one["reasons"])) in line for line in page.text)
    assert header[3] == "L"


def test_an_arm_without_a_p_says_why(armed):
    """Maps of one of its models are constant: with no other model has it a similarity."""
    source = Source(armed[0])
    arm, films = source.results.arms["fresh"], source.attributed.num_rows
    method = arm.methods["grad_cam"]
    numbers = dataclasses.replace(method.numbers, permutation=estimates.Permutations())
    methods = {**arm.methods, "grad_cam": dataclasses.replace(method, numbers=numbers)}
    constant = {"grad_cam/magnitude": {"fresh_7": films, "fresh_8": films - 1, "some_25_25": films}}
    source.results = dataclasses.replace(source.results, degenerate=constant)
    lines = arms._lines(source, dataclasses.replace(arm, methods=methods))
    why = "No p over models, which takes a similarity of every two: maps of fresh_7 are constant on every film."
    assert [why in line for line in lines] == ["Grad-CAM" in line for line in lines]
    assert not any("No p" in line for line in arms._lines(source, arm))


def test_a_method_whose_maps_are_constant_has_no_h_and_says_so(armed):
    source = Source(armed[0])
    method, films = source.results.methods["grad_cam"], source.attributed.num_rows
    nothing = dataclasses.replace(method, numbers=estimates.CellTest())
    constant = {"grad_cam/magnitude": dict.fromkeys(source.random, films)}
    methods = {**source.results.methods, "grad_cam": nothing}
    source.results = dataclasses.replace(source.results, methods=methods, degenerate=constant)
    assert method_details.in_numbers(source, "grad_cam").endswith(
        "There is no h, and so no label share. No p over models, which takes a similarity of every two: maps of"
        f" {', '.join(source.random)} are constant on every film."
    )


def test_kinds_are_named_by_their_arm(armed):
    run, _, _, _ = armed
    means = run.verdict["arms"]["some_50"]["methods"]["grad_cam"]["numbers"]["means"]
    named = {"true_some_50", "some_50_some_50"}
    assert set(means) == {"true_true", "edge", "random_map", "true_true_cross", *named, *(f"{k}_cross" for k in named)}
    assert named <= set(run.summary()["kind"])


def test_the_first_verdict_is_of_the_random_arm_as_without_others(armed, full):
    """Scores of other arms are drawn in between, so that numbers differ and what is said of them does not."""
    for run in (armed[0], full[0]):
        found = run.verdict["methods"]
        assert {name: one["verdict"] for name, one in found.items()} == {
            "integrated_gradients": "insensitive",
            "grad_cam": "sensitive",
        }
        assert "true_random" in found["grad_cam"]["numbers"]["means"]
    assert "arms" not in full[0].verdict
    assert armed[0].verdict["contrast"] == "random"
    assert armed[1].tables["arms"][2][:2] == ["random", "3"]


def test_models_of_each_arm_say_how_far_they_were_trained(armed):
    run, page, _, _ = armed
    rows = {row[0]: row[1:] for row in page.tables["arm_models"][1:]}
    assert list(rows) == ["true", *ARMS]
    assert rows["some_25"][0] == "25 % of the labels permuted"
    assert rows["fresh"][0] == "fresh weights"
    aurocs = sorted(run.verdict["variants"][f"some_25_{n}"]["test"]["auroc"] for n in (25, 26, 27))
    assert rows["some_25"][5] == f"{shown(aurocs[0])} to {shown(aurocs[-1])}"


def test_dose_and_response_is_drawn_and_read(armed):
    run, page, _, _ = armed
    (picture,) = [image for image in page.of("img") if image["alt"].startswith("Label share, AUROC")]
    shares = [
        run.verdict["arms"][name]["methods"]["grad_cam"]["numbers"]["share"]["value"]
        for name in ("some_25", "some_50", "random")
    ]
    assert shares == sorted(shares)
    listed = ", ".join(f"{value:.2f} at {at} %" for value, at in zip(shares, (25, 50, 100), strict=True))
    said = f"Grad-CAM: L rises with every step: {listed} of the labels permuted; its interval lies above 0 from"
    assert said in picture["alt"]
    assert any(line.startswith(said) for line in page.text)
    assert run.store.exists("report/figures/doses.svg")
    assert "at 0 % it is 0 by definition" in page_text(run)


def test_of_two_arms_of_one_dose_both_are_drawn(armed):
    """Both shares as points, and a line through the mean of a dose in every panel."""
    source = Source(armed[0])
    some_25 = dataclasses.replace(source.results.arms["some_25"], fraction=0.5)
    source.results = dataclasses.replace(source.results, arms={**source.results.arms, "some_25": some_25})
    curve = core_doses.doses(source.results)
    low, high, full = (
        source.results.arms[arm].methods["grad_cam"].numbers.share.value for arm in ("some_25", "some_50", "random")
    )
    _, axes = canvas(FULL, 3.5, 1, 2)
    doses._draw_share(axes[0, 0], core_doses.shares(curve, "grad_cam"), "grad_cam", (0, 1))
    line, points = axes[0, 0].lines[:2]
    assert points.get_ydata() == pytest.approx([0, low, high, full])
    assert line.get_ydata() == pytest.approx([0, (low + high) / 2, full])
    doses._draw_models(source, axes[0, 1], curve, lambda one: one.test.auroc)
    aurocs = [
        [source.results.variants[name].test.auroc for name in arm.variants] for arm in source.results.arms.values()
    ]
    means = next(one for one in axes[0, 1].lines if one.get_zorder() == 1)
    assert list(means.get_xdata()) == [0.0, 0.5, 1.0]
    assert means.get_ydata()[1:] == pytest.approx([np.mean(aurocs[1] + aurocs[2]), np.mean(aurocs[0])])


def test_a_run_without_further_arms_says_nothing_of_them(full):
    _, page, text, _ = full
    assert "arm_models" not in page.tables
    assert "Dose and response" not in text


def test_lines_for_the_terminal(armed):
    found = results.read(armed[0].verdict)
    lines = arm_lines.arm_lines(found)
    assert [line.split(":")[0] for line in lines] == [
        "some_25 (25 % of the labels permuted)",
        "some_50 (50 % of the labels permuted)",
        "fresh (fresh weights)",
    ]
    share = found.arms["some_25"].methods["grad_cam"].numbers.share
    assert f"L = {share.value:.3f} (95 % interval {share.ci_low:.3f} to {share.ci_high:.3f})" in lines[0]
    assert len(arm_lines.dose_lines(found)) == len(found.methods)


def test_without_random_models_the_first_arm_stands_in_their_place(tmp_path):
    """What compares true and random models compares true ones and those of the arm."""
    arm = {"name": "quarter", "fraction": 0.25, "seeds": [41, 42, 43]}
    none = {"name": "none", "fraction": 0.0, "seeds": [11, 12, 13]}
    run, page, _, _ = build(make_run(tmp_path, kinds=(3, 0), methods=("grad_cam",), further=[arm, none]))
    found = run.verdict
    assert (found["contrast"], list(found["arms"])) == ("quarter", ["quarter", "none"])
    numbers = found["methods"]["grad_cam"]["numbers"]
    assert numbers == found["arms"]["quarter"]["methods"]["grad_cam"]["numbers"]
    header, *rows = page.tables["verdict"]
    row = dict(zip(header, next(row for row in rows if row[0] == "Grad-CAM"), strict=True))
    assert row["TN"] == shown(numbers["means"]["true_quarter"])
    assert row["NNx"] == shown(numbers["means"]["quarter_quarter_cross"])
    text = page_text(run)
    assert "3 with 25 % of the labels permuted [3] (quarter, seeds 41, 42 and 43)" in text
    assert "that of a true and one of quarter (TN)" in text
    assert "what is left of it with 25 % of the labels permuted, and L" in text
    assert "at 0 % it is the true labels once more, trained as the others" in text


def page_text(run):
    return run.store.read_bytes("report/index.html").decode()


@pytest.mark.parametrize("kind", ["some_50", "fresh"])
def test_a_model_card_says_what_its_labels_were(armed, kind):
    run, _, _, _ = armed
    name = next(name for name, one in run.verdict["variants"].items() if one["kind"] == kind)
    card = run.store.read_bytes(f"report/model_card_{name}.md").decode()
    expected = {
        "some_50": "50 % of the labels permuted, the others true: 50.0% of the training labels equal the true ones.",
        "fresh": "None: it was not trained, its weights are fresh.",
    }
    assert expected[kind] in card
