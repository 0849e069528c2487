"""A job that cannot end well is refused before there is a directory of it."""

import contextlib
import shutil

import pytest
import torch
from helpers import published_sets as sets
from helpers.tiny import tiny_job

from pneumo_batch import pipeline
from pneumo_batch.cli import estimate
from pneumo_batch.core.data import phantom
from pneumo_batch.core.models import networks
from pneumo_batch.errors import JobError
from pneumo_batch.execution.cluster import Node, Resources
from pneumo_batch.stages import survey


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


def test_a_mean_of_no_training_images_is_not_waited_for(tmp_path):
    """Of a brought model that comes with the split to explain alone."""
    phantom.write(tmp_path / "films", train=8, test=8, seed=0, image_size=64)
    shutil.rmtree(tmp_path / "films/train")
    torch.save(networks.build("cnn5", image_size=64, channels=1, outputs=1).state_dict(), tmp_path / "mine.pth")
    job = tiny_job(
        data={"root": str(tmp_path / "films")},
        train={"true_seeds": [], "random_seeds": []},
        variant=[{"name": "mine", "kind": "true", "checkpoint": str(tmp_path / "mine.pth")}],
    )
    with pytest.raises(JobError, match=r"^data\.normalise: no training images to measure mean and std on; give them"):
        pipeline.execute(job, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("field", ["gpus_per_training", "gpus_per_actor"])
def test_ray_is_not_started_for_gpus_that_this_machine_has_not(field, tmp_path, monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # whatever other tests have started
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    line = rf"^cluster\.{field} = 0\.5 but the cluster has 0 GPUs; lower it or use auto$"
    for begin in (pipeline.execute, estimate.plan):
        with pytest.raises(JobError, match=line):
            begin(tiny_job(cluster={field: 0.5}), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    elsewhere = tiny_job(cluster={field: 0.5, "address": "head:6379"})
    assert estimate.plan(elsewhere, str(tmp_path / "run")).done == []


@pytest.mark.parametrize("field", ["manifest", "regions"])
def test_credentials_of_a_list_are_refused_and_not_shown(field, tmp_path):
    phantom.write(tmp_path / "films", train=4, test=4, seed=0, image_size=32)
    kind = {"format": "list"} if field == "manifest" else {}
    data = {"root": str(tmp_path / "films"), field: "s3://AKIA:SECRET@bucket/list.csv", **kind}
    with pytest.raises(JobError, match=r"s3://bucket/list\.csv: credentials in a URI would get into records") as caught:
        pipeline.execute(tiny_job(data=data), str(tmp_path / "run"))
    assert "SECRET" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_actors_have_room_for_the_networks_of_arms_too():
    """Of ResNet-50, 94 MB, an actor holds three copies."""
    job = tiny_job(arm=[{"name": "larger", "labels": "untrained", "network": "resnet50", "seeds": [7]}])
    found = survey.survey(job)
    for memory, has_room in ((1.6e9, False), (1.9e9, True)):
        machine = Resources((Node(cpus=8, gpus=0, memory=memory),))
        with contextlib.nullcontext() if has_room else pytest.raises(JobError, match=r"needs about 1\.8 GB of memory"):
            survey.fits(job, found, machine)
