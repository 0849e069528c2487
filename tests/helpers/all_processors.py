"""Runs one after the other on a Ray cluster of their own that has all processors of this machine: `python -m`.

The cluster that tests share is as on a machine of one processor.
"""

import contextlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from helpers import forked_workers

from pneumo_batch import pipeline
from pneumo_batch.execution import cluster
from pneumo_batch.job import jobfile, schema


def execute(jobs: Mapping[Path, Path], until: str) -> None:
    """Each job file's run, by the folder of its run, up to the stage `until`, in one other process."""
    paths = [str(path) for pair in jobs.items() for path in pair]
    words = [sys.executable, "-m", "helpers.all_processors", until, *paths]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def _main(until: str, *paths: str) -> None:
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patched:
            forked_workers.install(patched, stack)
            stack.enter_context(cluster.session(schema.Cluster()))
        for folder, job_file in zip(paths[::2], paths[1::2], strict=True):
            pipeline.execute(jobfile.load(Path(job_file), []), folder, until=until)


if __name__ == "__main__":
    _main(*sys.argv[1:])
