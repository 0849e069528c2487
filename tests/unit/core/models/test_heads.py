import functools

import pytest
import torch
from torch import nn

from pneumo_batch.core.models import heads, networks

ZERO_1CHW = torch.zeros(1, 1, 64, 64)
INPUTS_BCHW = torch.randn((3, 1, 64, 64), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["cnn5", "resnet18"])
def test_the_outputs_that_are_picked_are_those_of_the_whole_network(name):
    build = functools.partial(networks.build, name, image_size=64, channels=1)
    whole = build(outputs=6).eval()
    some = heads.picked(whole, build, [4, 0], ZERO_1CHW).eval()
    with torch.no_grad():
        torch.testing.assert_close(some(INPUTS_BCHW), whole(INPUTS_BCHW)[:, [4, 0]], rtol=1e-5, atol=1e-6)
    assert networks.grad_cam_layer(some) == networks.grad_cam_layer(whole)


def test_as_many_outputs_in_another_order():
    build = functools.partial(networks.build, "cnn5", image_size=64, channels=1)
    whole = build(outputs=2).eval()
    some = heads.picked(whole, build, [1, 0], ZERO_1CHW).eval()
    with torch.no_grad():
        torch.testing.assert_close(some(INPUTS_BCHW), whole(INPUTS_BCHW)[:, [1, 0]], rtol=1e-5, atol=1e-6)


class Normalised(nn.Module):
    """Its outputs depend on each other."""

    def __init__(self, outputs):
        super().__init__()
        self.head = nn.Linear(64 * 64, outputs)

    def forward(self, inputs_BCHW):
        return self.head(inputs_BCHW.flatten(1)).softmax(1)


def test_outputs_that_depend_on_the_others_cannot_be_picked():
    with pytest.raises(ValueError, match=r"^outputs cannot be picked: the rows of its head give other logits"):
        heads.picked(Normalised(4), lambda outputs: Normalised(outputs), [0, 2], ZERO_1CHW)


def test_places_are_by_name_and_a_missing_one_is_said():
    assert heads.places(["Mass", "", "Edema", ""], ["Edema", "Mass"]) == [2, 0]
    with pytest.raises(ValueError, match=r"^outputs has no 'Hernia', which the job asks for; it names Mass, Edema$"):
        heads.places(["Mass", "", "Edema"], ["Edema", "Hernia"])
