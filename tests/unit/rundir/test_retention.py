import json

import pytest

from pneumo_batch.errors import RunError
from pneumo_batch.rundir import retention
from pneumo_batch.rundir.writer import RunWriter


def make(folder, name, updated, status="complete", job="nightly"):
    path = folder / name
    path.mkdir()
    record = {"format": 1, "name": job, "status": status, "updated": updated}
    (path / "run.json").write_text(json.dumps(record))


@pytest.fixture
def runs(tmp_path):
    for number in range(1, 6):
        make(tmp_path, f"nightly-{number}", f"2026-01-0{number}T00:00:00+00:00")
    make(tmp_path, "failed", "2025-01-01T00:00:00+00:00", status="failed")
    make(tmp_path, "running", "2025-01-01T00:00:00+00:00", status="running")
    make(tmp_path, "other-1", "2024-01-01T00:00:00+00:00", job="other")
    (tmp_path / "notes").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "nightly-5")
    return tmp_path


EVERY = {*(f"nightly-{number}" for number in range(1, 6)), "failed", "running", "other-1", "notes", "linked"}


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_the_oldest_complete_runs_of_each_job_go_and_nothing_else(runs):
    expected = [str(runs / f"nightly-{number}") for number in (1, 2, 3)]
    assert retention.clean(str(runs), 2, dry_run=True) == expected
    assert names(runs) == EVERY
    assert retention.clean(str(runs), 2) == expected
    assert names(runs) == EVERY - {"nightly-1", "nightly-2", "nightly-3"}
    assert retention.clean(str(runs), 2) == []


def test_a_run_in_use_stays_and_does_not_count(runs):
    with RunWriter(runs / "nightly-5").lock():
        assert retention.clean(str(runs), 2) == [str(runs / "nightly-1"), str(runs / "nightly-2")]
    assert (runs / "nightly-5").exists()


def test_a_run_that_was_taken_up_meanwhile_stays(runs):
    assert not retention._remove(runs / "nightly-1", "2026-01-09T00:00:00+00:00")
    with RunWriter(runs / "nightly-2").lock():
        assert not retention._remove(runs / "nightly-2", "2026-01-02T00:00:00+00:00")
    assert names(runs) == EVERY | set()


def test_no_such_folder_is_one_line(tmp_path):
    with pytest.raises(RunError, match="nowhere: no such folder"):
        retention.clean(str(tmp_path / "nowhere"), 1)
