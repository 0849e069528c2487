"""A job that cannot end well is refused before there is a directory of it."""

import pytest
from helpers import published_sets as sets
from helpers.tiny import tiny_job

from pneumo_batch import pipeline
from pneumo_batch.errors import JobError


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        (
            {"data": {"format": "nih", "findings": ["Pneumonai"]}},
            r"^data\.findings: no finding 'Pneumonai' in Data_Entry_2017_v2020\.csv \(did you mean Pneumonia",
        ),
        (
            {"data": {"format": "nih", "findings": ["Pneumonia"]}, "attribution": {"target": "Effusion"}},
            r"^attribution\.target 'Effusion': with two classes there is one logit, that of Pneumonia",
        ),
        (
            {"data": {"format": "nih", "findings": ["Pneumonia"]}, "network": {"name": "resnt18"}},
            r"^unknown network 'resnt18' \(did you mean resnet18\?\)",
        ),
    ],
    ids=["an unknown finding", "another target", "an unknown network"],
)
def test_nothing_is_left_behind(sections, line, tmp_path):
    root = sets.nih(tmp_path / "films")
    data = {**sections.pop("data"), "root": str(root)}
    with pytest.raises(JobError, match=line):
        pipeline.execute(tiny_job(data=data, **sections), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
