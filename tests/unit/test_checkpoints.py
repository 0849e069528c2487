import io
import os
import pickle

import pytest
import safetensors.torch
import torch
from torch import nn

from pneumo_batch.core import networks


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 1))


def saved(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_weights_survive_the_round_trip_bit_by_bit_in_any_layout():
    model = network().to(memory_format=torch.channels_last)
    data = networks.state_bytes(model)
    fresh = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 1))
    assert networks.load_state(fresh, data) is fresh
    assert_same(fresh.state_dict(), model.state_dict())
    assert networks.state_bytes(fresh) == data
    assert_same(safetensors.torch.load(data), model.state_dict())


@pytest.mark.parametrize("suffix", ["model.safetensors", "model.pth", "last.ckpt"])
def test_files_are_read_whatever_their_name(suffix, tmp_path):
    wanted = network().state_dict()
    lightning = {"state_dict": {f"net.{key}": value for key, value in wanted.items()} | {"loss.w": torch.ones(1)}}
    content = {
        "model.safetensors": networks.state_bytes(network()),
        "model.pth": saved(wanted),
        "last.ckpt": saved({**lightning, "epoch": 3, "hyper_parameters": {"lr": 0.1}}),
    }[suffix]
    path = tmp_path / suffix
    path.write_bytes(content)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 1))
    assert_same(networks.load_state(model, path).state_dict(), wanted)


def changed(**entries):
    state = {**network().state_dict(), **{key.replace("__", "."): value for key, value in entries.items()}}
    return saved({key: value for key, value in state.items() if value is not None})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(**{"1__bias": torch.ones(3)}), r"'1.bias' has shape \(3,\), the network needs \(2,\)"),
        (changed(**{"0__bias": None}), r"no '0.bias' \(shape \(2,\)\)"),
        (changed(**{"3__bias": torch.ones(3)}), "it has '3.bias', which the network has not"),
        (changed(**{"0__bias": torch.tensor([0.0, float("nan")])}), "'0.bias' has values that are not finite"),
        (saved({"epoch": 3}), "entry 'epoch' is int, not a tensor"),
        (saved([torch.ones(1)]), "holds list, not a state dict"),
        (saved(network()), "not a checkpoint of plain tensors"),
        (pickle.dumps(os.getcwd, protocol=2), "not a checkpoint of plain tensors"),
        (b"not a checkpoint", "not a checkpoint of plain tensors"),
        (b"", "not a checkpoint of plain tensors"),
        (networks.state_bytes(network())[:100], "broken safetensors file"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(data, message):
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"checkpoint: .*{message}") as error:
        networks.load_state(model, data)
    assert "\n" not in str(error.value)
    assert_same(model.state_dict(), before)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.pth: cannot read the checkpoint"):
        networks.load_state(network(), tmp_path / "gone.pth")
