"""One flipped bit in a kept or an interrupted run: what it is in is computed again, and all equals a run without it.

That a flip is named wherever it is: tests/integration/test_damage.py, at 200 places.
"""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.processes import Process, assert_same_results, completed, has_file, stage_is

from pneumo_batch.rundir import verification
from pneumo_batch.rundir.reader import Run

pytestmark = pytest.mark.faults


def flip(path, seed=0):
    data = bytearray(path.read_bytes())
    place = random.Random(seed).randrange(8 * len(data))
    data[place // 8] ^= 1 << place % 8
    path.write_bytes(data)


def verify(path, *arguments):
    command = [sys.executable, "-m", "pneumo_batch.cli", "verify", str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "kind",
    [
        "manifest/*.parquet",
        "quarantine.parquet",
        "models/mine_b/model.safetensors",
        "models/noise/model.json",
        "models/noise/predictions.parquet",
        "maps/*.parquet",
        "scores/*.parquet",
        "cascades/*.parquet",
        "cascade_summary.parquet",
        "summary.parquet",
        "verdict.json",
        "scales.parquet",
        "report/index.html",
        "SHA256SUMS",
        "job.toml",
    ],
)
def test_a_kept_run_is_made_whole(kind, brought, untouched, tmp_path):
    path = Path(shutil.copytree(untouched.path, tmp_path / "run"))
    damaged = sorted(path.glob(kind))[0]
    flip(damaged)
    found = verify(path, "--reopen")
    assert (found.returncode, found.stdout) == (3, f"{damaged.relative_to(path).as_posix()}: damaged\n")
    run = completed(brought, path)
    assert_same_results(run, untouched)
    assert verification.verify(run).findings == []


def test_trained_weights_are_trained_again(trained, untouched_trained, tmp_path):
    path = Path(shutil.copytree(untouched_trained.path, tmp_path / "run"))
    kept = path / "models" / "true_0" / "model.safetensors"
    before = (kept.read_bytes(), kept.stat().st_mtime_ns)
    flip(path / "models" / "random_100" / "model.safetensors")
    assert verify(path, "--reopen").returncode == 3
    assert_same_results(completed(trained, path), untouched_trained)
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    ("moment", "kind"),
    [
        ("staging/maps", "staging/maps/*.parquet"),
        ("staging/maps", "models/mine_a/model.safetensors"),
        ("staging/scores", "maps/*.parquet"),
    ],
)
def test_an_interrupted_run_builds_on_nothing_damaged(moment, kind, brought, untouched, tmp_path):
    process = Process(brought, tmp_path / "run")
    staged, compared = has_file(process.run, moment, ".parquet"), stage_is(process.run, "compare", "complete")
    process.until(lambda: staged() or compared())  # of so few films scores are staged for milliseconds
    process.kill()
    damaged = sorted(process.path.glob(kind))[0]
    flip(damaged)
    again = Process(brought, tmp_path / "run")
    assert again.wait() == 0, again.log
    assert f"{damaged.relative_to(process.path).as_posix()}: damaged; it is computed again" in again.log
    assert_same_results(Run(process.path), untouched)


def test_a_damaged_state_of_a_training_is_none(trained, untouched_trained, tmp_path):
    process = Process(trained, tmp_path / "run")
    process.until(has_file(process.run, "staging/train", ".pt"))
    process.kill()
    for path in process.path.glob("staging/train/*.pt"):
        flip(path)
    assert_same_results(completed(trained, tmp_path / "run"), untouched_trained)
