"""Several findings from label files to a verdict: a logit each, of which one is explained."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.tiny import lean_job
from sklearn.metrics import roc_auc_score

from pneumo_batch import pipeline
from pneumo_batch.core.data.phantom import published
from pneumo_batch.core.models import networks
from pneumo_batch.errors import JobError

FINDINGS = ["Infiltration", "Effusion", "Cardiomegaly"]
EIGHTEEN = ["Atelectasis", "Effusion", "", "Cardiomegaly", *(f"other {k}" for k in range(13)), "Infiltration"]


@pytest.fixture(scope="module")
def nih(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "nih"
    published.write(root, "nih", train=60, test=16, seed=0, image_size=96)
    return root


def job_of(root, **sections):
    data = {"root": str(root), "format": "nih", "findings": FINDINGS, "max_bad": 0.05}
    attribution = {"target": "Effusion", "limit": 8, "integrated_gradients": {"steps": 8}}
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


def test_the_maps_are_of_the_finding_that_is_explained(run):
    ids, maps_NHW = run.maps("integrated_gradients", "true_0")
    table = run.maps_table(["logit__true_0", "integrated_gradients_delta__true_0"]).sort_by("image_id")
    with torch.no_grad():
        model = run.model("true_0")
        logits_N = model(run.inputs(ids))[:, FINDINGS.index("Effusion")]
        start = model(run.baseline())[0, FINDINGS.index("Effusion")]
    np.testing.assert_allclose(table["logit__true_0"].to_numpy(), logits_N.numpy(), rtol=1e-4, atol=1e-5)
    delta_N = table["integrated_gradients_delta__true_0"].to_numpy()
    np.testing.assert_allclose(maps_NHW.sum((1, 2)) - delta_N, (logits_N - start).numpy(), atol=1e-4)


def test_verdict_and_report_are_about_that_finding(run):
    assert run.verdict["target"] == "Effusion"
    assert set(run.verdict["methods"]) == {"integrated_gradients", "grad_cam"}
    assert list(run.summary()["class_name"].unique()) == ["all", "without Effusion", "Effusion"]
    page = run.store.read_bytes("report/index.html").decode()
    assert "without Effusion" in page
    assert "All else in this report is about Effusion, but for training curves" in page


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
