"""Several nodes: raylets of one real cluster on this machine, that join, work and are lost while a run goes on.

The command runs as a process of its own. Who computed what is told by a network and a method of the user's, which note
the node they are on.
"""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from helpers.command import command, wait_for
from ray.cluster_utils import Cluster

from pneumo_batch.core import tables
from pneumo_batch.rundir.reader import Run

SPY = """
import os, time
from pathlib import Path
import ray, torch
from pneumo_batch.core.models.networks import CNN5

def note(what):
    if ray.is_initialized() and "SPY" in os.environ:
        with (Path(os.environ["SPY"]) / what).open("a") as file:
            file.write(ray.get_runtime_context().get_node_id() + "\\n")

def network(image_size, channels, outputs):
    note("network")
    hold = Path(os.environ.get("SPY", "/nowhere")) / "hold"
    if hold.exists() and ray.is_initialized() and ray.get_runtime_context().get_task_id():  # not in the driver
        note("held")
        while hold.exists():
            time.sleep(0.1)
    return CNN5(image_size=image_size, channels=channels, outputs=outputs)

def gradient(model, inputs, targets):
    if (Path(os.environ.get("SPY", "/nowhere")) / "slow").exists():
        time.sleep(0.5)
    note("gradient")
    inputs = inputs.clone().requires_grad_(True)
    return torch.autograd.grad(model(inputs)[:, 0].sum(), inputs)[0].detach()
"""
JOB = """
name = "nodes"
[data]
root = "phantom"
image_size = 64
[phantom]
train = 40
test = 24
image_size = 64
[network]
name = "spy:network"
[train]
true_seeds = [0]
random_seeds = []
epochs = 2
batch_size = 8
workers = 2
[attribution]
methods = ["spy:gradient"]
rows_per_file = 2
[compare]
metrics = ["spearman"]
resamples = 100
[cluster]
trainings = 1
"""
KEYS = [name for name in tables.SCORES.names if name not in ("score", "degenerate")]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder of jobs and of the spy's notes, known to every process of the cluster."""
    (tmp_path / "spy.py").write_text(SPY)
    (tmp_path / "job.toml").write_text(JOB)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("SPY", str(tmp_path))
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "3")
    return tmp_path


@pytest.fixture
def cluster(workplace):
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, "object_store_memory": 120_000_000})
    yield nodes
    nodes.shutdown()


def join(cluster):
    return cluster.add_node(num_cpus=3, object_store_memory=120_000_000)


def start(cluster, place, name, *settings, until="report"):
    arguments = ["run", str(place / "job.toml"), "--run-dir", str(place / name), "--address", cluster.address]
    arguments += ["--until", until]
    arguments += [word for setting in settings for word in ("--set", setting)]
    return subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    return out


def noted(place, what):
    path = place / what
    return path.read_text().split() if path.exists() else []


def same(one: Run, other: Run):
    (ids, maps_NHW), (expected_ids, expected_NHW) = (run.maps("spy:gradient", "true_0") for run in (one, other))
    assert ids == expected_ids
    np.testing.assert_array_equal(maps_NHW, expected_NHW)
    frames = [run.scores().astype(dict.fromkeys(KEYS, str)) for run in (one, other)]
    pd.testing.assert_frame_equal(*(frame.sort_values(KEYS, ignore_index=True) for frame in frames))


@pytest.mark.slow
def test_training_and_attribution_spread_and_a_node_that_is_lost_costs_no_result(cluster, workplace):
    second = join(cluster)
    cluster.wait_for_nodes()
    finish(start(cluster, workplace, "whole"))
    whole = Run(workplace / "whole")
    assert whole.record["stages"]["attribute"]["counts"] == {"chosen": 24, "attributed": 24, "quarantined": 0}
    assert len(set(noted(workplace, "network"))) == 2  # two workers that do not fit on one node, and the actors
    assert set(noted(workplace, "gradient")) == {cluster.head_node.node_id, second.node_id}
    (workplace / "gradient").unlink()
    (workplace / "slow").touch()
    disturbed = start(cluster, workplace, "disturbed")
    wait_for(lambda: noted(workplace, "gradient").count(second.node_id) > 2, disturbed)
    cluster.remove_node(second, allow_graceful=False)
    finish(disturbed)
    same(Run(workplace / "disturbed"), whole)


@pytest.mark.slow
def test_a_node_that_joins_late_gets_work(cluster, workplace):
    (workplace / "slow").touch()
    settings = ("cluster.actors=[1, 4]", "train.workers=1", "attribution.rows_per_file=1")
    running = start(cluster, workplace, "late", *settings)
    wait_for(lambda: noted(workplace, "gradient"), running)
    late = join(cluster)
    finish(running)
    assert late.node_id in noted(workplace, "gradient")
    assert Run(workplace / "late").record["counts"]["attributed"] == 24


@pytest.mark.slow
def test_a_training_that_waits_begins_on_a_node_that_joins_late(cluster, workplace):
    """The head has CPUs for three of five trainings, which all hold until one has begun on the other node."""
    hold = workplace / "hold"
    hold.touch()
    settings = ("train.workers=1", "train.true_seeds=[0, 1, 2, 3, 4]", "cluster.trainings=[2, 5]")
    running = start(cluster, workplace, "waiting", *settings, until="train")
    wait_for(lambda: noted(workplace, "network"), running)  # of the driver, which has joined
    wait_for(lambda: noted(workplace, "held"), running)
    wait_for(lambda: len(noted(workplace, "held")) == 3, running)
    late = join(cluster)
    wait_for(lambda: late.node_id in noted(workplace, "held"), running)
    hold.unlink()
    finish(running)
    assert Run(workplace / "waiting").variants() == [f"true_{seed}" for seed in range(5)]


@pytest.mark.slow
def test_fewer_workers_than_nodes_are_no_larger_than_a_node(cluster, workplace):
    """Of four CPUs to compute with on two nodes: one training and one actor cannot have them all."""
    join(cluster)
    cluster.wait_for_nodes()
    settings = ("cluster.actors=1", "train.workers=1")
    finish(start(cluster, workplace, "few", *settings, "attribution.limit=2"))
    assert Run(workplace / "few").record["counts"]["attributed"] == 2


@pytest.mark.slow
def test_a_run_directory_that_a_node_does_not_see_is_refused(cluster, workplace):
    """The check itself, asked about a run that no node can see; nodes of one machine share its disks."""
    join(cluster)
    cluster.wait_for_nodes()
    code = "import ray; from pneumo_batch.rundir.reader import Run; from pneumo_batch.execution import cluster; "
    code += f"ray.init(address={cluster.address!r}, log_to_driver=False); cluster.check_shared(Run('/nowhere/run'))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "JobError: /nowhere/run: not visible from" in result.stderr
