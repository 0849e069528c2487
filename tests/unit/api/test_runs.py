"""`pneumo_batch.run` before any work begins; a whole run is in tests/integration/test_notebook_api.py."""

import pytest
from helpers.paths import JOBS
from helpers.tiny import TINY

import pneumo_batch
from pneumo_batch.errors import JobError
from pneumo_batch.job import jobfile


@pytest.mark.parametrize(
    ("job", "overrides", "message"),
    [
        (TINY, {"data": {"image_sise": 64}}, "job: data.image_sise: no such field; did you mean image_size?"),
        (JOBS / "demo.toml", {"data": {"image_size": 65}}, "demo.toml: data.image_size: .*multiple of 32"),
        ("nowhere.toml", {}, "nowhere.toml: cannot read the job file"),
        (TINY, {"until": "comparing"}, "until: no stage 'comparing'; there are: index, train"),
        (TINY, {"compare": {"metrics": ["sperman"]}}, r"unknown metric 'sperman' \(did you mean spearman\?\)"),
    ],
)
def test_what_the_user_has_to_change_is_one_line(tmp_path, monkeypatch, job, overrides, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JobError, match=message) as caught:
        pneumo_batch.run(job, **overrides)
    assert "\n" not in str(caught.value)


def test_overrides_change_only_what_they_name():
    values = {"name": "a", "data": {"image_size": 96, "channels": 3}, "compare": {"primary": {"view": "signed"}}}
    changes = {"data": {"image_size": 64}, "compare": {"primary": {"scale": "pixel"}, "threshold": 0.4}}
    assert jobfile.merged(values, changes) == {
        "name": "a",
        "data": {"image_size": 64, "channels": 3},
        "compare": {"primary": {"view": "signed", "scale": "pixel"}, "threshold": 0.4},
    }
    assert values["data"]["image_size"] == 96
