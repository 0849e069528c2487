"""One image that kills or stops every worker it is given to: it goes to the quarantine, the others do not."""

import tomllib

import numpy as np
import pytest
from helpers.processes import completed, write_job

pytestmark = pytest.mark.faults

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
