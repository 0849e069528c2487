import shutil

import captum.attr
import numpy as np
import pyarrow.compute as pc
import pytest
import scipy.stats
import skimage.metrics
import torch

from pneumo_batch.core import tables
from pneumo_batch.core.attribution import explainer
from pneumo_batch.core.randomization import cascade, smoothing
from pneumo_batch.core.similarity import metrics
from pneumo_batch.rundir import exchange
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import cascade as stage

STEPS = 8  # on the path: enough to compare two implementations of the same rule


@pytest.fixture(scope="module")
def cascaded(ray_cluster, tiny_run, tmp_path_factory) -> tuple[RunWriter, object]:
    """A copy of the tiny run with parameter randomization of two images, cut into two blocks, and its job."""
    run = copy_of(tiny_run, tmp_path_factory.mktemp("cascade") / "run")
    job = tiny_run.job.model_copy(deep=True)
    methods = job.attribution.model_copy(
        update={
            "integrated_gradients": job.attribution.integrated_gradients.model_copy(update={"steps": STEPS}),
            "store_derived": True,
        }
    )
    cascading = {"seeds": [3, 4], "images": 2, "variant": "true_1", "noisy": 3, "noise": 0.2}
    settings = job.cascade.model_copy(update=cascading)
    job = job.model_copy(update={"attribution": methods, "cascade": settings})
    counts = stage.execute(job, run, ray_cluster)
    assert counts == {"images": 2, "networks": 2 * 15, "scores": 2 * 2 * 15 * 32}
    return run, job


def copy_of(run: RunWriter, path) -> RunWriter:
    shutil.copytree(run.path, path)
    return RunWriter(path)


def network(run: RunWriter, record: dict) -> torch.nn.Module:
    """The derived network of a row, by hand: cnn5's modules from the output down."""
    model = run.model("true_1")
    blocks = [[model.fc[3]], [model.fc[0]]]
    blocks += [[block[0], block[-2]] for block in (model.conv5, model.conv4, model.conv3, model.conv2, model.conv1)]
    torch.manual_seed(cascade.draw_seed(record["seed"]))
    fresh = run.untrained("true_1")
    new = [[fresh.fc[3]], [fresh.fc[0]]]
    new += [[block[0], block[-2]] for block in (fresh.conv5, fresh.conv4, fresh.conv3, fresh.conv2, fresh.conv1)]
    depth = record["depth"]
    chosen = range(depth) if record["mode"] == "cascade" else [depth - 1]
    for k in chosen:
        for old_module, new_module in zip(blocks[k], new[k], strict=True):
            old_module.load_state_dict(new_module.state_dict())
    return model.eval()


def captum_maps(run: RunWriter, model: torch.nn.Module, image_id: str) -> dict[str, np.ndarray]:
    """Integrated Gradients (H, W), and signed Grad-CAM at the layer's resolution (h, w)."""
    dtype = next(model.parameters()).dtype
    inputs_1CHW, baseline_1CHW = run.inputs([image_id]).to(dtype), run.baseline().to(dtype)
    path = captum.attr.IntegratedGradients(model).attribute(
        inputs_1CHW, baseline_1CHW, target=0, n_steps=STEPS, method="riemann_middle"
    )
    cam = captum.attr.LayerGradCam(model, model.conv5[1]).attribute(inputs_1CHW, target=0, relu_attributions=False)
    return {
        "integrated_gradients": path.detach().sum(1)[0].numpy(),
        "grad_cam": cam.detach()[0, 0].numpy(),
    }


def ours(run: RunWriter, job, wanted: tuple[str, int, int], image_id: str) -> dict[str, np.ndarray]:
    """The same maps by this package, in float64."""
    one = next(one for one in stage.networks(job, run) if (one.mode, one.depth, one.seed) == wanted)
    initial = cascade.initial_state(lambda: run.untrained("true_1"), one.seed)
    model = cascade.derive(run.model("true_1"), one, initial).double()
    explain = explainer.Explainer(model, job.attribution.options_by_method(), run.preprocess())
    found = explain(run.inputs([image_id]).double(), torch.zeros(1, dtype=torch.int64))
    return {method: maps_1hw[0].numpy() for method, maps_1hw in found.maps.items()}


SOME = [("cascade", 0, 3), ("cascade", 2, 3), ("cascade", 7, 4), ("independent", 4, 3), ("independent", 7, 4)]


