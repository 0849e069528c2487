"""Processes that are killed: the run itself, or one of its workers."""

import re
import signal

import pytest
import torch
from helpers.processes import Process, assert_ended, assert_same_results, completed, has_file, stage_is

pytestmark = pytest.mark.faults

PROGRESS = re.compile(r"  [\w ]+: \d+/\d+  \d+ s")
WHITE = (
    "warning: nearly constant: 1 of 33 images, such as test/NORMAL/NORMAL2-IM-9999-0001.jpeg: gray 255 to 255 of 255"
)
MOMENTS = {
    "before the index": lambda run: lambda: run.store.exists("run.json"),
    "indexing": lambda run: stage_is(run, "index", "running"),
    "models are brought": lambda run: stage_is(run, "train", "running"),
    "first file of maps": lambda run: has_file(run, "staging/maps", ".parquet"),
    "maps are committed": lambda run: lambda: run.store.exists("maps"),
    "first file of scores": lambda run: has_file(run, "staging/scores", ".parquet"),
    "scores are committed": lambda run: lambda: run.store.exists("scores"),
    "first file of the cascade": lambda run: has_file(run, "staging/cascades", ".parquet"),
    "concluding": lambda run: stage_is(run, "conclude", "running"),
    "reporting": lambda run: stage_is(run, "report", "running"),
}


def test_a_driver_killed_at_every_one_of_these_moments(brought, untouched, tmp_path):
    """One run, killed ten times: each call gets a little further than the one before."""
    for moment, happens in MOMENTS.items():
        process = Process(brought, tmp_path / "run")
        process.until(happens(process.run))
        process.kill()
        assert process.run.record["status"] == "running", moment  # nobody could write anything else
    assert_same_results(completed(brought, tmp_path / "run"), untouched)


@pytest.mark.parametrize("moment", ["first decoded images written", "first state saved", "first model finished"])
def test_a_driver_killed_while_it_trains(moment, trained, untouched_trained, tmp_path):
    process = Process(trained, tmp_path / "run")
    conditions = {
        "first decoded images written": has_file(process.run, "staging/pixels", ""),  # of the first of three splits
        "first state saved": has_file(process.run, "staging/train", ".pt"),
        "first model finished": lambda: bool(process.run.variants()),
    }
    process.until(conditions[moment])
    process.kill()
    assert_same_results(completed(trained, tmp_path / "run"), untouched_trained)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interruption_is_noted_and_the_run_goes_on_later(number, code, brought, untouched, tmp_path):
    process = Process(brought, tmp_path / "run")
    process.until(has_file(process.run, "staging/maps", ".parquet"))
    children = process.children()
    process.process.send_signal(number)
    assert process.wait() == code
    assert "the same command continues the run" in process.log
    assert_ended(children)
    record = process.run.record
    assert record["status"] == "failed"
    assert record["stages"]["index"]["status"] == "complete"
    assert_same_results(completed(brought, tmp_path / "run"), untouched)


def test_a_killed_attribution_actor_costs_nothing(brought, untouched, tmp_path):
    process = Process(brought, tmp_path / "run")
    process.until(has_file(process.run, "staging/maps", ".parquet"))
    process.survive_losing("Attributor")
    assert_same_results(process.run, untouched)
    # not a word of Ray's about an actor that it started again
    assert [line for line in process.log.splitlines() if not PROGRESS.fullmatch(line)] == [WHITE]


def test_a_killed_training_worker_goes_on_from_its_last_state(trained, untouched_trained, tmp_path):
    process = Process(trained, tmp_path / "run")
    process.until(has_file(process.run, "staging/train", ".pt"))
    process.survive_losing("train_alone")
    assert_same_results(process.run, untouched_trained)


def test_a_killed_worker_of_several_that_train_together(trained_together, tmp_path):
    untouched = completed(trained_together, tmp_path / "untouched", "--until", "train")
    process = Process(trained_together, tmp_path / "run", "--until", "train")
    process.until(has_file(process.run, "staging/train", ".pt"))
    process.survive_losing("RayTrainWorker")
    for variant in untouched.variants():
        weights, expected = (run.model(variant).state_dict() for run in (process.run, untouched))
        assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_two_processes_on_one_run(brought, untouched, tmp_path):
    first = Process(brought, tmp_path / "run")
    first.until(stage_is(first.run, "index", "complete"))
    second = Process(brought, tmp_path / "run")
    assert second.wait() == 75
    assert second.log.count("\n") == 1
    assert "another process holds this run" in second.log
    assert first.process.poll() is None
    assert first.wait() == 0, first.log
    assert_same_results(first.run, untouched)


def test_a_lock_file_of_a_dead_process_stops_nobody(brought, untouched, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text("4194304")
    assert_same_results(completed(brought, tmp_path / "run"), untouched)
