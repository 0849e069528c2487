"""What training starts from; the files are written here, since nothing is downloaded."""

import io

import pytest
import torch
import torchvision
from torch import nn

from pneumo_batch.core.models import networks, pretrained


class Small(nn.Module):
    def __init__(self, channels, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4, 3)
        self.bn1 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, outputs)

    def features(self, inputs_BCHW):
        return self.bn1(self.conv1(inputs_BCHW)).relu().mean((2, 3))

    def forward(self, inputs_BCHW):
        return self.fc(self.features(inputs_BCHW))


def small(seed, channels=3, outputs=1000):
    torch.manual_seed(seed)
    return Small(channels, outputs).eval()


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def test_a_gray_network_gives_what_the_file_gave_for_three_equal_channels():
    source, model = small(0), small(1, channels=1, outputs=1)
    head = model.fc.weight.detach().clone()
    assert pretrained.start_from(model, saved(source.state_dict()), "imagenet") is model
    gray = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(model.features(gray), source.features(gray.repeat(1, 3, 1, 1)))
    assert torch.equal(model.fc.weight, head)  # of another shape: left as it was


def test_a_head_that_fits_is_taken_too():
    source, model = small(0, channels=1, outputs=1), small(1, channels=1, outputs=1)
    pretrained.start_from(model, saved(source.state_dict()), "file")
    assert torch.equal(model.fc.weight, source.fc.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bn1.weight": None}, r"no 'bn1.weight' \(shape \(4,\)\)"),
        ({"bn1.weight": torch.ones(5)}, r"'bn1.weight' has shape \(5,\), the network needs \(4,\)"),
        ({"bn1.bias": torch.full((4,), float("nan"))}, "'bn1.bias' has values that are not finite"),
        ({"other.weight": torch.ones(1)}, "it has 'other.weight', which the network does not have"),
    ],
)
def test_weights_that_do_not_fit_are_named(change, message):
    state = {key: value for key, value in (small(0).state_dict() | change).items() if value is not None}
    with pytest.raises(ValueError, match=f"mine.pth: .*{message}"):
        pretrained.start_from(small(1), saved(state), "mine.pth")


def test_older_files_without_counters_of_batch_norm_are_taken():
    source = small(0).state_dict()
    del source["bn1.num_batches_tracked"]
    found = pretrained.start_from(small(1), saved(source), "old.pth").state_dict()
    assert torch.equal(found["bn1.weight"], source["bn1.weight"])
    assert torch.equal(found["conv1.weight"], source["conv1.weight"])


def test_a_file_with_raw_and_averaged_weights_is_refused():
    both = {"state_dict": small(0).state_dict(), "state_dict_ema": small(1).state_dict()}
    with pytest.raises(ValueError, match=r"both.pth: 2 sets of weights .* 'state_dict.', 'state_dict_ema.': save the"):
        pretrained.start_from(small(2), saved(both), "both.pth")


def test_a_file_in_ones_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "start.pth").write_bytes(saved(small(0).state_dict()))
    assert pretrained.place("cnn5", "~/start.pth") == tmp_path / "start.pth"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("features.denseblock1.denselayer2.norm.1.weight", "features.denseblock1.denselayer2.norm1.weight"),
        ("features.denseblock4.denselayer16.conv.2.weight", "features.denseblock4.denselayer16.conv2.weight"),
        ("encoder.layers.encoder_layer_3.mlp.linear_1.bias", "encoder.layers.encoder_layer_3.mlp.0.bias"),
        ("encoder.layers.encoder_layer_3.mlp.linear_2.weight", "encoder.layers.encoder_layer_3.mlp.3.weight"),
        ("features.norm5.weight", "features.norm5.weight"),
    ],
)
def test_names_of_torchvisions_older_files(old, new):
    """The new ones are those of torchvision's own state dicts."""
    with torch.device("meta"):
        names = {*torchvision.models.densenet121().state_dict(), *torchvision.models.vit_b_16().state_dict()}
    assert pretrained.renamed(old) == new
    assert new in names


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "googlenet"])
def test_imagenet_weights_come_from_torchvisions_cache(name, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ValueError, match=rf'network.weights = "imagenet": .*{name}.* is not there.*fetch https://'):
        pretrained.place(name, "imagenet")
    torch.manual_seed(0)
    options = {"init_weights": True} if name == "googlenet" else {}  # with its auxiliary heads, as published
    source = torchvision.models.get_model(name, weights=None, **options)
    file = tmp_path / "checkpoints" / torchvision.models.get_model_weights(name).DEFAULT.url.rpartition("/")[2]
    file.parent.mkdir()
    file.write_bytes(saved(source.state_dict()))
    place = pretrained.place(name, "imagenet")
    assert place == file
    model = networks.build(name, image_size=64, channels=1, outputs=1)
    pretrained.start_from(model, place.read_bytes(), str(place))
    wanted, found = source.state_dict(), model.state_dict()
    first, *body = [key for key in found if not key.startswith(("fc.", "classifier."))]
    assert torch.equal(found[first], wanted[first].sum(1, keepdim=True))
    assert all(torch.equal(found[key], wanted[key]) for key in body)


def test_what_weights_may_be(tmp_path):
    assert pretrained.place("cnn5", "none") is None
    with pytest.raises(ValueError, match="\"imagenet\" needs a torchvision network, not 'cnn5': name a file"):
        pretrained.place("cnn5", "imagenet")
    with pytest.raises(ValueError, match=r"network.weights: no file .*gone\.pth"):
        pretrained.place("cnn5", str(tmp_path / "gone.pth"))