@pytest.mark.parametrize(("mode", "depth", "seed"), SOME)
def test_maps_and_entropy_are_those_of_captum_on_a_network_put_together_by_hand(cascaded, mode, depth, seed):
    run, job = cascaded
    frame = run.cascades()
    image_id = frame["image_id"].iloc[0]
    model = network(run, {"mode": mode, "depth": depth, "seed": seed}).double()
    for method, expected_hw in captum_maps(run, model, image_id).items():
        np.testing.assert_allclose(ours(run, job, (mode, depth, seed), image_id)[method], expected_hw, atol=1e-12)
        ids, maps_Nhw = run.derived_maps(method, f"{mode}_{depth}_{seed}")
        error_hw = maps_Nhw[ids.index(image_id)] - expected_hw
        # The stored ones are float32: where a black border puts ReLUs and pools on their edge, a path may turn off.
        assert np.linalg.norm(error_hw) < 0.05 * np.linalg.norm(expected_hw), method
    with torch.no_grad():
        p = torch.sigmoid(model(run.inputs([image_id]).double()))[0, 0].item()
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    found = frame.query("image_id == @image_id and mode == @mode and depth == @depth and seed == @seed")
    np.testing.assert_allclose(found["entropy"], entropy, atol=1e-4)


def reference(a_HW: np.ndarray, b_HW: np.ndarray, view: str, metric: str) -> float:
    """A similarity at pixel scale as scipy, numpy and scikit-image define it."""
    a_HW, b_HW = a_HW.astype(np.float64), b_HW.astype(np.float64)
    if metric == "spearman":
        return scipy.stats.spearmanr(a_HW.ravel(), b_HW.ravel()).statistic
    if metric == "pearson":
        return np.corrcoef(a_HW.ravel(), b_HW.ravel())[0, 1]
    return skimage.metrics.structural_similarity(
        a_HW / np.abs(a_HW).max(),
        b_HW / np.abs(b_HW).max(),
        data_range=2.0 if view == "signed" else 1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


@pytest.mark.parametrize(("mode", "depth", "seed"), SOME)
def test_scores_are_those_of_a_loop_over_pairs(cascaded, mode, depth, seed):
    run, _ = cascaded
    frame = run.cascades().query("mode == @mode and depth == @depth and seed == @seed")
    assert len(frame) == 2 * 32
    compared = 0
    for row in frame.query("scale == 'pixel' and metric in ('spearman', 'pearson', 'ssim')").itertuples():
        maps_2hw = []
        for name in ("cascade_0_3", f"{mode}_{depth}_{seed}"):
            ids, maps_Nhw = run.derived_maps(row.method, name)
            maps_2hw.append(maps_Nhw[ids.index(row.image_id)])
        a_HW, b_HW = metrics.prepare(np.stack(maps_2hw), row.method, row.view, 64)
        if np.ptp(a_HW) == 0 or np.ptp(b_HW) == 0:
            assert row.degenerate
            continue
        assert row.score == pytest.approx(reference(a_HW, b_HW, row.view, row.metric), abs=1e-6)
        compared += 1
    assert compared >= 2 * 3 * 3  # only the magnitude of Grad-CAM may be constant


@pytest.mark.parametrize(("mode", "depth", "seed"), [SOME[0], SOME[2]])
def test_smooth_scores_are_of_maps_averaged_over_noisy_inputs(cascaded, mode, depth, seed):
    run, job = cascaded
    frame = run.cascades()
    image_id = frame["image_id"].iloc[0]
    film_1CHW = run.inputs([image_id])
    one = next(one for one in stage.networks(job, run) if (one.mode, one.depth, one.seed) == (mode, depth, seed))
    maps = []
    for draw, model in (
        (smoothing.REFERENCE, run.model("true_1")),
        (one, network(run, {"mode": mode, "depth": depth, "seed": seed})),
    ):
        explain = explainer.Explainer(model, job.attribution.options_by_method(), run.preprocess())
        noisy_NCHW = smoothing.Smoothing(3, 0.2).noisy(film_1CHW, smoothing.draw_of(image_id, draw))
        found = explain(noisy_NCHW, torch.zeros(3, dtype=torch.int64)).maps["integrated_gradients"]
        maps.append(found.double().mean(0).numpy())
    row = frame.query(
        "image_id == @image_id and mode == @mode and depth == @depth and seed == @seed and method =="
        " 'integrated_gradients' and view == 'magnitude' and scale == 'pixel' and metric == 'spearman'"
    )
    # Paths of float32 may turn off, as above: what stays is far from a map without noise, or of other noise.
    assert row["smooth_score"].item() == pytest.approx(
        scipy.stats.spearmanr(*(np.abs(a).ravel() for a in maps)).statistic, abs=1e-3
    )
    assert row["smooth_score"].item() < 0.999


def test_map_entropies_are_those_of_the_histogram_of_each_map(cascaded):
    run, _ = cascaded
    frame = run.cascades().query("view == 'signed' and metric == 'pearson' and method == 'integrated_gradients'")
    for mode, depth, seed in SOME:
        ids, maps_NHW = run.derived_maps("integrated_gradients", f"{mode}_{depth}_{seed}")
        here = frame.query("mode == @mode and depth == @depth and seed == @seed")
        for image_id, map_HW in zip(ids, maps_NHW.astype(np.float64), strict=True):
            wanted = scipy.stats.entropy(np.histogram(map_HW, 100)[0], base=2)
            found = here.loc[here["image_id"] == image_id, "map_entropy"]
            assert len(found) == 2  # both scales
            np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_every_image_has_every_network_once_and_curves_start_at_one(cascaded):
    run, _ = cascaded
    frame = run.cascades()
    keys = ["image_id", "method", "view", "scale", "metric", "mode", "depth", "seed"]
    assert not frame.duplicated(keys).any()
    assert (frame["degenerate"] == frame["score"].isna()).all()
    assert set(frame.query("mode == 'cascade'")["depth"]) == set(range(8))
    assert set(frame.query("mode == 'independent'")["depth"]) == set(range(1, 8))
    layers = ["", "fc.3", "fc.0", "conv5.0", "conv4.0", "conv3.0", "conv2.0", "conv1.0"]
    assert all(layers[row.depth] == row.layer for row in frame[["depth", "layer"]].drop_duplicates().itertuples())
    summary = run.cascade_summary()
    start = summary.query("depth == 0 and images > 0")
    assert len(start) >= 30  # the gradient histogram of a map may be empty
    np.testing.assert_allclose(start["mean"], 1, atol=1e-6)
    # One layer alone is the top of the cascade where it is the top layer, from the same seed.
    both = summary.query("depth == 1").set_index(["method", "view", "scale", "metric"])
    alone, top = both[both["mode"] == "independent"], both[both["mode"] == "cascade"]
    np.testing.assert_allclose(alone["mean"], top["mean"].loc[alone.index], atol=1e-6)
    np.testing.assert_allclose(alone["entropy"], top["entropy"].loc[alone.index], atol=1e-6)


def test_the_original_is_the_map_that_was_attributed(cascaded, tiny_run):
    run, _ = cascaded
    ids, maps_Nhw = run.derived_maps("grad_cam", "cascade_0_3")
    assert len(ids) == 2
    all_ids, stored_Nhw = tiny_run.maps("grad_cam", "true_1")
    for image_id, map_hw in zip(ids, maps_Nhw, strict=True):
        np.testing.assert_allclose(map_hw, stored_Nhw[all_ids.index(image_id)], atol=1e-5)
    with pytest.raises(KeyError, match="no 'cascade_9_3' of grad_cam in derived"):
        run.derived_maps("grad_cam", "cascade_9_3")


def test_an_interrupted_stage_keeps_what_it_finished(cascaded, ray_cluster, tmp_path):
    done, job = cascaded
    run = copy_of(done, tmp_path / "run")
    whole = run.store.read_table("cascades", schema=tables.CASCADES)
    run.store.remove("cascades")
    run.store.remove("cascade_summary.parquet")
    exchange.move(run.store, "derived", "staging/derived")
    first = whole["image_id"][0].as_py()
    kept = whole.filter(pc.equal(whole["image_id"], first))
    run.store.write_table("staging/cascades/kept.parquet", kept)
    run.store.write_bytes("staging/cascades/torn.parquet", b"PAR1 torn")
    stage.execute(job, run, ray_cluster)
    assert run.store.exists("cascades/kept.parquet")
    order = [(name, "ascending") for name in whole.column_names if name not in ("score", "entropy", "degenerate")]
    again = run.store.read_table("cascades", schema=tables.CASCADES)
    columns = ["score", "entropy"]
    left, right = (part.to_pandas().sort_values([name for name, _ in order]) for part in (whole, again))
    np.testing.assert_allclose(left[columns].to_numpy(float), right[columns].to_numpy(float), atol=1e-5)
    assert len(run.derived_maps("grad_cam", "cascade_1_3")[0]) == 2


def test_rows_lost_or_doubled_stop_the_stage(cascaded, ray_cluster, tmp_path):
    done, job = cascaded
    run = copy_of(done, tmp_path / "run")
    whole = run.store.read_table("cascades", schema=tables.CASCADES)
    run.store.remove("cascades")
    run.store.write_table("staging/cascades/short.parquet", whole.slice(1))
    with pytest.raises(RuntimeError, match="1 images missing"):
        stage.execute(job, run, ray_cluster)


def test_nothing_happens_where_the_job_names_no_seeds(tiny_run):
    assert tiny_run.job.cascade.seeds == []
    assert tiny_run.record["stages"]["cascade"]["counts"] == {}
    assert not tiny_run.store.exists("cascades")


def test_layers_of_the_derived_networks_are_cnn5s(cascaded):
    run, job = cascaded
    derived = stage.networks(job, run)
    assert derived[7].mode == cascade.CASCADE
    keys = [key for layer in derived[7].layers for key in layer.keys]
    assert sorted(keys) == sorted(run.model("true_1").state_dict())
