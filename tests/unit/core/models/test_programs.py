"""Networks that are files give the maps of the network they were made from."""

import io
import warnings

import pytest
import torch
from torch import nn

from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.models import checkpoints, networks, programs

SHAPE = {"image_size": 16, "channels": 1, "outputs": 1}
PREPROCESS = Preprocess(16)
ZERO = torch.zeros(2, dtype=torch.int64)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 1)

    def forward(self, inputs_BCHW):
        return self.fc(self.drop(self.features(inputs_BCHW).mean((2, 3))))


def network(seed=0):
    torch.manual_seed(seed)
    return Small().eval()


def images(count=2):
    return torch.randn(count, 1, 16, 16, generator=torch.Generator().manual_seed(9))


def scripted(model):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises against writing these files
        torch.jit.save(torch.jit.script(model), file)
    return file.getvalue()


def exported(model, inputs=None, **options):
    file = io.BytesIO()
    options = options or {"dynamic_shapes": ({0: torch.export.Dim.AUTO},)}
    torch.export.save(torch.export.export(model, (images() if inputs is None else inputs,), **options), file)
    return file.getvalue()


OPEN_WIDTH = ({0: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
FILES = {"TorchScript": scripted, "torch.export": exported}


@pytest.mark.parametrize("kind", FILES)
def test_programs_are_told_by_their_content_and_state_dicts_are_none(kind):
    assert programs.kind_of(FILES[kind](network())) == kind
    saved = io.BytesIO()
    torch.save(network().state_dict(), saved)
    assert programs.kind_of(saved.getvalue()) is None
    assert programs.kind_of(b"text") is None


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("method", ["integrated_gradients", "grad_cam", "saliency"])
def test_maps_of_a_program_are_those_of_its_network(kind, method):
    model, program = network(), networks.program("mine.pt", FILES[kind](network()), **SHAPE)
    options = {method: {"layer": "features.1"} if method == "grad_cam" else {}}
    if (kind, method) == ("TorchScript", "grad_cam"):
        with pytest.raises(ValueError, match="grad_cam cannot look into the layers of a TorchScript network"):
            Explainer(program, options, PREPROCESS)
        return
    wanted = Explainer(model, options, PREPROCESS)(images(), ZERO).maps[method]
    found = Explainer(program, options, PREPROCESS)(images(), ZERO).maps[method]
    assert wanted.abs().max() > 0
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)


def test_grad_cam_of_a_program_without_a_layer_lists_its_convolutions():
    program = networks.program("mine.pt2", exported(network()), **SHAPE)
    with pytest.raises(ValueError, match=r"name a layer in grad_cam.layer \(the last there are: features.0\), or drop"):
        Explainer(program, {"grad_cam": {}}, PREPROCESS)


@pytest.mark.parametrize("kind", FILES)
def test_methods_that_change_the_gradient_of_a_relu_are_refused(kind):
    program = networks.program("mine.pt", FILES[kind](network()), **SHAPE)
    with pytest.raises(ValueError, match=f"guided_backprop cannot look into the layers of a {kind} network"):
        Explainer(program, {"guided_backprop": {}}, PREPROCESS)


@pytest.mark.parametrize("kind", FILES)
def test_a_program_takes_the_weights_of_another(kind):
    program, other = networks.program("mine.pt", FILES[kind](network(0)), **SHAPE), network(1)
    before = program(images())
    checkpoints.load_state(program, FILES[kind](other))
    assert not torch.equal(before, program(images()))
    torch.testing.assert_close(program(images()), other(images()))
    fresh = networks.program("mine.pt", FILES[kind](network(0)), **SHAPE)
    checkpoints.load_state(fresh, checkpoints.state_bytes(program))  # how a run keeps it
    assert torch.equal(fresh(images()), program(images()))


@pytest.mark.parametrize("kind", FILES)
def test_a_program_is_not_run_for_its_weights_alone(kind):
    with pytest.raises(ValueError, match=rf"checkpoint: a {kind} program, .* set network.name to this file"):
        checkpoints.load_state(network(), FILES[kind](network()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: exported(OneImage(), images(1), strict=False),
            "takes batches of one size only: export it",
        ),
        (
            lambda: exported(Flat(64), images(2)[:, :, :8, :8].contiguous()),
            r"was exported for images of shape \(1, 8, 8\), not \(1, 16, 16\): set data.image_size to its size, or",
        ),
        (
            lambda: exported(network(), images()[:, :, :12].contiguous(), dynamic_shapes=OPEN_WIDTH),
            r"was exported for images of shape \(1, 12, any\), not \(1, 16, 16\)",
        ),
        (lambda: scripted(Flat(64)), r"cannot take an image of shape \(1, 16, 16\)"),
        (lambda: scripted(Flat(256, 2)), r"must return logits of shape \(B, 1\)"),
        (lambda: traced_in_training_mode(), "was saved in training mode: call model.eval()"),
        (lambda: exported(network())[:500], "neither a TorchScript nor a torch.export file"),
        (lambda: damaged(scripted(network())), "cannot open this TorchScript file"),
    ],
    ids=[
        "one batch size",
        "other image size",
        "other height",
        "TorchScript",
        "other outputs",
        "training mode",
        "no archive",
        "damaged",
    ],
)
def test_programs_that_do_not_fit_are_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        networks.program("mine.pt", make(), **SHAPE)
    assert "\n" not in str(error.value)


class OneImage(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(256, 1)

    def forward(self, inputs_1CHW):
        return self.fc(inputs_1CHW.reshape(1, 256))


class Flat(nn.Module):  # torch 2.6 cannot open again what it exports of nn.Sequential(nn.Flatten(), ...)
    def __init__(self, pixels, outputs=1):
        super().__init__()
        self.fc = nn.Linear(pixels, outputs)

    def forward(self, inputs_BCHW):
        return self.fc(inputs_BCHW.flatten(1))


def traced_in_training_mode():
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the trace is not deterministic, which is the point
        torch.jit.save(torch.jit.trace(network().train(), images(), check_trace=False), file)
    return file.getvalue()


def damaged(data):
    """The archive without the object that holds its modules."""
    import zipfile

    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(kept, "w") as target:
        for name in source.namelist():
            if not name.endswith("data.pkl"):
                target.writestr(name, source.read(name))
    return kept.getvalue()


def test_a_program_of_any_size_takes_another_than_it_was_traced_with():
    anywhere = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    program = networks.program(
        "mine.pt2", exported(network(), dynamic_shapes=(anywhere,)), **SHAPE | {"image_size": 24}
    )
    inputs = torch.randn(2, 1, 24, 24)
    torch.testing.assert_close(program(inputs), network()(inputs))


def test_a_program_in_ones_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.pt").write_bytes(scripted(network()))
    torch.testing.assert_close(networks.build("~/mine.pt", **SHAPE)(images()), network()(images()))


def test_a_missing_program_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"network.name = '.*gone\.pt': cannot read the file: No such file"):
        networks.build(str(tmp_path / "gone.pt"), **SHAPE)
