"""Real runs in processes of their own, which the tests hurt, to be compared with runs that nobody disturbed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
import tomli_w
import torch
from helpers.paths import HELPERS
from PIL import Image

from pneumo_batch import Run
from pneumo_batch.core.data import phantom
from pneumo_batch.core.models import networks

pytestmark = pytest.mark.faults
VARIANTS = {"mine_a": "true", "mine_b": "true", "noise": "random"}
DEADLINE_SECONDS = 300


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """Generated films, one of them white: the one that the methods of helpers/killers.py dislike."""
    root = tmp_path_factory.mktemp("films") / "films"
    phantom.write(root, train=16, test=16, seed=5, image_size=96)
    Image.new("L", (96, 96), 255).save(root / "test" / "NORMAL" / "NORMAL2-IM-9999-0001.jpeg")
    return root


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Models that were trained elsewhere, or nowhere."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for seed, name in enumerate(VARIANTS):
        torch.manual_seed(seed)
        torch.save(networks.build("cnn5", image_size=64, channels=1, outputs=1).state_dict(), folder / f"{name}.pth")
    return folder


@pytest.fixture(scope="session")
def brought(films, checkpoints, tmp_path_factory):
    """A job file that trains nothing and has every other stage."""
    values = {
        "name": "faults",
        "data": {"root": str(films), "image_size": 64, "normalise": [0.4, 0.3], "max_bad": 0.1},
        "train": {"true_seeds": [], "random_seeds": []},
        "attribution": {"rows_per_file": 2, "integrated_gradients": {"steps": 8}},
        "compare": {"resamples": 100},
        "cascade": {"seeds": [0], "images": 2, "independent": False},
        "variant": [
            {"name": name, "kind": kind, "checkpoint": str(checkpoints / f"{name}.pth")}
            for name, kind in VARIANTS.items()
        ],
    }
    return write_job(tmp_path_factory.mktemp("jobs") / "brought.toml", values)


@pytest.fixture(scope="session")
def trained(films, tmp_path_factory):
    """A job file that trains, and saves the state of its trainings after every epoch."""
    values = {
        "name": "faults",
        "data": {"root": str(films), "image_size": 64, "max_bad": 0.1},
        "train": {
            "true_seeds": [0, 1],
            "random_seeds": [100],
            "epochs": 6,
            "max_epochs": 6,
            "batch_size": 8,
            "checkpoint_seconds": 0.0,
        },
        "attribution": {"methods": ["grad_cam"]},
        "compare": {"resamples": 100},
    }
    return write_job(tmp_path_factory.mktemp("jobs") / "trained.toml", values)


@pytest.fixture(scope="session")
def trained_together(trained, tmp_path_factory):
    """The same with one variant that two workers train."""
    values = tomllib.loads(trained.read_text())
    values["train"] |= {"true_seeds": [0], "random_seeds": [], "workers": 2}
    return write_job(tmp_path_factory.mktemp("jobs") / "together.toml", values)


def write_job(path, values):
    path.write_text(tomli_w.dumps(values))
    return path


@pytest.fixture(scope="session")
def untouched(brought, tmp_path_factory):
    """The run of `brought` that nobody disturbed."""
    return completed(brought, tmp_path_factory.mktemp("runs") / "untouched")


@pytest.fixture(scope="session")
def untouched_trained(trained, tmp_path_factory):
    """The run of `trained` that nobody disturbed."""
    return completed(trained, tmp_path_factory.mktemp("runs") / "untouched")


class Process:
    """`pneumo-batch run` as a process; the log is what it wrote to stderr."""

    def __init__(self, job, run_dir, *arguments, command=()):
        self.run = Run(run_dir)
        self.path = Path(run_dir)
        # beside the job: the disk of the run may be full
        self.log_path = Path(job).with_name(f"{self.path.name}-{time.monotonic_ns()}.log")
        line = [*command, sys.executable, "-m", "pneumo_batch.cli", "run", str(job), "--run-dir", str(run_dir)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HELPERS.parent), os.environ.get("PYTHONPATH", "")]),
        }
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [*line, *arguments],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=environment,
                start_new_session=True,
                # a shell's background job, as these tests may be one, ignores Ctrl-C, and so would what it starts
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def log(self):
        return self.log_path.read_text()

    def until(self, happened):
        """Wait until `happened()`; fails when the process ends first."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not happened():
            assert self.process.poll() is None, f"ended before it happened:\n{self.log}"
            assert time.monotonic() < deadline, self.log
            time.sleep(0.003)

    def wait(self):
        """The exit code."""
        return self.process.wait(DEADLINE_SECONDS)

    def workers(self, text):
        """Processes below this one whose title contains `text`, as Ray names its workers."""
        return [child for child, title in self._titles().items() if title.startswith("ray::") and text in title]

    def survive_losing(self, text):
        """SIGKILL to a worker whose title contains `text`; the run has to end well all the same."""
        workers = self.workers(text)
        assert workers
        workers[0].kill()
        assert self.wait() == 0, self.log

    def kill(self):
        """SIGKILL to this process alone, and wait until all it had started is gone too."""
        children = self.children()
        self.process.kill()
        self.process.wait()
        assert_ended(children)

    def children(self):
        """Processes below this one that can touch the run; Ray's agents cannot, and notice its end a minute late."""
        return [child for child, title in self._titles().items() if not title.endswith("Agent")]

    def _titles(self):
        titles = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                titles[child] = " ".join(child.cmdline()).strip()
        return titles


def assert_ended(processes):
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive, f"left behind: {alive}"


def completed(job, run_dir, *arguments):
    """Run a job to its end."""
    process = Process(job, run_dir, *arguments)
    assert process.wait() == 0, process.log
    return process.run


def stage_is(run, name, status):
    """A condition for `until`: how far a stage is, as the record says."""

    def condition():
        if not run.store.exists("run.json"):
            return False
        return run.record["stages"].get(name, {}).get("status") == status

    return condition


def has_file(run, folder, suffix):
    """A condition for `until`: a visible file is in a folder of the run."""
    return lambda: bool(run.store.files(folder, suffix))


def assert_same_results(run, expected):
    """Same images, none missing and none twice, every file opens, maps bit by bit, scores, summary, verdict."""
    assert run.record["status"] == "complete"
    assert run.record["counts"] == expected.record["counts"]
    assert {stage["status"] for stage in run.record["stages"].values()} == {"complete"}
    for path in Path(run.path).rglob("*.parquet"):
        pq.read_table(path)
    assert not (Path(run.path) / "staging").exists()
    pd.testing.assert_frame_equal(run.manifest(), expected.manifest())
    pd.testing.assert_frame_equal(run.quarantine(), expected.quarantine())
    assert run.variants() == expected.variants()
    for method in expected.job.attribution.methods:
        for variant in expected.variants():
            ids, maps_NHW = run.maps(method, variant)
            expected_ids, expected_NHW = expected.maps(method, variant)
            assert ids == expected_ids
            np.testing.assert_array_equal(maps_NHW, expected_NHW)
    for table in ("scores", "cascades"):
        if expected.store.exists(table):
            pd.testing.assert_frame_equal(_sorted(getattr(run, table)()), _sorted(getattr(expected, table)()))
    pd.testing.assert_frame_equal(run.summary(), expected.summary())
    assert run.verdict == expected.verdict


def _sorted(frame):
    keys = [name for name in frame.columns if name not in ("score", "degenerate")]
    frame = frame.astype({name: str for name in keys if frame[name].dtype == "category"})
    return frame.sort_values(keys, ignore_index=True)
