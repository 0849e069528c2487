import io
import os
import pickle

import pytest
import safetensors.torch
import torch
from torch import nn

from pneumo_batch.core.models import checkpoints, networks


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
    data = checkpoints.state_bytes(model)
    fresh = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 1))
    assert checkpoints.load_state(fresh, data) is fresh
    assert_same(fresh.state_dict(), model.state_dict())
    assert checkpoints.state_bytes(fresh) == data
    assert_same(safetensors.torch.load(data), model.state_dict())


@pytest.mark.parametrize("suffix", ["model.safetensors", "model.pth", "last.ckpt", "wrapped.pth", "parallel.pth"])
def test_files_are_read_whatever_their_name(suffix, tmp_path):
    wanted = network().state_dict()
    lightning = {"state_dict": {f"net.{key}": value for key, value in wanted.items()} | {"loss.w": torch.ones(1)}}
    content = {
        "model.safetensors": checkpoints.state_bytes(network()),
        "model.pth": saved(wanted),
        "last.ckpt": saved({**lightning, "epoch": 3, "hyper_parameters": {"lr": 0.1}}),
        "wrapped.pth": saved({"model": wanted, "epoch": 3, "optimizer": {"state": {}}}),
        "parallel.pth": saved({f"module._orig_mod.{key}": value for key, value in wanted.items()}),
    }[suffix]
    path = tmp_path / suffix
    path.write_bytes(content)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 1))
    assert_same(checkpoints.load_state(model, path).state_dict(), wanted)


def test_counters_of_batch_norm_that_older_files_lack_are_not_missed():
    """As torch's own strict load does it."""
    older = {key: value for key, value in network().state_dict().items() if not key.endswith("num_batches_tracked")}
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 1))
    model.load_state_dict(older, strict=True)
    found = checkpoints.load_state(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 1)), saved(older))
    assert_same(found.state_dict(), model.state_dict())
    assert_same(found.state_dict(), network().state_dict())


def under(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def other():
    return {key: value + 1 for key, value in network().state_dict().items()}


RAW = network().state_dict()
TWICE = {
    "lightning": (
        {"state_dict": under("model.", RAW) | under("ema_model.", other())},
        "ema_model.', 'state_dict.model.",
    ),
    "student": (under("student.", RAW) | under("teacher.", other()), "'student.', 'teacher.'"),
    "beside": (RAW | under("ema.", other()), "'', 'ema.'"),
    "wrapped": ({"model": RAW, "model_ema": other(), "epoch": 3}, "'model.', 'model_ema.'"),
    "unlike": ({"state_dict": under("net.", RAW), "ema": other()}, "'ema.', 'state_dict.net.'"),
    "deep": (
        {"state_dict": RAW, "callbacks": {"EMA": {"weights": other()}}},
        "'callbacks.EMA.weights.', 'state_dict.'",
    ),
    "no buffers": (
        under("net.", RAW) | {f"ema.{key}": value + 1 for key, value in network().named_parameters()},
        "'ema.', 'net.'",
    ),
}


@pytest.mark.parametrize("case", TWICE)
def test_two_sets_of_weights_in_one_file_are_named_and_refused(case):
    content, names = TWICE[case]
    content = {key: value.detach() if isinstance(value, torch.Tensor) else value for key, value in content.items()}
    with pytest.raises(ValueError, match=r"2 sets of weights fit .*: save the one you mean") as error:
        checkpoints.load_state(network(), saved(content))
    assert names in str(error.value)
    assert "\n" not in str(error.value)


def test_one_set_of_weights_that_is_there_twice_is_one():
    wanted = other()
    model = checkpoints.load_state(network(), saved({"state_dict": under("model.", wanted), "model": wanted}))
    assert_same(model.state_dict(), wanted)


def test_what_an_optimizer_keeps_is_no_second_set():
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "head": {"weight": torch.ones(3)}}
    assert_same(checkpoints.load_state(network(), saved(content)).state_dict(), model.state_dict())


def test_a_place_in_ones_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.pth").write_bytes(saved(other()))
    assert_same(checkpoints.load_state(network(), "~/mine.pth").state_dict(), other())


def changed(**entries):
    state = {**network().state_dict(), **{key.replace("__", "."): value for key, value in entries.items()}}
    return saved({key: value for key, value in state.items() if value is not None})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(**{"1__bias": torch.ones(3)}), r"'1.bias' has shape \(3,\), the network needs \(2,\)"),
        (changed(**{"0__bias": None}), r"no '0.bias' \(shape \(2,\)\)"),
        (changed(**{"3__bias": torch.ones(3)}), "it has '3.bias', which the network does not have"),
        (changed(**{"0__bias": torch.tensor([0.0, float("nan")])}), "'0.bias' has values that are not finite"),
        (saved({"epoch": 3}), "entry 'epoch' is int, not a tensor"),
        (saved({"model": {"epoch": 3}}), "entry 'epoch' is int, not a tensor"),
        (saved([torch.ones(1)]), "holds list, not a state dict"),
        (saved(network()), "not a checkpoint of plain tensors"),
        (pickle.dumps(os.getcwd, protocol=2), "not a checkpoint of plain tensors"),
        (b"not a checkpoint", "not a checkpoint of plain tensors"),
        (b"", "not a checkpoint of plain tensors"),
        (checkpoints.state_bytes(network())[:100], "broken safetensors file"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(data, message):
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"checkpoint: .*{message}") as error:
        checkpoints.load_state(model, data)
    assert "\n" not in str(error.value)
    assert_same(model.state_dict(), before)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.pth: cannot read the checkpoint"):
        checkpoints.load_state(network(), tmp_path / "gone.pth")


class Lock:
    """Unpickling it would leave a trace."""

    def __reduce__(self):
        return os.mkdir, (os.environ["PNEUMO_BATCH_TRACE"],)


def test_nothing_in_a_pickle_is_run(tmp_path, monkeypatch):
    trace = tmp_path / "trace"
    monkeypatch.setenv("PNEUMO_BATCH_TRACE", str(trace))
    data = saved({**network().state_dict(), "lock": Lock()})
    with pytest.raises(ValueError, match=r"not a checkpoint of plain tensors \(nothing in it was run\)"):
        checkpoints.load_state(network(), data)
    assert not trace.exists()
    torch.load(io.BytesIO(data), weights_only=False)
    assert trace.exists()  # the pickle is one that would have


def test_the_notebooks_two_state_dicts_load(tmp_path):
    """cnn5 with 3 channels at 224 px, as `torch.save(model.state_dict(), ...)` writes it."""
    names = ["pneumonia_cnn_model_15epochs.pth", "pneumonia_CNN_model_random_label_epochs_15.pth"]
    for seed, name in enumerate(names):
        torch.manual_seed(seed)
        source = networks.build("cnn5", image_size=224, channels=3, outputs=1)
        torch.save(source.state_dict(), tmp_path / name)
        model = networks.build("cnn5", image_size=224, channels=3, outputs=1)
        assert_same(checkpoints.load_state(model, tmp_path / name).state_dict(), source.state_dict())
    with pytest.raises(ValueError, match=r"'conv1.0.weight'.* \(32, 3, 3, 3\), the network needs \(32, 1, 3, 3\)"):
        checkpoints.load_state(networks.build("cnn5", image_size=224, channels=1, outputs=1), tmp_path / names[0])
