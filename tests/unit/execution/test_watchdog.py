"""The record of who works on which image."""

import os
import subprocess
import sys

from pneumo_batch.execution import turns, watchdog
from pneumo_batch.execution.board import Board
from pneumo_batch.execution.watchdog import Place, Watchdog

HERE, THERE = Place("a", 1), Place("b", 2)


def test_a_batch_that_ends_leaves_no_trace():
    kept = Watchdog()
    assert not kept.batch_started(["x", "y"], HERE)
    kept.batch_finished(["x", "y"], HERE)
    assert not kept.batch_started(["x", "y"], HERE)


def attempt(kept, images, deadly):
    """What a worker does with a batch: the images it did, or None where it died."""
    suspicious = kept.batch_started(images, HERE)
    done, before = [], None
    for image in images:
        if suspicious:
            if before:
                kept.image_finished_alone(before)
            before = image
            if kept.image_started_alone(image):
                continue
        if image == deadly:
            return None
        done.append(image)
    kept.batch_finished(images, HERE)
    return done


def test_the_image_three_workers_died_of_is_left_out_and_no_other():
    kept = Watchdog()
    found = [attempt(kept, ["x", "deadly", "y"], "deadly") for _ in range(4)]
    assert found == [None, None, None, ["x", "y"]]
    assert attempt(kept, ["x", "y"], "deadly") == ["x", "y"]


def test_a_worker_lost_without_a_culprit_costs_no_image():
    kept = Watchdog()
    for image in ("x", "y"):  # killed from outside, each time on another image
        assert attempt(kept, ["x", "y"], image) is None
    assert attempt(kept, ["x", "y"], None) == ["x", "y"]


def test_an_image_that_takes_too_long_is_left_out(monkeypatch):
    now = 100.0
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now)
    kept = Watchdog()
    kept.batch_started(["slow", "x"], HERE)
    kept.batch_started(["y"], THERE)
    now = 105.0
    kept.batch_finished(["y"], THERE)
    kept.batch_started(["z"], THERE)
    now = 111.0
    assert kept.late(10.0) == [(HERE, ["slow", "x"])]
    kept.leave_out("slow", HERE, "too slow")
    assert kept.late(10.0) == []
    assert kept.batch_started(["slow", "x"], HERE)
    assert kept.image_started_alone("slow") == "too slow"
    assert kept.image_started_alone("x") is None


def test_a_worker_that_is_gone_is_no_reason_against_its_image(monkeypatch):
    now = 0.0
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now)
    kept = Watchdog()
    kept.batch_started(["x"], HERE)
    now = 20.0
    assert kept.late(10.0) == [(HERE, ["x"])]
    kept.forget(HERE)
    assert kept.late(10.0) == []
    kept.batch_started(["x"], THERE)
    assert kept.image_started_alone("x") is None


SLEEPER = """
import sys, time
from pneumo_batch.execution import turns
turn = turns.of_this_process()
for number in (3, 4):
    turn.to(number)
    print("turned", flush=True)
    sys.stdin.readline()
turn.to(turns.NONE)
print("done", flush=True)
sys.stdin.readline()
"""


def test_what_another_process_is_stuck_on_can_be_read_and_goes_with_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", SLEEPER], **pipes) as sleeper:
        for number in (3, 4):
            assert sleeper.stdout.readline() == "turned\n"
            assert turns.stuck(sleeper.pid, 0.0) == number
            assert turns.stuck(sleeper.pid, 3600.0) is None
            print(file=sleeper.stdin, flush=True)
        assert sleeper.stdout.readline() == "done\n"
        assert turns.stuck(sleeper.pid, 0.0) is None  # it waits for its next batch
        assert turns.stuck(os.getpid(), 0.0) is None  # this one has none
        sleeper.kill()
    turns.of_this_process.cache_clear()
    turns.of_this_process()
    assert [path.name for path in tmp_path.glob("*/*")] == [f"turn-{os.getpid()}"]
    turns.of_this_process.cache_clear()


class Told:
    """What an actor would be sent."""

    def __init__(self):
        self.add, self.remote, self.calls = self, lambda *call: self.calls.append(call), []


def test_steps_are_told_once_a_second_and_none_is_lost(monkeypatch):
    now = 0.0
    monkeypatch.setattr("pneumo_batch.execution.board.time.monotonic", lambda: now)
    told = Told()
    for step in Board(told).counted("films", range(10)):
        assert step in range(10)
        now += 0.4
    assert [call[0] for call in told.calls] == ["films"] * 4
    assert [call[1] for call in told.calls] == [3, 3, 3, 1]
    assert list(Board(told).counted("films", [])) == []
    assert len(told.calls) == 4
