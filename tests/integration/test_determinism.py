"""What may change when a job is run again in another way, and what may not."""

import shutil

import numpy as np
import pytest
from helpers.tiny import tiny_job

from pneumo_batch import pipeline
from pneumo_batch.rundir.writer import RunWriter


def attributed_again(tiny_run, path, job):
    """The maps of a finished run computed anew, from its models, in another way."""
    shutil.copytree(tiny_run.path, path)
    for name in ("maps", "scores", "report"):
        shutil.rmtree(path / name)
    run = RunWriter(path)
    stages = {name: stage for name, stage in run.record["stages"].items() if name in ("index", "train")}
    run.update_record(status="running", stages=stages)
    return pipeline.execute(job, str(path), until="attribute").run


def errors(run, expected):
    """Largest relative L2 difference of any map, by method."""
    found = {}
    for method in ("integrated_gradients", "grad_cam"):
        for variant in expected.variants():
            ids, maps_NHW = run.maps(method, variant)
            expected_ids, expected_NHW = expected.maps(method, variant)
            assert ids == expected_ids
            difference_N = np.linalg.norm((maps_NHW - expected_NHW).reshape(len(ids), -1), axis=1)
            length_N = np.linalg.norm(expected_NHW.reshape(len(ids), -1), axis=1)
            found[method] = max(found.get(method, 0.0), float((difference_N / length_N).max()))
    return found


def test_images_a_file_and_order_of_arrival_change_no_map_at_all(tiny_run, ray_cluster, tmp_path):
    job = tiny_job(attribution={"rows_per_file": 1})
    run = attributed_again(tiny_run, tmp_path / "run", job)
    assert len(run.store.files("maps", ".parquet")) != len(tiny_run.store.files("maps", ".parquet"))
    assert errors(run, tiny_run) == {"integrated_gradients": 0.0, "grad_cam": 0.0}


def test_one_actor_of_all_threads_changes_the_last_digits_at_most(tiny_run, ray_cluster, tmp_path):
    if ray_cluster.cpus == 1:
        pytest.skip("one CPU: one actor of one thread either way")
    run = attributed_again(tiny_run, tmp_path / "run", tiny_job(cluster={"actors": 1}))
    found = errors(run, tiny_run)
    assert found["integrated_gradients"] < 1e-3  # gradients of ReLU networks jump
    assert found["grad_cam"] < 1e-3
