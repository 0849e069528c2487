"""Preprocessing that a brought variant was trained with, and what is said of its answers."""

import json

import numpy as np
import pytest
import torch
import torchvision
from helpers.tiny import tiny_job

from pneumo_batch import terminal
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.models import checkpoints, networks
from pneumo_batch.errors import JobError
from pneumo_batch.job import jobfile
from pneumo_batch.job.schema import VariantSpec
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import external_models
from pneumo_batch.stages.external_models import own_preprocess

COMMON = Preprocess(64, channels=1, mean=0.4, std=0.2)


def spec(**options):
    return VariantSpec(name="mine", kind="true", checkpoint="mine.pth", **options)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, COMMON),
        ({"normalise": (0.5, 0.25)}, Preprocess(64, 1, mean=0.5, std=0.25)),
        ({"channels": 3}, Preprocess(64, 3, mean=0.4, std=0.2)),
        (
            {"normalise": "imagenet", "channels": 3},
            Preprocess(64, 3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        ),
    ],
)
def test_a_variants_own_preprocessing_replaces_the_common_one(options, wanted):
    assert own_preprocess(spec(**options), COMMON) == wanted


def test_numbers_for_each_channel_do_not_fit_other_channels():
    common = Preprocess(64, 3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    with pytest.raises(ValueError, match="mean has 3 numbers for 1 channels"):
        own_preprocess(spec(channels=1), common)


def test_a_standard_deviation_of_0_is_refused():
    with pytest.raises(ValueError, match="the standard deviation must be above 0"):
        spec(normalise=(0.5, 0.0))


@pytest.mark.parametrize("log", ["text", "json"])
def test_probabilities_are_warned_of_in_one_line(log, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(terminal._formats, "log", log)
    external_models._warn_of_probabilities(spec(), RunWriter(tmp_path), {"test": np.array([[0.1], [0.9], [np.nan]])})
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)["message"] if log == "json" else line
    assert said.removeprefix("warning: ").startswith("variant.mine: all 2 outputs lie in 0 to 1: ")


def test_two_variants_of_one_checkpoint_are_refused(tmp_path):
    for name, content in (("mine.pth", b"1"), ("copy.pth", b"1"), ("noise.pth", b"2")):
        (tmp_path / name).write_bytes(content)

    def job(**checkpoints):
        variants = [
            {"name": name, "kind": "true", "checkpoint": str(tmp_path / checkpoints[name])} for name in checkpoints
        ]
        return tiny_job(variant=variants)

    assert len(external_models.digests(job(a="mine.pth", b="noise.pth"))) == 2
    for second in ("mine.pth", "copy.pth"):
        with pytest.raises(JobError, match=r"^variant\.b: its checkpoint has the content of that of variant\.a: "):
            external_models.digests(job(a="mine.pth", noise="noise.pth", b=second))


@pytest.mark.parametrize(
    ("network", "hint"),
    [
        (
            "resnet34",
            "; if it is not a plain resnet34, such as one with a head of your own, the function that builds it goes "
            'into network.name = "module:callable"',
        ),
        ("own_nets:resnet", ""),
    ],
)
def test_weights_of_other_names_are_told_what_takes_ones_own_network(network, hint, tmp_path, monkeypatch):
    """A head in a wrapper of its own, as many trainings have."""
    (tmp_path / "own_nets.py").write_text(
        "import torchvision\n"
        "def resnet(image_size, channels, outputs):\n"
        "    return torchvision.models.resnet34(num_classes=outputs)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = torchvision.models.resnet34()
    model.fc = torch.nn.Sequential(torch.nn.Linear(512, 1))
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    variant = {"name": "mine", "kind": "true", "checkpoint": str(tmp_path / "mine.pth")}
    job = tiny_job(network={"name": network}, variant=[variant], data={"root": "phantom"})
    with pytest.raises(JobError) as error:
        external_models.network(job.variant[0], job, Preprocess(64, 3), ["NORMAL", "PNEUMONIA"])
    problem = "mine.pth: does not fit the network: no 'fc.weight' (shape (1, 512)), but 'fc.0.weight'"
    assert str(error.value) == f"variant.mine: {tmp_path}/{problem}{hint}"


@pytest.mark.parametrize("field", ["name", "weights"])
def test_a_file_of_the_network_counts_by_its_content_wherever_it_lies(field, tmp_path):
    def fingerprint(place, content):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(content)
        job = tiny_job(network={field: str(tmp_path / place)})
        return jobfile.fingerprint(job, external_models.digests(job))

    first = fingerprint("here/net.pt2", b"never opened")
    assert fingerprint("there/other.pt2", b"never opened") == first
    assert fingerprint("here/net.pt2", b"another") != first


def test_two_files_of_the_same_weights_are_refused(tmp_path):
    own, other = (networks.build("cnn5", image_size=64, channels=1, outputs=1) for _ in range(2))
    own_state = own.state_dict()
    torch.save(own_state, tmp_path / "a.pt")
    torch.save({"state_dict": {f"module.{name}": value for name, value in own_state.items()}}, tmp_path / "b.ckpt")
    counted = [name for name in own_state if name.endswith("num_batches_tracked")]
    assert counted
    torch.save({name: value for name, value in own_state.items() if name not in counted}, tmp_path / "c.pt")
    (tmp_path / "d.safetensors").write_bytes(checkpoints.state_bytes(own))
    torch.save(other.state_dict(), tmp_path / "e.pt")

    def check(*files):
        variants = [{"name": name[0], "kind": "true", "checkpoint": str(tmp_path / name)} for name in files]
        job = tiny_job(variant=variants)
        assert len(external_models.digests(job)) == len(files)
        external_models.check(job, COMMON, ["NORMAL", "PNEUMONIA"])

    check("a.pt", "e.pt")
    for copy in ("b.ckpt", "c.pt", "d.safetensors"):
        line = rf"^variant\.{copy[0]}: its checkpoint has the weights of that of variant\.a: every variant must be a mo"
        with pytest.raises(JobError, match=line):
            check("a.pt", "e.pt", copy)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "no such module: is its folder on PYTHONPATH?"),
        ("import no_such_module", "cannot import the module: No module named 'no_such_module'"),
        ("from math import no_such_function", "cannot import the module: cannot import name 'no_such_function'"),
        ("tiny = 1", "the module has no callable 'tiny'"),
        ("tiny = print", "module, class, method, function"),
    ],
)
def test_code_that_cannot_be_had_is_named_once(code, message, tmp_path, monkeypatch):
    module = f"nets_{abs(hash(code))}"  # imported modules stay
    if code is not None:
        (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(JobError) as error:
        external_models.digests(tiny_job(network={"name": f"{module}:tiny"}))
    assert str(error.value).startswith(f"'{module}:tiny': {message}")
    assert str(error.value).count(module) == 1
