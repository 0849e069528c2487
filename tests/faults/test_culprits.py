"""One image that kills or stops every worker it is given to: it goes to the quarantine, the others do not."""

import shutil
import tomllib

import numpy as np
import pytest
from helpers.processes import completed, write_job
from PIL import Image

pytestmark = pytest.mark.faults

BLACK = "test/PNEUMONIA/person999_bacteria_1.jpeg"
WHITE = "test/NORMAL/NORMAL2-IM-9999-0001.jpeg"


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("dies", "the process that worked on it died, 3 times"),
        ("hangs", "no result within 5 s (cluster.stall_seconds)"),
    ],
)
def test_the_culprit_is_quarantined(method, reason, brought, untouched, tmp_path):
    values = tomllib.loads(brought.read_text())
    values["attribution"] = {"methods": ["grad_cam", f"helpers.killers:{method}"], "rows_per_file": 4}
    values["cluster"] = {"stall_seconds": 5.0}
    del values["cascade"]
    run = completed(write_job(tmp_path / "job.toml", values), tmp_path / "run")
    rejected = run.quarantine()
    assert rejected["image_id"].tolist() == [WHITE]
    assert rejected["reason"].tolist() == [reason]
    expected_ids, expected_NHW = untouched.maps("grad_cam", "mine_a")
    ids, maps_NHW = run.maps("grad_cam", "mine_a")
    assert sorted([*ids, WHITE]) == expected_ids
    others = [image_id != WHITE for image_id in expected_ids]
    np.testing.assert_array_equal(maps_NHW, expected_NHW[others])
    assert run.record["counts"] == {**untouched.record["counts"], "attributed": len(ids), "quarantined": 1}


def test_two_culprits_of_one_block_are_quarantined(brought, films, untouched, tmp_path):
    """They are found one after the other: every attempt at a block ends with the first of them that is left."""
    shutil.copytree(films, tmp_path / "films")
    Image.new("L", (96, 96), 0).save(tmp_path / "films" / BLACK)
    values = tomllib.loads(brought.read_text())
    values["data"] |= {"root": str(tmp_path / "films"), "max_bad": 0.2}
    values["attribution"] = {"methods": ["grad_cam", "helpers.killers:dies_of_two"], "rows_per_file": 64}
    values["cluster"] = {"actors": 1}
    del values["cascade"]
    run = completed(write_job(tmp_path / "job.toml", values), tmp_path / "run")
    rejected = run.quarantine()
    assert rejected["image_id"].tolist() == [WHITE, BLACK]
    assert set(rejected["reason"]) == {"the process that worked on it died, 3 times"}
    expected_ids, expected_NHW = untouched.maps("grad_cam", "mine_a")
    ids, maps_NHW = run.maps("grad_cam", "mine_a")
    assert sorted([*ids, WHITE]) == expected_ids
    np.testing.assert_array_equal(maps_NHW, expected_NHW[[image_id != WHITE for image_id in expected_ids]])
