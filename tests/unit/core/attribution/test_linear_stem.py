import pytest
import torch
from torch import nn

from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.attribution.integrated_gradients import default_pass_size
from pneumo_batch.core.attribution.linear_stem import LinearStem
from pneumo_batch.core.data.images import Preprocess


class Skip(nn.Module):
    """The input goes around the first convolution as well."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, inputs_BCHW):
        return (self.conv(inputs_BCHW) * inputs_BCHW).sum((2, 3))


class Twice(Skip):
    """The first convolution runs again, on its own output."""

    def forward(self, inputs_BCHW):
        return self.conv(torch.relu(self.conv(inputs_BCHW))).sum((2, 3))


class InPlace(Skip):
    """Overwrites the first convolution's output."""

    def forward(self, inputs_BCHW):
        return torch.relu_(self.conv(inputs_BCHW)).square().sum((2, 3))


class Branches(nn.Module):
    """Two convolutions take the input."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)

    def forward(self, inputs_BCHW):
        return (self.left(inputs_BCHW) * self.right(inputs_BCHW)).sum((2, 3))


class Scaled(nn.Conv2d):
    """A subclass that is not linear."""

    def forward(self, inputs_BCHW):
        return super().forward(inputs_BCHW).square()


def scaled():
    return nn.Sequential(Scaled(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1))


def normalised():
    return nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def reference(model, inputs_BCHW, steps):
    """Midpoint Integrated Gradients from 0, written down."""
    total = torch.zeros_like(inputs_BCHW)
    for k in range(steps):
        point = (inputs_BCHW * (k + 0.5) / steps).requires_grad_()
        total += torch.autograd.grad(model(point).sum(), point)[0] / steps
    return (inputs_BCHW * total).sum(1)


@pytest.mark.parametrize("make", [Skip, Twice, InPlace, Branches, scaled, normalised])
def test_networks_that_cannot_be_cut_take_the_plain_path_and_are_right(make):
    torch.manual_seed(0)
    model = make().double().eval()
    explainer = Explainer(model, {"integrated_gradients": {"steps": 9}}, Preprocess(8, mean=0.0))
    assert explainer.linear_stem is None
    inputs_BCHW = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    found = explainer(inputs_BCHW, torch.zeros(1, dtype=torch.int64)).maps["integrated_gradients"]
    torch.testing.assert_close(found, reference(model, inputs_BCHW, 9), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_strides_groups_and_padding_modes_are_cut_exactly(padding_mode):
    torch.manual_seed(0)
    first = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, padding_mode=padding_mode)
    model = nn.Sequential(first, nn.ELU(), nn.Flatten(), nn.Linear(4 * 16, 1)).double().eval()
    explainer = Explainer(model, {"integrated_gradients": {"steps": 9}}, Preprocess(8, channels=2, mean=0.0))
    assert explainer.linear_stem == "0"
    inputs_BCHW = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    found = explainer(inputs_BCHW, torch.zeros(1, dtype=torch.int64)).maps["integrated_gradients"]
    torch.testing.assert_close(found, reference(model, inputs_BCHW, 9), rtol=1e-9, atol=1e-12)


def test_the_pass_size_follows_from_the_largest_activation():
    # 8 channels of 64 x 64 in float32 are 128 KiB: 256 of them are 32 MiB
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 64 * 64, 1))
    model.eval().requires_grad_(False)
    example_1CHW = torch.zeros(1, 1, 64, 64)
    assert default_pass_size(LinearStem.of(model, example_1CHW), example_1CHW) == 256
