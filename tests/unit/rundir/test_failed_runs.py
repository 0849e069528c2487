"""What the record of a run says ended it."""

import pytest
from helpers.tiny import tiny_job
from ray.exceptions import RayTaskError

from pneumo_batch.errors import DataError
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
