"""What the record of a run says ended it."""

import json

import pytest
from helpers.tiny import tiny_job
from ray.exceptions import RayTaskError

from pneumo_batch import terminal
from pneumo_batch.errors import DataError, RunError
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
