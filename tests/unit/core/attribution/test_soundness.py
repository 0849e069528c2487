"""Networks that answer an image twice differently, or by what is beside it, are refused; others are not."""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional

from pneumo_batch.core.attribution import soundness
from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.models import networks

EXAMPLE = torch.zeros(1, 1, 16, 16)


class Body(nn.Module):
    """Convolutions around a function of maps (B, 4, H, W)."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.function, self.a, self.b, self.fc = function, nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 1)

    def forward(self, inputs_BCHW):
        return self.fc(functional.relu(self.b(self.function(self.a(inputs_BCHW)))).mean((2, 3)))


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, maps_BCHW):
        self.calls += 1
        return maps_BCHW * self.calls


class Training(nn.BatchNorm2d):
    """A batch norm that stays in training mode."""

    def train(self, mode=True):
        return super().train(True)


def rarely(maps_BCHW):
    """Stochastic depth: the block is left out of one pass in a thousand."""
    return maps_BCHW * (torch.rand(()) > 1e-3)


RANDOM, AGAIN, BESIDE = "draws random numbers in eval mode", "sees the same image again", "the images beside it"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda maps: functional.dropout(maps, 0.1), RANDOM),
        (lambda maps: maps + 0.1 * torch.randn_like(maps), RANDOM),
        (rarely, RANDOM),
        (lambda maps: maps * (random.random() > 1e-3), RANDOM),
        (Counting(), AGAIN),
        (nn.BatchNorm2d(4, track_running_stats=False), BESIDE),
        (Training(4, momentum=0.0), BESIDE),
        (lambda maps: maps - maps.mean(), BESIDE),
        (lambda maps: maps[:1], "takes no batches|the images beside it"),
        (lambda maps: maps.view(1, 4, 14, 14), "takes no batches"),
    ],
    ids=["dropout", "noise", "depth", "python", "counter", "no statistics", "training", "batch mean", "first", "view"],
)
def test_networks_without_one_map_of_an_image_are_refused_in_one_line(function, message):
    with pytest.raises(ValueError, match=message) as error:
        Explainer(Body(function), {"integrated_gradients": {}}, Preprocess(16))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "function",
    [
        nn.Identity(),
        nn.BatchNorm2d(4),
        nn.InstanceNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.Dropout(0.5),
        lambda maps: maps - maps.mean((1, 2, 3), keepdim=True),
        lambda maps: maps + torch.randn(maps.shape[1:], generator=torch.Generator().manual_seed(0)),
        nn.Softmax(1),
        torch.log,  # of which noise, below 0, has none
    ],
)
def test_sound_networks_pass_and_draw_nothing(function):
    model = Body(function).eval()
    torch.manual_seed(5)
    soundness.check(model, EXAMPLE)
    assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(5)))


def test_noise_behind_a_block_that_begins_with_zeros_is_found():
    model = Body(lambda maps: functional.dropout(maps, 0.5))
    nn.init.zeros_(model.fc.weight)
    with pytest.raises(ValueError, match=RANDOM):
        soundness.check(model.eval(), EXAMPLE)


def test_a_network_whose_head_is_zero_shows_its_batch_statistics():
    model = Body(nn.BatchNorm2d(4, track_running_stats=False))
    nn.init.zeros_(model.fc.weight)
    with pytest.raises(ValueError, match=BESIDE):
        soundness.check(model.eval(), EXAMPLE)


@pytest.mark.parametrize("seed", range(3))
def test_batch_statistics_show_in_a_network_that_is_linear_otherwise(seed):
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 1))
    with pytest.raises(ValueError, match=BESIDE):
        soundness.check(model.eval(), torch.zeros(1, 1, 64, 64))


@pytest.mark.parametrize(
    ("head", "wanted"), [((), False), ((nn.Sigmoid(),), True), ((nn.Softmax(1),), True), ((nn.Tanh(),), False)]
)
def test_probabilities_are_told_from_logits_of_that_size(head, wanted):
    body = nn.Linear(16, 2)
    nn.init.constant_(body.bias, 0.5)
    nn.init.normal_(body.weight, std=1e-3, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), body, *head).eval()
    example_1CHW = torch.zeros(1, 1, 16, 16)
    outputs = model(example_1CHW)
    assert ((outputs > 0) & (outputs < 1)).all()
    assert soundness.gives_probabilities(model, example_1CHW) is wanted


def test_which_networks_need_no_look():
    built = networks.build("resnet18", image_size=32, channels=1, outputs=1)
    assert soundness.is_known(built)
    assert not soundness.is_known(Body(nn.Identity()))
    built.layer1[0].bn1 = nn.BatchNorm2d(64, track_running_stats=False)
    assert not soundness.is_known(built)
    assert not soundness.is_known(torch.fx.symbolic_trace(nn.Sequential(nn.ReLU())))
