"""Which device a run computes on. What needs a GPU is skipped where torch sees none."""

import os
import subprocess
import sys

import numpy as np
import pytest
import ray.data
import tomli_w
import torch
from helpers.tiny import TINY, tiny_job

from pneumo_batch import pipeline
from pneumo_batch.execution import resources
from pneumo_batch.execution.actor_pool import Pool
from pneumo_batch.rundir.reader import Run
from pneumo_batch.stages.workers.attributor import Attributor

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")

METHODS = ["integrated_gradients", "grad_cam", "helpers.probes:on_gpu"]
WITNESS = {"network": {"name": "helpers.probes:OnGpu"}, "attribution": {"methods": METHODS}}


def devices(run):
    """Whether each variant was trained, and its maps were made, on a GPU."""
    found = set()
    for variant in run.variants():
        trained = bool(run.model(variant).on_gpu)
        found.add((trained, bool(run.maps("helpers.probes:on_gpu", variant)[1].any())))
    return found


def test_ray_data_takes_a_pool_of_actors_on_gpus(tiny_run):
    share = resources.AttributionShare(actors=2, most=2, cpus=1, gpus=0.5, memory=10**9)
    pool = Pool(tiny_run, tiny_job(), tiny_run.variants(), share)
    blocks = ray.data.from_arrow(tiny_run.manifest_table())
    assert isinstance(pool.map(blocks, Attributor, None, rows=4), ray.data.Dataset)  # nothing runs yet


@needs_gpu
def test_a_gpu_that_is_there_trains_and_attributes_and_a_share_of_it_gives_the_same_maps(ray_cluster, tmp_path):
    whole = pipeline.execute(tiny_job(**WITNESS), str(tmp_path / "whole")).run
    assert devices(whole) == {(True, True)}
    quarter = pipeline.execute(tiny_job(**WITNESS, cluster={"gpus_per_actor": 0.25}), str(tmp_path / "quarter")).run
    assert devices(quarter) == {(True, True)}
    for method in METHODS:
        for variant in whole.variants():
            ids, maps_NHW = quarter.maps(method, variant)
            expected_ids, expected_NHW = whole.maps(method, variant)
            assert ids == expected_ids
            np.testing.assert_array_equal(maps_NHW, expected_NHW)


@needs_gpu
def test_a_machine_whose_gpus_are_hidden_computes_on_its_cpus(tmp_path):
    job, run_dir = tmp_path / "tiny.toml", tmp_path / "run"
    attribution = {**TINY["attribution"], **WITNESS["attribution"]}
    job.write_text(tomli_w.dumps({**TINY, "network": WITNESS["network"], "attribution": attribution}))
    command = [sys.executable, "-m", "pneumo_batch.cli", "run", str(job), "--run-dir", str(run_dir)]
    done = subprocess.run(
        command, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert devices(Run(run_dir)) == {(False, False)}
