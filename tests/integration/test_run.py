"""One small run through every stage, read back as its users read it."""

import json
import shutil
import subprocess
import sys

import captum.attr
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import scipy.stats
import skimage.filters
import skimage.metrics
import torch
from helpers.tiny import TINY, tiny_job

from pneumo_batch import pipeline
from pneumo_batch.cli import estimate
from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.attribution import localisation
from pneumo_batch.core.data import phantom
from pneumo_batch.core.similarity import metrics
from pneumo_batch.errors import RunBusyError, RunError
from pneumo_batch.rundir import layout
from pneumo_batch.rundir.writer import RunWriter


def test_record_is_complete_and_balances(tiny_run):
    record = tiny_run.record
    assert record["status"] == "complete"
    assert record["error"] is None
    assert list(record["stages"]) == list(layout.STAGES)
    assert {stage["status"] for stage in record["stages"].values()} == {"complete"}
    assert record["counts"] == {"images": 54, "quarantined": 0, "attributed": 14}
    assert len(record["fingerprint"]) == 64
    assert record["versions"]["ray"]
    events = [json.loads(line) for line in tiny_run.store.read_bytes("events.jsonl").splitlines()]
    assert events[-1]["event"] == "complete"


def test_manifest_holds_every_image_once_and_no_patient_in_two_splits(tiny_run):
    manifest = tiny_run.manifest()
    assert list(manifest.columns) == tables.MANIFEST.names
    assert manifest["image_id"].is_unique
    assert manifest["split"].value_counts().to_dict().keys() == {"train", "val", "test"}
    assert (manifest.groupby("patient_id")["split"].nunique() == 1).all()
    assert len(tiny_run.quarantine()) == 0


def test_maps_table_has_the_promised_schema(tiny_run):
    dataset = pyarrow.dataset.dataset(tiny_run.store.path("maps"), format="parquet")
    expected = tables.maps_schema(
        {"integrated_gradients": (64, 64), "grad_cam": (4, 4)},
        ["true_0", "true_1", "random_100"],
        ["integrated_gradients"],
    )
    assert dataset.schema.remove_metadata().equals(expected)
    ids = dataset.to_table(columns=["image_id"])["image_id"].to_pylist()
    manifest = tiny_run.manifest()
    assert sorted(ids) == sorted(manifest.loc[manifest["split"] == "test", "image_id"])


@pytest.mark.parametrize("variant", ["true_0", "random_100"])
def test_maps_are_captums(tiny_run, variant):
    model = tiny_run.model(variant)
    ids, maps_NHW = tiny_run.maps("integrated_gradients", variant)
    cams_Nhw = tiny_run.maps("grad_cam", variant)[1]
    inputs_NCHW = tiny_run.inputs(ids)
    single_NHW, delta_N = captum_maps(model, inputs_NCHW, tiny_run.baseline())
    # Gradients of ReLU networks jump, so that captum's own float32 maps are off its float64 ones by 1e-3 to 2e-3 here:
    # ours must be as near to the exact ones.
    exact_NHW, _ = captum_maps(tiny_run.model(variant).double(), inputs_NCHW.double(), tiny_run.baseline().double())
    assert relative_error(maps_NHW, exact_NHW) < max(1e-3, 1.5 * relative_error(single_NHW, exact_NHW))
    cam = captum.attr.LayerGradCam(model, model.conv5[1]).attribute(inputs_NCHW, target=0)
    assert relative_error(cams_Nhw, cam[:, 0].detach().numpy()) < 1e-3
    table = tiny_run.maps_table([f"logit__{variant}", f"integrated_gradients_delta__{variant}"]).sort_by("image_id")
    with torch.no_grad():
        logits_N = model(inputs_NCHW)[:, 0].numpy()
    np.testing.assert_allclose(table[f"logit__{variant}"].to_numpy(), logits_N, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        table[f"integrated_gradients_delta__{variant}"].to_numpy(), delta_N, rtol=0.05, atol=1e-4
    )


