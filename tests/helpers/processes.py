"""Runs as processes of their own, which tests hurt, and what is to be the same afterwards."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import tomli_w
from helpers.command import command
from helpers.paths import HELPERS

from pneumo_batch.rundir.writer import RunWriter

DEADLINE_SECONDS = 300


def write_job(path, values):
    path.write_text(tomli_w.dumps(values))
    return path


class Process:
    """`pneumo-batch run` as a process; the log is what it wrote to stderr."""

    def __init__(self, job, run_dir, *arguments, before=()):
        self.run = RunWriter(run_dir)
        self.path = Path(run_dir)
        # beside the job: the disk of the run may be full
        self.log_path = Path(job).with_name(f"{self.path.name}-{time.monotonic_ns()}.log")
        line = [*before, *command("run", job, "--run-dir", run_dir)]
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
