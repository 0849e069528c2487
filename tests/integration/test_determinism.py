"""What may change when a job is run again in another way, and what may not."""

import shutil

import numpy as np
import pytest
import tomli_w
from helpers import all_processors
from helpers.tiny import TINY

from pneumo_batch.execution.cluster import usable_cpus
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.writer import RunWriter


@pytest.fixture(scope="module")
def again(tiny_run, tmp_path_factory):
    """The maps of a finished run computed anew from its models, an image a file: by one actor and by several."""
    runs = {actors: tmp_path_factory.mktemp("again") / "run" for actors in {1, usable_cpus()}}
    jobs = {}
    for actors, path in runs.items():
        shutil.copytree(tiny_run.path, path)
        for name in ("maps", "scores", "report"):
            shutil.rmtree(path / name)
        run = RunWriter(path)
        stages = {name: stage for name, stage in run.record["stages"].items() if name in ("index", "train")}
        run.update_record(status="running", stages=stages)
        attribution = {**TINY["attribution"], "rows_per_file": 1}
        values = {**TINY, "attribution": attribution, "cluster": {"actors": actors}}
        jobs[path] = path.with_suffix(".toml")
        jobs[path].write_text(tomli_w.dumps(values))
    all_processors.execute(jobs, until="attribute")
    return {actors: Run(path) for actors, path in runs.items()}


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


def test_actors_and_images_a_file_and_order_of_arrival_change_no_map_at_all(tiny_run, again):
    run = again[usable_cpus()]  # one thread each, as in the tiny run
    assert len(run.store.files("maps", ".parquet")) != len(tiny_run.store.files("maps", ".parquet"))
    assert errors(run, tiny_run) == {"integrated_gradients": 0.0, "grad_cam": 0.0}


def test_one_actor_of_all_threads_changes_the_last_digits_at_most(tiny_run, again):
    if usable_cpus() == 1:
        pytest.skip("one CPU: one actor of one thread either way")
    found = errors(again[1], tiny_run)
    assert found["integrated_gradients"] < 1e-3  # gradients of ReLU networks jump
    assert found["grad_cam"] < 1e-3