def captum_maps(model, inputs_NCHW, baseline_1CHW):
    """captum's riemann_middle has the nodes and weights of the midpoint rule."""
    maps_NCHW, delta_N = captum.attr.IntegratedGradients(model).attribute(
        inputs_NCHW,
        baselines=baseline_1CHW,
        target=0,
        n_steps=TINY["attribution"]["integrated_gradients"]["steps"],
        method="riemann_middle",
        return_convergence_delta=True,
    )
    return maps_NCHW.sum(1).detach().numpy(), delta_N.detach().numpy()


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_scores_are_those_of_the_libraries_map_by_map(tiny_run):
    scores = tiny_run.scores().astype({"method": str, "view": str, "metric": str, "kind": str})
    ids, a_NHW = tiny_run.maps("integrated_gradients", "true_0")
    b_NHW = tiny_run.maps("integrated_gradients", "random_100")[1]
    chosen = scores[
        (scores["method"] == "integrated_gradients")
        & (scores["view"] == "signed")
        & (scores["scale"] == "pixel")
        & (scores["variant_a"] == "true_0")
    ].set_index("image_id")
    for i, image_id in enumerate(ids):
        mine = chosen.loc[image_id].set_index(["kind", "metric"])["score"]
        expected = scipy.stats.spearmanr(a_NHW[i].ravel(), b_NHW[i].ravel()).statistic
        assert mine["true_random", "spearman"] == pytest.approx(expected, abs=1e-6)
        x, y = (m[i].astype(float) / np.abs(m[i]).max() for m in (a_NHW, b_NHW))
        ssim = skimage.metrics.structural_similarity(
            x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=2.0
        )
        assert mine["true_random", "ssim"] == pytest.approx(ssim, abs=1e-6)
        pixels_HW = tiny_run.preprocess().pixels(tiny_run.images.read_bytes(image_id))
        edges_HW = skimage.filters.sobel(pixels_HW)
        expected = np.corrcoef(a_NHW[i].ravel(), edges_HW.ravel())[0, 1]
        assert mine["edge", "pearson"] == pytest.approx(expected, abs=1e-6)


def test_every_image_has_every_score_once(tiny_run):
    scores = tiny_run.scores()
    keys = [name for name in tables.SCORES.names if name not in ("score", "degenerate", "label", "patient_id")]
    assert not scores.duplicated(keys).any()
    counts = scores.groupby("image_id").size()
    assert counts.nunique() == 1
    assert len(counts) == 14
    assert (scores["degenerate"] == scores["score"].isna()).all()
    kinds = {"true_true", "true_random", "true_true_cross", "true_random_cross", "edge", "random_map"}
    assert set(scores["kind"].unique()) == kinds  # one random variant: no random_random


def test_cross_pairs_compare_with_another_patient(tiny_run):
    """Partners follow from the ids alone, so the score of a cross pair can be computed from the maps, both ways."""
    from pneumo_batch.core.similarity import features, pairs

    ids, a_NHW = tiny_run.maps("integrated_gradients", "true_0")
    b_NHW = tiny_run.maps("integrated_gradients", "true_1")[1]
    patients = tiny_run.manifest().set_index("image_id").loc[ids, "patient_id"].tolist()
    partners_NC = pairs.partners(ids, patients, 0, 16)
    scores = tiny_run.scores()
    scores = scores[
        (scores["method"] == "integrated_gradients")
        & (scores["view"] == "signed")
        & (scores["metric"] == "spearman")
        & (scores["kind"] == "true_true_cross")
        & (scores["variant_a"] == "true_0")
    ].set_index("image_id")
    for scale, count in (("pixel", 1), ("region", 16)):
        a, b = (part if scale == "pixel" else features.pool(part, 8) for part in (a_NHW, b_NHW))
        for i, others in enumerate(partners_NC):
            chosen = [j for j in others[:count] if j >= 0]
            assert all(patients[i] != patients[j] for j in chosen)
            ways = [(a[i], b[j]) for j in chosen] + [(b[i], a[j]) for j in chosen]
            expected = np.mean([scipy.stats.spearmanr(x.ravel(), y.ravel()).statistic for x, y in ways])
            assert scores[scores["scale"] == scale].loc[ids[i], "score"] == pytest.approx(expected, abs=1e-6)


def test_summary_is_the_mean_of_the_scores(tiny_run):
    summary = tiny_run.summary()
    assert list(summary.columns) == tables.SUMMARY.names
    scores = tiny_run.scores()
    keys = ["method", "view", "scale", "metric", "kind"]
    per_image = scores.groupby([*keys, "image_id"], observed=True)["score"].mean()
    expected = per_image.groupby(level=keys, observed=True).mean()
    found = summary[summary["class_name"] == "all"].set_index(keys)["mean"]
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.sort_index(), expected.sort_index().to_numpy(), atol=1e-6)


