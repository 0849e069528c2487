"""Three classes from the subtypes in the file names, through every stage; each image explained by its own class."""

import captum.attr
import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from helpers.tiny import tiny_job

from pneumo_batch import pipeline

pytestmark = pytest.mark.slow

CLASSES = ["BACTERIA", "NORMAL", "VIRUS"]


@pytest.fixture(scope="module")
def run(ray_cluster, tmp_path_factory):
    job = tiny_job(data={"classes": "subtype"}, attribution={"target": "label"}, compare={"metrics": ["spearman"]})
    outcome = pipeline.execute(job, str(tmp_path_factory.mktemp("runs") / "subtypes"))
    assert outcome.complete
    return outcome.run


def test_subtypes_become_classes_and_outputs(run):
    manifest = run.manifest()
    assert sorted(manifest["class_name"].unique()) == CLASSES
    assert [CLASSES[label] for label in manifest["label"]] == manifest["class_name"].tolist()
    assert (manifest["subtype"].str.upper().fillna("NORMAL") == manifest["class_name"]).all()
    record = run.model_record("true_0")
    assert (record["classes"], record["outputs"]) == (CLASSES, 3)


def test_each_image_is_explained_by_its_own_class(run):
    ids, cams_Nhw = run.maps("grad_cam", "true_1")
    maps_NHW = run.maps("integrated_gradients", "true_1")[1]
    columns = ["logit__true_1", "integrated_gradients_delta__true_1"]
    table = run.maps_table(columns).sort_by("image_id")
    labels_N = torch.from_numpy(table["label"].to_numpy().astype(np.int64))
    assert set(labels_N.tolist()) == {0, 1, 2}
    model, inputs_NCHW = run.model("true_1"), run.inputs(ids)
    cam = captum.attr.LayerGradCam(model, model.conv5[1]).attribute(inputs_NCHW, target=labels_N)[:, 0].detach().numpy()
    np.testing.assert_allclose(cams_Nhw, cam, rtol=1e-3, atol=1e-3 * np.abs(cam).max())
    with torch.no_grad():
        own = torch.arange(len(ids))
        logits_N = model(inputs_NCHW)[own, labels_N].numpy()
        change_N = logits_N - model(run.baseline())[0, labels_N].numpy()
    np.testing.assert_allclose(table["logit__true_1"].to_numpy(), logits_N, rtol=1e-4, atol=1e-5)
    delta_N = table["integrated_gradients_delta__true_1"].to_numpy()
    np.testing.assert_allclose(maps_NHW.sum(axis=(1, 2)), change_N + delta_N, rtol=1e-3, atol=1e-4)


def test_the_summary_has_every_class_beside_all_images(run):
    summary = run.summary()
    counts = run.manifest().query("split == 'test'")["class_name"].value_counts().to_dict()
    tested = summary.query("kind == 'true_random' and method == 'grad_cam' and view == 'signed' and scale == 'pixel'")
    assert tested.set_index("class_name")["images"].to_dict() == {"all": 14, **counts}
    scores = run.scores().query("kind == 'true_random' and method == 'grad_cam' and view == 'signed'")
    scores = scores[scores["scale"] == "pixel"]
    for label, name in enumerate(CLASSES):
        expected = scores[scores["label"] == label].groupby("image_id")["score"].mean().mean()
        assert tested.set_index("class_name").loc[name, "mean"] == pytest.approx(expected, abs=1e-6)


def test_the_verdict_judges_models_over_all_classes(run):
    found = run.verdict
    assert set(found["methods"]) == {"integrated_gradients", "grad_cam"}
    rows = run.store.read_table("models/true_0/predictions.parquet").to_pandas().query("split == 'test'")
    probabilities_NK = scipy.special.softmax(np.stack(rows["logits"]).astype(np.float64), axis=1)
    labels_N = rows["label"].to_numpy()
    areas = []
    for k in range(3):
        positive, negative = probabilities_NK[labels_N == k, k], probabilities_NK[labels_N != k, k]
        areas.append(scipy.stats.mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative)))
    test = found["variants"]["true_0"]["test"]
    assert test["auroc"] == pytest.approx(np.mean(areas), abs=1e-9)
    assert np.sum(test["confusion"], axis=1).tolist() == np.bincount(labels_N).tolist()
    assert test["threshold"] is None


def test_scales_are_measured_and_told(run):
    scales = run.scales()
    assert set(zip(scales["method"], scales["view"], strict=True)) == {
        (method, view) for method in ("integrated_gradients", "grad_cam") for view in ("signed", "magnitude")
    }
    assert (scales["images"] <= 14).all()
    for name, method in run.verdict["methods"].items():
        mine = scales[(scales["method"] == name) & (scales["view"] == "magnitude")]
        assert method["reproducible"]["magnitude"] == mine.loc[mine["difference_low"] > 0, "grid"].tolist()
        assert any("two true models" in caveat for caveat in method["caveats"])


def test_scales_at_the_region_grid_are_the_scores_of_the_sample(run):
    scales = run.scales().query("grid == 8 and view == 'magnitude' and method == 'grad_cam'")
    scores = run.scores().query("scale == 'region' and view == 'magnitude' and method == 'grad_cam'")
    # the floor of a curve is of one partner, that of scores of sixteen: held against scipy where curves are tested
    for kind, column in (("true_true", "mean_tt"), ("true_random", "mean_tn")):
        means = scores[scores["kind"] == kind].groupby("image_id")["score"].mean()
        assert scales[column].item() == pytest.approx(means.mean(), abs=1e-6)


def test_the_report_is_written(run):
    assert all(name in run.store.read_bytes("report/index.html").decode() for name in CLASSES)
