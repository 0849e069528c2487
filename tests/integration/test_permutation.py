"""Random variants whose labels are permuted by patient and within strata: from a list to the labels of the training."""

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from helpers.tiny import lean_job, tiny_job

from pneumo_batch import pipeline
from pneumo_batch.core.data.phantom import published
from pneumo_batch.core.models import labels
from pneumo_batch.core.variants import Arm
from pneumo_batch.errors import JobError
from pneumo_batch.stages import survey


@pytest.fixture
def films(tmp_path):
    published.write(tmp_path / "set", "list", train=40, test=14, seed=0, image_size=96)
    return {"root": str(tmp_path / "set"), "manifest": str(tmp_path / "set/films.csv"), "findings": ["opacity"]}


def test_labels_are_exchanged_by_patient_within_view_and_sex(ray_cluster, films, tmp_path):
    settings = {"true_seeds": [], "random_unit": "patient", "random_within": ["view", "sex"]}
    job = lean_job(data={**films, "val_fraction": 0, "max_bad": 0.1}, train=settings)
    run = pipeline.execute(job, str(tmp_path / "run"), until="train").run
    rows = run.manifest_table()
    training = rows.filter(pc.equal(rows["split"], "train"))
    assert {"F", "M"} == set(training["sex"].to_pylist())
    true_N = training["label"].to_numpy()
    structure = labels.exchange(training, "patient", ["view", "sex"])
    expected_N = labels.training_labels(Arm("random", "permuted"), 100, true_N, structure)
    assert run.model_record("random_100")["label_agreement"] == np.mean(expected_N == true_N)
    warned = [json.loads(line) for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    fixed = structure.fixed(true_N)
    said = [event["message"] for event in warned if "train.random_unit" in event.get("message", "")]
    why = "all films they could be exchanged with have the same ones"
    assert said == [f"train.random_unit: {fixed} of {len(true_N)} labels are the same in every permutation: {why}"]


def test_labels_that_cannot_move_stop_the_run_before_any_training(ray_cluster, films, tmp_path):
    job = tiny_job(phantom={"train": 10, "test": 4}, train={"random_within": ["subtype"]})
    with pytest.raises(JobError, match=r"^train.random_within: no label can change: all films they could be exchanged"):
        pipeline.execute(job, str(tmp_path / "run"))
    assert not (tmp_path / "run/models").exists()


def test_a_column_of_which_the_data_say_nothing_is_refused_before_they_are_read(films):
    told = r"^train.random_within: the data give no film's site; they give view, sex$"
    with pytest.raises(JobError, match=told):
        survey.survey(tiny_job(data=films, train={"random_within": ["site"]}))
    with pytest.raises(JobError, match=r"^train.random_within: the data give no film's view; they give subtype$"):
        survey.survey(tiny_job(train={"random_within": ["view", "subtype", "mode"]}))  # of generated films


def test_another_edition_of_a_column_to_permute_within_is_another_job(films):
    def fingerprint(**settings):
        return survey.survey(tiny_job(data=films, train=settings)).fingerprint

    before, within = fingerprint(), fingerprint(random_within=["sex"])
    path = Path(films["manifest"])
    lines = path.read_text().splitlines()
    changed = [line.replace(",F,", ",M,") if k == 1 else line.replace(",M,", ",F,") for k, line in enumerate(lines)]
    path.write_text("\n".join(changed))
    assert fingerprint() == before
    assert fingerprint(random_within=["sex"]) != within
