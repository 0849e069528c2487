import copy

import pytest
import torch
from torch import nn

from pneumo_batch.core.attribution.pooling import pool_first


def batch_norm(channels):
    norm = nn.BatchNorm2d(channels)
    nn.init.normal_(norm.weight)  # some decrease
    nn.init.normal_(norm.bias)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm


CASES = {
    "seed": lambda: [nn.ReLU(), nn.Dropout(0.1), batch_norm(6), nn.MaxPool2d(2)],
    "two norms": lambda: [batch_norm(6), nn.ReLU(), batch_norm(6), nn.MaxPool2d(3, stride=2, padding=1)],
    "vgg": lambda: [nn.ReLU(), nn.MaxPool2d(2)],
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_stay_and_the_pool_moves(case, bias):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3, bias=bias), *CASES[case](), nn.Conv2d(6, 1, 2)).double().eval()
    model.requires_grad_(False)
    moved = pool_first(copy.deepcopy(model))
    assert isinstance(moved[1], nn.MaxPool2d)
    assert len(moved) == len(model)
    assert moved[-1].weight.equal(model[-1].weight)
    inputs_BCHW = torch.randn(2, 2, 12, 12, dtype=torch.float64, requires_grad=True)
    wanted, found = model(inputs_BCHW), moved(inputs_BCHW)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(output.square().sum(), inputs_BCHW)[0] for output in (wanted, found)]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [nn.Conv2d(2, 6, 3), nn.MaxPool2d(2)],  # nothing to gain
        lambda: [nn.Conv2d(2, 6, 3), nn.GELU(), nn.MaxPool2d(2)],  # not monotone
        lambda: [nn.Conv2d(2, 6, 3), nn.ReLU(), nn.AvgPool2d(2)],  # a mean does not commute
        lambda: [nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2)],  # no convolution to take the sign
    ],
)
def test_other_sequences_are_left_alone(layers):
    model = nn.Sequential(*layers()).eval()
    before = list(model)
    assert list(pool_first(model)) == before
