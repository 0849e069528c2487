"""What the record of a run says ended it."""

import json

import pytest
from helpers.tiny import tiny_job
from ray.exceptions import RayTaskError

from pneumo_batch import pipeline, terminal
from pneumo_batch.errors import DataError, RunError
from pneumo_batch.rundir.layout import STAGES
from pneumo_batch.rundir.writer import RunWriter


@pytest.mark.parametrize(
    "error",
    [
        DataError("films: no images found\nadvice"),
        RayTaskError("index", "Traceback", DataError("films: no images found")),
        RayTaskError("index", "Traceback", DataError("films: no images found")).as_instanceof_cause(),
    ],
    ids=["raised here", "raised in a task", "both in one, as ray.get raises it"],
)
def test_the_record_names_the_error_itself(error, tmp_path):
    run = RunWriter(tmp_path / "run")
    run.open(tiny_job(), "f" * 64)
    run.fail(error)
    assert run.record["status"] == "failed"
    assert run.record["error"] == {"type": "DataError", "message": "films: no images found"}


def test_what_ended_a_run_is_left_to_the_command_to_say(tmp_path, capsys, monkeypatch):
    """In a log of JSON lines too, where events are shown."""
    monkeypatch.setitem(terminal._formats, "log", "json")
    run = RunWriter(tmp_path / "run")
    run.open(tiny_job(), "f" * 64)
    run.fail(DataError("films: no images found"))
    assert capsys.readouterr().err == ""
    assert json.loads(run.store.read_bytes("events.jsonl"))["message"] == "films: no images found"


def test_a_folder_of_something_else_becomes_no_run(tmp_path):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "film.png").touch()
    with pytest.raises(
        RunError, match=r"films: holds no run, but is not empty \(it has film.png\): choose another --run-dir$"
    ):
        RunWriter(tmp_path / "films").refuse_other_folder()
    assert [path.name for path in (tmp_path / "films").iterdir()] == ["film.png"]
    with pytest.raises(RunError, match=r"film\.png: a file, not a folder: choose another --run-dir$"):
        RunWriter(tmp_path / "films" / "film.png").refuse_other_folder()


def test_an_empty_folder_and_one_of_a_run_that_ended_before_its_record_become_one(tmp_path):
    for name in ("new", "empty", "begun"):
        run = RunWriter(tmp_path / name)
        if name != "new":
            (tmp_path / name).mkdir()
        if name == "begun":
            run.checksums.begin()
            (tmp_path / name / ".lock").touch()
        run.refuse_other_folder()
        run.open(tiny_job(), "f" * 64)
        assert run.record["status"] == "running"
        run.refuse_other_folder()  # nor is a run that is resumed


@pytest.mark.parametrize("ended", [DataError("30 of 40 images could not be read"), KeyboardInterrupt()])
def test_what_ended_a_run_is_raised_where_it_cannot_be_noted(ended, tmp_path, monkeypatch):
    run = RunWriter(tmp_path / "run")
    run.open(tiny_job(), "f" * 64)

    def full(*_):
        raise OSError(28, "No space left on device")

    def spoilt():
        with pipeline._recorded(run):
            monkeypatch.setattr(run.store, "write_bytes", full)
            raise ended

    with pytest.raises(type(ended)) as found:
        spoilt()
    assert found.value is ended


def test_a_later_pass_counts_its_own_images(tmp_path):
    """The stages that the first pass settled stand before those of the later one in the record."""
    run = RunWriter(tmp_path / "run")
    run.open(tiny_job(), "f" * 64)

    def done(stage, **counts):
        run.stage(stage, status="complete", seconds=1.0, counts=counts)

    done("index", images=1000, quarantined=0)
    done("train", variants=2)
    done("attribute", attributed=200, quarantined=0)
    done("cascade", images=64, networks=3)
    assert run.record["counts"] == {"images": 1000, "attributed": 200, "quarantined": 0}
    run.begin_pass()
    done("index", images=1010, quarantined=1)
    done("attribute", attributed=210, quarantined=0)
    assert run.record["counts"] == {"images": 1010, "attributed": 210, "quarantined": 1}


def test_nothing_is_written_after_a_run_is_complete(tmp_path, monkeypatch):
    """A kill then would leave the metrics of a run that goes on, which no later call writes again."""
    run = RunWriter(tmp_path / "run")
    run.open(tiny_job(), "f" * 64)
    for stage in STAGES:
        run.stage(stage, status="complete", seconds=1.0, counts={})
    complete = run.complete

    def killed():
        complete()
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "complete", killed)
    with pytest.raises(KeyboardInterrupt):
        pipeline._advance(tiny_job(), run, None, "report")
    assert run.record["status"] == "complete"
    assert 'status="complete"} 1.0' in run.store.read_bytes("metrics.prom").decode()