def test_verdict_names_every_method_and_variant(tiny_run):
    verdict = tiny_run.verdict
    assert set(verdict["methods"]) == {"integrated_gradients", "grad_cam"}
    for found in verdict["methods"].values():
        assert found["verdict"] in ("sensitive", "insensitive", "inconclusive", "invalid")
        assert found["reasons"]
    random = verdict["variants"]["random_100"]
    assert random["memorised"] < 0.95  # two epochs
    assert all(found["verdict"] == "invalid" for found in verdict["methods"].values())
    assert any("random_100 did not memorise" in line for line in verdict["methods"]["grad_cam"]["reasons"])
    test = verdict["variants"]["true_0"]["test"]
    logits = pq.read_table(tiny_run.store.path("models/true_0/predictions.parquet")).to_pandas()
    logits = logits[logits["split"] == "test"]
    scores, labels = logits["logits"].str[0], logits["label"]
    expected = scipy.stats.mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic
    assert test["auroc"] == pytest.approx(expected / ((labels == 1).sum() * (labels == 0).sum()))
    assert set(verdict["localisation"]["methods"]["grad_cam"]) == {"true_0", "true_1", "random_100"}
    for located in verdict["localisation"]["methods"]["integrated_gradients"].values():
        assert located.keys() == {"positive_share", "pointing_game", "auprc", "iou"}
        assert 0 < located["auprc"] < 1
        assert 0 <= located["iou"] < 1


def test_localisation_of_generated_films_is_that_of_their_masks(tiny_run):
    """As read from the PNG files beside the films, decoded and resized as these are."""
    ids, maps_Nhw = tiny_run.maps("grad_cam", "true_0")
    masks = [tiny_run.preprocess().pixels(tiny_run.images.read_bytes(phantom.mask_path(one))) > 127 for one in ids]
    pairs = [
        (metrics.resize(map_hw[None], 64)[0], mask_SS)
        for map_hw, mask_SS in zip(maps_Nhw, masks, strict=True)
        if mask_SS.any()
    ]
    found = tiny_run.verdict["localisation"]
    assert found["images"] == len(pairs) == tiny_run.localisation()["image_id"].nunique()
    assert found["chance"] == pytest.approx(np.mean([mask_SS.mean() for _, mask_SS in pairs]))
    located = found["methods"]["grad_cam"]["true_0"]
    for name, measure in (
        ("pointing_game", localisation.points_inside),
        ("auprc", localisation.average_precision),
        ("iou", localisation.otsu_overlap),
        ("positive_share", localisation.positive_share),
    ):
        assert located[name] == pytest.approx(np.nanmean([measure(*pair) for pair in pairs]))
    assert found["findings"].keys() == {"PNEUMONIA"}


def test_random_labels_are_a_permutation_of_the_training_split_only(tiny_run):
    record = tiny_run.model_record("random_100")
    assert 0 < record["label_agreement"] < 1
    assert tiny_run.model_record("true_0")["label_agreement"] == 1
    # validation and test labels stay true: the predictions table of a random variant holds the manifest's labels
    predicted = pd.read_parquet(tiny_run.store.path("models/random_100/predictions.parquet")).set_index("image_id")
    manifest = tiny_run.manifest().set_index("image_id")
    assert (predicted["label"] == manifest.loc[predicted.index, "label"]).all()


def test_reading_needs_no_ray(tiny_run):
    code = (
        "import sys; from pneumo_batch import Run; "
        f"run = Run({tiny_run.path!r}); ids, maps = run.maps('grad_cam', 'true_0'); "
        "assert maps.shape == (14, 4, 4), maps.shape; run.scores(); run.summary(); run.manifest(); run.verdict; "
        "assert run.inputs(ids[:2]).shape == (2, 1, 64, 64); assert run.baseline().shape == (1, 1, 64, 64); "
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_an_image_that_is_not_there_is_named(tiny_run):
    with pytest.raises(
        RunError, match=r"^test/none\.jpeg: no such image in .*/phantom; ids are those of the manifest$"
    ):
        tiny_run.inputs(["test/none.jpeg"])


def test_some_columns_of_the_manifest_are_those_of_all(tiny_run):
    some = tiny_run.manifest_table(["image_id", "patient_id"])
    assert some.equals(tiny_run.manifest_table().select(["image_id", "patient_id"]))
    assert set(tiny_run.manifest_table().column_names) - set(tiny_run.manifest_table(looks=False).column_names) == {
        *tables.LOOKS
    }
    ids = tiny_run.manifest_table()["image_id"].to_pylist()
    cells = tiny_run.manifest_table(["cells"], looks=False)  # named is named
    assert cells.column_names == ["cells"]
    assert cells["cells"].equals(tiny_run.manifest_table()["cells"])
    assert tiny_run.manifest_table(["image_id", "image_id"])[1].to_pylist() == ids
    assert tiny_run.manifest_table([]).column_names == []
    with pytest.raises(KeyError, match="no column 'patient' in manifest; there are: image_id, split"):
        tiny_run.manifest_table(["image_id", "patient"])


def test_rows_of_a_table_are_counted_and_one_that_there_is_not_is_named(tiny_run):
    assert tiny_run.count("scores") == len(tiny_run.scores())
    assert tiny_run.count("maps") == 14
    for name in ("map", "models"):
        with pytest.raises(RunError, match=f"no table '{name}'"):
            tiny_run.count(name)


def test_other_readers_see_flat_lists(tiny_run):
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    folder = tiny_run.store.path("maps")
    ids, maps_NHW = tiny_run.maps("integrated_gradients", "true_0")
    frame = pd.read_parquet(folder).set_index("image_id")
    np.testing.assert_array_equal(frame.loc[ids[3], "integrated_gradients__true_0"], maps_NHW[3].ravel())
    query = f"select integrated_gradients__true_0 as map from '{folder}/*.parquet' where image_id = ?"
    np.testing.assert_array_equal(duckdb.execute(query, [ids[3]]).fetchall()[0][0], maps_NHW[3].ravel())
    row = polars.read_parquet(f"{folder}/*.parquet").filter(polars.col("image_id") == ids[3])
    np.testing.assert_array_equal(np.array(row["integrated_gradients__true_0"][0]).ravel(), maps_NHW[3].ravel())


def test_a_complete_run_is_left_alone(tiny_run, ray_cluster):
    before = tiny_run.record
    outcome = pipeline.execute(tiny_job(), tiny_run.path)
    assert not outcome.worked
    assert outcome.complete
    assert tiny_run.record == before


def test_the_plan_of_a_run_that_is_done_is_nothing(tiny_run, capsys):
    planned = estimate.plan(tiny_job(), tiny_run.path)
    assert planned.done == planned.as_dict()["done"] == list(layout.STAGES)
    estimate.show(planned)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:] for line in lines[1:8]] == [["nothing:", "done"]] * 7
    assert not any(line.startswith(("training", "attribution")) for line in lines)
    with pytest.raises(RunError, match="holds the run of another job"):
        estimate.plan(tiny_job(train={"epochs": 3}), tiny_run.path)


