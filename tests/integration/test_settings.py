"""Settings of a method side by side in a whole run: every table and reader knows them by their names."""

import duckdb
import numpy as np
import pytest
from helpers.tiny import tiny_job
from prometheus_client.parser import text_string_to_metric_families

from pneumo_batch import pipeline
from pneumo_batch.core.statistics import results
from pneumo_batch.integrations import export, mlflow
from pneumo_batch.rundir import prometheus

IG = "integrated_gradients"
METHODS = [IG, f"{IG}@blur", f"{IG}@auto", f"{IG}_unscaled", "grad_cam@early", "helpers.own_methods:gradient@twice"]


@pytest.fixture(scope="module")
def run(ray_cluster, tmp_path_factory):
    settings = {
        f"{IG}@auto": {"steps": "auto", "tolerance": 0.5},
        "grad_cam@early": {"layer": "conv3.1"},
        "helpers.own_methods:gradient@twice": {"factor": 2},
    }
    job = tiny_job(
        data={"image_size": 32},
        phantom={"train": 24, "test": 8, "image_size": 32},
        train={"true_seeds": [0], "epochs": 1, "max_epochs": 1},
        attribution={"methods": METHODS, "settings": settings, "integrated_gradients": {"steps": 4}},
        compare={"metrics": ["spearman"]},
        cascade={"seeds": [0], "images": 2, "independent": False, "noisy": 2},
    )
    run = pipeline.execute(job, str(tmp_path_factory.mktemp("settings") / "run"), until="conclude").run
    prometheus.write(run)
    return run


def test_every_setting_has_maps_of_its_own(run):
    maps = {name: run.maps(name, "true_0")[1] for name in METHODS}
    assert {name: found.shape[1] for name, found in maps.items() if found.shape[1] != 32} == {"grad_cam@early": 8}
    assert all(np.isfinite(found).all() for found in maps.values())
    assert np.abs(maps[IG] - maps[f"{IG}@blur"]).max() > 0
    change_NHW = (run.inputs(run.maps(IG, "true_0")[0]) - run.baseline())[:, 0].numpy()
    moved = np.abs(change_NHW) > 1e-3
    assert moved.mean() > 0.5
    np.testing.assert_allclose((maps[f"{IG}_unscaled"] * change_NHW)[moved], maps[IG][moved], rtol=1e-4, atol=1e-9)
    with pytest.raises(ValueError, match="depends on the image"):
        run.baseline(method=f"{IG}@blur")


def test_columns_tell_deltas_and_steps_of_paths_alone(run):
    columns = duckdb.sql(f"select * from '{run.path}/maps/*.parquet' limit 1").columns
    paths = [IG, f"{IG}@auto", f"{IG}@blur"]
    assert sorted(name for name in columns if "_delta__true_0" in name) == sorted(
        f"{one}_delta__true_0" for one in paths
    )
    assert [name for name in columns if "_steps__true_0" in name] == [f"{IG}@auto_steps__true_0"]
    quoted = duckdb.sql(f"""select sum("{IG}@blur_delta__true_0") from '{run.path}/maps/*.parquet'""").fetchall()
    assert np.isfinite(quoted[0][0])


def test_scores_verdicts_and_the_cascade_go_by_the_whole_name(run):
    assert set(run.scores()["method"]) == set(run.summary()["method"]) == set(run.verdict["methods"]) == set(METHODS)
    ends = run.verdict["cascade"]
    assert set(ends) == set(METHODS)
    assert all(end["layers"] == 7 and end["emprt"]["value"] is not None for end in ends.values())
    assert ends[IG]["smprt"]["value"] < ends[IG]["smprt_ceiling"]["value"] < 1


def test_names_stay_apart_where_other_programs_allow_fewer_signs(run, tmp_path):
    keys = mlflow.metrics(results.read(run.verdict))
    assert {f"{IG}.images", f"{IG}_blur.images", f"{IG}_unscaled.images"} <= set(keys)
    count = export.export(run, export.Choice(limit=1, variants=("true_0",)), "npy", tmp_path)
    assert count == len(list(tmp_path.glob("*.npy"))) == len(METHODS)
    families = text_string_to_metric_families(run.store.read_bytes("metrics.prom").decode())
    named = {sample.labels["method"] for one in families for sample in one.samples if "method" in sample.labels}
    assert named == set(METHODS)
