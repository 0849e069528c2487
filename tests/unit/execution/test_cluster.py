"""What a machine offers to a run."""

import os
import subprocess
import sys

import pytest
import ray.exceptions
import torch

from pneumo_batch.execution import cluster


@pytest.mark.parametrize(
    ("content", "expected"),
    [("max 100000\n", 64), ("400000 100000\n", 4), ("50000 100000\n", 1), ("9900000 100000\n", 64), (None, 64)],
    ids=["no limit", "four", "half a CPU", "more than there are", "no cgroup v2"],
)
def test_a_containers_limit_counts_and_not_the_machine(tmp_path, monkeypatch, content, expected):
    limit = tmp_path / "cpu.max"
    if content is not None:
        limit.write_text(content)
    monkeypatch.setattr(cluster, "_CPU_LIMIT", limit)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert cluster.usable_cpus() == expected


def test_a_start_that_hangs_ends_the_process_with_one_line():
    code = "from pneumo_batch.execution import cluster\nimport time\nwith cluster._deadline(0.2): time.sleep(60)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 1
    assert ended.stderr == (
        "pneumo-batch: Ray did not start here in time: the machine may be busy; run the command again\n"
    )


def test_a_start_in_time_is_left_alone():
    code = "from pneumo_batch.execution import cluster\nimport time\nwith cluster._deadline(1): pass\ntime.sleep(1.5)"
    assert subprocess.run([sys.executable, "-c", code], timeout=50, check=False).returncode == 0


@pytest.mark.parametrize(
    ("error", "told", "line"),
    [
        (
            ray.exceptions.RayTaskError("f", "trace", torch.OutOfMemoryError("CUDA out of memory. Tried 2 MiB.\nSee")),
            OSError,
            r"too little GPU memory: let fewer share a GPU \(raise cluster\.gpus_per_training and .*Tried 2 MiB\.$",
        ),
        (ray.exceptions.OutOfMemoryError("killed"), OSError, "too little memory: lower data.image_size, .*: .*killed"),
        (ray.exceptions.RayTaskError("f", "trace", ValueError("a value")), ray.exceptions.RayTaskError, "trace"),
    ],
)
def test_memory_that_does_not_do_is_told_in_a_line_that_says_what_to_lower(error, told, line):
    with pytest.raises(told, match=line), cluster.told_memory():
        raise error


@pytest.mark.parametrize("busy_times", [0, 1, 2])
def test_a_machine_too_busy_to_start_ray_is_tried_once_more(monkeypatch, busy_times):
    calls = []

    def init(**options):
        calls.append(options["address"])
        if len(calls) <= busy_times:
            raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr("ray.init", init)  # a real one cannot be made late without a load of minutes
    if busy_times < 2:
        cluster._connect("local")
    else:
        with pytest.raises(TimeoutError, match="Ray did not start here in time"):
            cluster._connect("local")
    assert calls == ["local"] * min(2, busy_times + 1)