def test_another_job_does_not_touch_the_run(tiny_run):
    with pytest.raises(RunError, match="holds the run of another job"):
        pipeline.execute(tiny_job(train={"epochs": 3}), tiny_run.path)
    assert tiny_run.record["status"] == "complete"


def test_a_run_that_is_held_is_busy(tiny_run):
    code = "import sys; from pneumo_batch.rundir.writer import RunWriter; "
    code += f"lock = RunWriter({tiny_run.path!r}).lock(); lock.__enter__(); "
    code += "print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunBusyError):
            pipeline.execute(tiny_job(), tiny_run.path)
        assert tiny_run.is_held()
        holder.communicate("")
    assert not tiny_run.is_held()


def test_an_interrupted_run_continues_where_it_stopped(tiny_run, ray_cluster, tmp_path):
    """Back to the middle of attribution, with one file finished and one torn: the rest is computed, equal to before."""
    path = tmp_path / "again"
    shutil.copytree(tiny_run.path, path)
    run = RunWriter(path)
    finished = run.store.files("maps", ".parquet")
    staged = path / "staging" / "maps"
    staged.mkdir(parents=True)
    kept = path / finished[0]
    (staged / "torn.parquet").write_bytes((path / finished[1]).read_bytes()[:500])
    kept_bytes = kept.read_bytes()
    (staged / kept.name).write_bytes(kept_bytes)
    for name in ("maps", "scores", "report"):
        shutil.rmtree(path / name)
    stages = {name: stage for name, stage in run.record["stages"].items() if name in ("index", "train")}
    run.update_record(status="running", stages=stages)
    outcome = pipeline.execute(tiny_job(), str(path))
    assert outcome.complete
    assert (path / "maps" / kept.name).read_bytes() == kept_bytes
    assert not (path / "staging").exists()
    for method in ("integrated_gradients", "grad_cam"):
        before, after = tiny_run.maps(method, "true_1"), run.maps(method, "true_1")
        assert before[0] == after[0]
        np.testing.assert_array_equal(before[1], after[1])
    keys = [name for name in tables.SCORES.names if name != "score"]
    old, new = (r.scores().sort_values(keys[:9], ignore_index=True) for r in (tiny_run, run))
    pd.testing.assert_frame_equal(old.astype(dict.fromkeys(keys, str)), new.astype(dict.fromkeys(keys, str)))
    assert run.verdict["methods"] == tiny_run.verdict["methods"]


def test_maps_files_hold_what_arrow_reads_back(tiny_run):
    name = tiny_run.store.files("maps", ".parquet")[0]
    column = pq.read_table(tiny_run.store.path(name))["grad_cam__true_0"]
    assert isinstance(column.type, pa.FixedShapeTensorType)
    assert table_columns.tensor_array(column).shape[1:] == (4, 4)
