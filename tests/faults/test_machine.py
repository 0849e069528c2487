"""Disks that are full, read-only or hold damaged files; memory that does not do; clocks that go back."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest
from helpers.processes import Process, assert_same_results, completed, has_file, stage_is

from pneumo_batch.rundir import provenance

pytestmark = pytest.mark.faults
MEGABYTE = 2**20


@pytest.fixture
def disk(tmp_path):
    """A file system of its own: `disk(megabytes)` mounts it."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(megabytes):
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a file system is not permitted here")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def only_line(process):
    """The one line of ours in a log that may hold progress too."""
    lines = [line for line in process.log.splitlines() if line.startswith("pneumo-batch: ")]
    assert len(lines) == 1, process.log
    assert "Traceback" not in process.log
    return lines[0]


def test_a_disk_that_fills_up(disk, brought, untouched):
    folder = disk(400)
    process = Process(brought, folder / "run")
    process.until(has_file(process.run, "staging/maps", ".parquet"))
    filler = folder / "filler"
    with filler.open("wb") as file, contextlib.suppress(OSError):  # until nothing more goes in
        while True:
            file.write(bytes(MEGABYTE))
            file.flush()
    assert process.wait() == 1
    assert "No space left on device" in only_line(process)
    filler.unlink()
    assert_same_results(completed(brought, folder / "run"), untouched)


def test_a_disk_that_is_too_small_is_known_before_anything_starts(disk, brought):
    process = Process(brought, disk(100) / "run")
    assert process.wait() == 2
    assert "GB free, the run needs about 0.2 GB" in only_line(process)
    assert not process.run.store.exists("manifest")


def test_a_read_only_run_directory(disk, brought, untouched):
    folder = disk(400)
    process = Process(brought, folder / "run")
    process.until(stage_is(process.run, "index", "complete"))
    process.kill()
    deadline = time.monotonic() + 60
    # refused while a worker that nobody waits for still has a file open
    while subprocess.run(["mount", "-o", "remount,ro", str(folder)], capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, "something still writes there"
        time.sleep(0.5)
    again = Process(brought, folder / "run")
    again_code = again.wait()
    assert "Read-only file system" in only_line(again)
    assert again_code == 1
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    assert_same_results(completed(brought, folder / "run"), untouched)


def test_a_machine_short_of_memory(brought, untouched, tmp_path, monkeypatch):
    """Ray's memory monitor kills every worker it sees: the run gives up, for now."""
    with monkeypatch.context() as short:
        short.setenv("RAY_memory_usage_threshold", "0.001")
        short.setenv("RAY_task_oom_retries", "1")
        process = Process(brought, tmp_path / "run")
        assert process.wait() == 1
    assert "too little memory: lower data.image_size" in only_line(process)
    assert_same_results(completed(brought, tmp_path / "run"), untouched)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_torn_file_of_an_unfinished_table(brought, untouched, tmp_path):
    process = Process(brought, tmp_path / "run")
    process.until(has_file(process.run, "staging/maps", ".parquet"))
    process.kill()
    truncate(Path(process.run.store.path(process.run.store.files("staging/maps", ".parquet")[0])))
    assert_same_results(completed(brought, tmp_path / "run"), untouched)


@pytest.mark.parametrize("until", ["attribute", "compare"])
def test_a_damaged_file_of_a_finished_table(until, brought, untouched, tmp_path):
    run = completed(brought, tmp_path / "run", "--until", until)
    truncate(Path(run.store.path(run.store.files({"attribute": "maps", "compare": "scores"}[until], ".parquet")[0])))
    assert_same_results(completed(brought, tmp_path / "run"), untouched)


def test_a_damaged_model_is_made_again_and_what_came_of_it_too(trained, untouched_trained, tmp_path):
    run = completed(trained, tmp_path / "run", "--until", "attribute")
    truncate(Path(run.store.path("models/random_100/model.safetensors")))
    assert_same_results(completed(trained, tmp_path / "run"), untouched_trained)


def test_a_clock_that_goes_back(brought, untouched, tmp_path, monkeypatch):
    """What is there comes from an hour in the future."""
    run = completed(brought, tmp_path / "run", "--until", "attribute")
    future = time.time() + 3600
    for path in Path(run.path).rglob("*"):
        os.utime(path, (future, future))
    with monkeypatch.context() as ahead:
        ahead.setattr(provenance, "now", lambda: "2199-01-01T00:00:00+00:00")
        run.update_record(created=provenance.now())
    assert_same_results(completed(brought, tmp_path / "run"), untouched)
