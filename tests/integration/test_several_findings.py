"""Several findings from label files to a verdict for each of three targets, and what their maps share."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.report_runs import Page
from helpers.tiny import lean_job
from sklearn.metrics import roc_auc_score

from pneumo_batch import pipeline
from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.data.phantom import published
from pneumo_batch.core.models import networks
from pneumo_batch.errors import JobError
from pneumo_batch.report.parts import number

FINDINGS = ["Infiltration", "Effusion", "Cardiomegaly"]
TARGETS = ["Effusion", "Infiltration", "Cardiomegaly"]  # in another order than the logits
EIGHTEEN = ["Atelectasis", "Effusion", "", "Cardiomegaly", *(f"other {k}" for k in range(13)), "Infiltration"]


@pytest.fixture(scope="module")
def nih(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "nih"
    published.write(root, "nih", train=60, test=16, seed=0, image_size=96)
    return root


def job_of(root, **sections):
    data = {"root": str(root), "format": "nih", "findings": FINDINGS, "max_bad": 0.05}
    attribution = {"target": TARGETS, "limit": 8, "integrated_gradients": {"steps": 8}}
    return lean_job(**{"data": data, "attribution": attribution, **sections})


@pytest.fixture(scope="module")
def run(ray_cluster, nih, tmp_path_factory):
    outcome = pipeline.execute(job_of(nih), str(tmp_path_factory.mktemp("runs") / "run"))
    assert outcome.complete
    return outcome.run


def test_the_manifest_has_the_labels_of_the_label_file(run, nih):
    published_rows = pd.read_csv(nih / "Data_Entry_2017_v2020.csv").set_index("Image Index")["Finding Labels"]
    rows = run.manifest()
    assert len(rows) > 60
    for row in rows.to_dict("records"):
        shown = published_rows[row["image_id"].rpartition("/")[2]].split("|")
        assert [row[f"label__{name}"] for name in FINDINGS] == [int(name in shown) for name in FINDINGS]
        assert row["class_name"] == ("FINDING" if set(shown) & set(FINDINGS) else "NORMAL")


def test_maps_of_a_target_are_held_against_the_regions_of_its_finding(run):
    rows, boxes, manifest = run.localisation(), run.regions(), run.manifest().set_index("image_id")
    ids, _ = run.maps("grad_cam", "true_0")
    assert "Effusion" in set(rows["finding"])
    for finding in run.targets:
        boxed = set(boxes[boxes["finding"] == finding]["image_id"])
        there = {one for one in ids if one in boxed and manifest.loc[one, f"label__{finding}"] == 1}
        assert set(rows[rows["finding"] == finding]["image_id"]) == there
    located = run.verdict["localisation"]["findings"]
    assert located["Effusion"]["mean_mask_of"] == "other films"  # boxes are of test films


def test_numbers_by_finding_are_those_of_the_predictions(run):
    for variant in run.variants():
        path = f"{run.path}/models/{variant}/predictions.parquet"
        predicted = pd.read_parquet(path).query("split == 'test'")
        logits_NK = np.stack(predicted["logits"])
        found = run.verdict["variants"][variant]
        assert list(found["findings"]) == FINDINGS
        for k, name in enumerate(FINDINGS):
            one = found["findings"][name]
            area = roc_auc_score(predicted[f"label__{name}"], logits_NK[:, k])
            assert one["test"]["auroc"] == pytest.approx(area)
            assert one["threshold"] == run.model_record(variant)["thresholds"][name]
            assert 0.5 <= one["training"]["majority"] < 1
        assert found["test"] == found["findings"]["Effusion"]["test"]


def test_random_models_were_given_whole_rows_of_other_films(run):
    record = run.model_record("random_100")
    assert 0.3 < record["label_agreement"] < 0.95
    assert record["memorised"] == min(one["balanced_accuracy"] for one in record["memorisation"].values())
    assert run.model_record("true_0")["label_agreement"] == 1


@pytest.mark.parametrize("target", TARGETS)
def test_the_maps_of_each_target_are_of_its_logit(run, target):
    ids, maps_NHW = run.maps("integrated_gradients", "true_0", target)
    suffix = "" if target == "Effusion" else f"__{target}"
    columns = [f"logit__true_0{suffix}", f"integrated_gradients_delta__true_0{suffix}"]
    table = run.maps_table(columns).sort_by("image_id")
    with torch.no_grad():
        model = run.model("true_0")
        logits_N = model(run.inputs(ids))[:, FINDINGS.index(target)]
        start = model(run.baseline())[0, FINDINGS.index(target)]
    np.testing.assert_allclose(table[columns[0]].to_numpy(), logits_N.numpy(), rtol=1e-4, atol=1e-5)
    delta_N = table[columns[1]].to_numpy()
    np.testing.assert_allclose(maps_NHW.sum((1, 2)) - delta_N, (logits_N - start).numpy(), atol=1e-4)


def test_each_target_has_the_maps_that_it_has_alone(run):
    explainer = Explainer(run.model("random_100"), run.job.attribution.options_by_method(), run.preprocess())
    for target in TARGETS:
        for method in run.job.attribution.methods:
            ids, maps_Nhw = run.maps(method, "random_100", target)
            output_N = torch.full((len(ids),), FINDINGS.index(target))
            alone_Nhw = explainer(run.inputs(ids), output_N).maps[method].numpy()
            np.testing.assert_allclose(maps_Nhw, alone_Nhw, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(run.maps("grad_cam", "true_1")[1], run.maps("grad_cam", "true_1", "Effusion")[1])
    with pytest.raises(KeyError, match="no target 'Mass'; there are: Effusion, Infiltration, Cardiomegaly"):
        run.maps("grad_cam", "true_0", "Mass")


def test_tables_say_their_target(run):
    scores = run.scores()
    assert list(scores.columns[-2:]) == ["target", "target_b"]
    counts = {target: len(run.scores(target)) for target in TARGETS}
    assert len(set(counts.values())) == 1
    between = scores[scores["target"] != scores["target_b"]]
    assert len(scores) == sum(counts.values()) + len(between)
    assert set(between["kind"]) == {f"two_targets{end}" for end in ("", "_cross", "_one_model", "_one_model_cross")}
    assert between.groupby("kind", observed=True).size().nunique() == 1  # two true models: two orders, two models
    for table in (run.summary(), run.passes(), run.scales()):
        assert list(table["target"].unique()) == TARGETS
    assert list(run.summary("Cardiomegaly")["class_name"].unique()) == ["all", "without Cardiomegaly", "Cardiomegaly"]


def test_the_verdict_is_of_the_first_target_and_of_each(run):
    found = run.verdict
    assert found["target"] == "Effusion"
    assert list(found["targets"]) == TARGETS
    assert found["methods"] == found["targets"]["Effusion"]["methods"]
    for target in TARGETS:
        of_target = found["targets"][target]
        assert set(of_target["methods"]) == {"integrated_gradients", "grad_cam"}
        for variant in run.variants():
            assert of_target["variants"][variant]["test"] == found["variants"][variant]["findings"][target]["test"]
        means = run.summary(target).query("class_name == 'all' and view == 'magnitude' and scale == 'region'")
        means = means.query("metric == 'spearman' and method == 'integrated_gradients' and kind == 'true_random'")[
            "mean"
        ]
        numbers = of_target["methods"]["integrated_gradients"]["numbers"]
        assert numbers["images"] == 8
        assert numbers["means"]["true_random"] == pytest.approx(means.item())


def test_what_two_targets_share_is_that_of_the_scores(run):
    scores = run.scores().query("view == 'magnitude' and scale == 'region' and metric == 'spearman'")
    assert set(run.verdict["specificity"]) == {"integrated_gradients", "grad_cam"}
    for method, between in run.verdict["specificity"].items():
        assert [one["targets"] for one in between] == [list(two) for two in itertools.combinations(TARGETS, 2)]
        for one in between:
            first, second = one["targets"]
            mine = scores[(scores["method"] == method) & (scores["target"] == first) & (scores["target_b"] == second)]
            means = mine.groupby("kind", observed=True)["score"].mean()
            numbers = one["numbers"]
            if method == "grad_cam":  # of two epochs: some map is constant, and few films have every similarity
                continue
            assert numbers["images"] == 8
            assert numbers["across"]["value"] == pytest.approx(means["two_targets"] - means["two_targets_cross"])
            one_model = means["two_targets_one_model"] - means["two_targets_one_model_cross"]
            assert numbers["one_model"]["value"] == pytest.approx(one_model)
            headrooms = [
                run.verdict["targets"][name]["methods"][method]["numbers"]["headroom"] for name in (first, second)
            ]
            assert numbers["headroom"]["value"] == pytest.approx(np.mean([one["value"] for one in headrooms]))


def test_the_report_has_every_target_and_what_two_share(run):
    page = run.store.read_bytes("report/index.html").decode()
    found = Page(page)
    assert {"targets", "specificity", "verdict", "verdict_infiltration", "cells_grad_cam_cardiomegaly"} <= set(
        found.tables
    )
    assert [row[0] for row in found.tables["targets"][1:]] == [name for name in TARGETS for _ in range(2)]
    numbers = run.verdict["specificity"]["grad_cam"][0]["numbers"]
    shown = next(
        row for row in found.tables["specificity"] if row[1] == "Effusion / Infiltration" and row[0] == "Grad-CAM"
    )
    cells = run.verdict["specificity"]["grad_cam"][0]["cells"]
    assert shown[5] == number(cells["/".join(shown[2:5])]["headroom"]["value"])
    assert numbers == cells["magnitude/region/spearman"]
    assert "without Effusion" in page
    assert "Pictures and the other tables here are about Effusion, except training curves" in page
    assert "Effusion, Infiltration and Cardiomegaly are explained" in page
    card = run.store.read_bytes("report/model_card_true_0.md").decode()
    assert "findings, in the order of the outputs, Infiltration, Effusion and Cardiomegaly" in card


def test_a_finding_has_to_be_named(nih, tmp_path):
    with pytest.raises(JobError, match=r"of several findings, name one: Infiltration, Effusion, Cardiomegaly$"):
        pipeline.execute(job_of(nih, attribution={}), str(tmp_path / "run"))


def test_a_model_with_more_outputs_names_them(ray_cluster, nih, tmp_path):
    pytest.importorskip("torchxrayvision")
    torch.manual_seed(0)
    whole = networks.build("torchxrayvision:densenet121", image_size=64, channels=1, outputs=18).eval()
    torch.save(whole.state_dict(), tmp_path / "dense.pt")
    brought = {"name": "dense", "kind": "true", "checkpoint": str(tmp_path / "dense.pt"), "outputs": EIGHTEEN}
    sections = {
        "train": {"true_seeds": [], "random_seeds": []},
        "network": {"name": "torchxrayvision:densenet121"},
        "attribution": {"target": "Effusion", "methods": ["grad_cam"], "grad_cam": {"layer": "features.denseblock3"}},
        "variant": [brought],
    }
    outcome = pipeline.execute(job_of(nih, **sections), str(tmp_path / "run"), until="train")
    run, ids = outcome.run, outcome.run.manifest()["image_id"].tolist()[:4]
    with torch.no_grad():
        logits_NK = run.model("dense")(run.inputs(ids))
        wanted_NK = whole(run.inputs(ids))[:, [EIGHTEEN.index(name) for name in FINDINGS]]
    torch.testing.assert_close(logits_NK, wanted_NK, rtol=1e-4, atol=1e-5)
    record = json.loads((tmp_path / "run/models/dense/model.json").read_text())
    assert (record["findings"], record["outputs"]) == (FINDINGS, 3)
    brought["outputs"] = [*EIGHTEEN[:-1], "Mass"]
    with pytest.raises(JobError, match=r"^variant.dense: outputs has no 'Infiltration', which the job asks for"):
        pipeline.execute(job_of(nih, **sections), str(tmp_path / "other"))
