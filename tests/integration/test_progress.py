"""How far a stage is stands in the run while it works, and stays there where something ended it."""

import contextlib
import time

import pytest

from pneumo_batch.execution import progress
from pneumo_batch.rundir.writer import RunWriter


@pytest.fixture
def run(tmp_path, monkeypatch, ray_cluster):
    monkeypatch.setattr(progress, "_NOTE_SECONDS", 0.05)
    return RunWriter(tmp_path / "run")


def said(run, wanted):
    """The tasks of a run's progress, once they are as wanted."""
    for _ in range(1200):  # a minute, for a machine with much else to do
        found = run.progress()
        if found and found["tasks"] == wanted:
            break
        time.sleep(0.05)
    return found and found["tasks"]


def test_progress_is_there_while_the_stage_works(run):
    half = {"images": {"done": 2, "total": 5, "note": ""}, "true_0": {"done": 1, "total": 3, "note": "loss 0.5"}}
    with progress.shown({"images": 5, "true_0": 3}, run) as board:
        board.add("images", 2)
        board.set("true_0", 1, "loss 0.5")
        assert said(run, half) == half
    assert run.progress() is None


def test_what_comes_late_or_twice_is_not_shown(run):
    """A report of the stage before, and those of a task that was begun again after its worker died."""
    all_of_it = {"images": {"done": 5, "total": 5, "note": ""}}
    with progress.shown({"images": 5}, run) as board:
        board.add("attributions", 1)
        board.add("images", 3)
        board.add("images", 4)
        assert said(run, all_of_it) == all_of_it


def test_progress_of_a_stage_that_was_ended_stays_until_it_begins_again(run):
    one = {"images": {"done": 1, "total": 5, "note": ""}}
    with contextlib.suppress(KeyboardInterrupt), progress.shown({"images": 5}, run) as board:
        board.add("images", 1)
        assert said(run, one) == one
        raise KeyboardInterrupt
    assert run.progress()["tasks"] == one
    with progress.shown({"images": 4}, run):
        assert run.progress() is None or run.progress()["tasks"] == {}
