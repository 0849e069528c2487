"""Maps of a network and images in memory, in whatever block the caller is; one line for what does not fit."""

import pytest
import torch
from torch import nn

from pneumo_batch import attribution

BOTH = ("integrated_gradients", "grad_cam")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 1))


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def in_inference_mode(model, images):
    with torch.inference_mode():
        return attribution.attribute(model, images.clone(), BOTH)


def in_autocast(model, images):
    with torch.autocast("cpu", torch.bfloat16):
        found = attribution.attribute(model, images, BOTH)
        assert torch.is_autocast_enabled("cpu")
    return found


@pytest.mark.parametrize("explain", [in_inference_mode, in_autocast])
def test_maps_are_the_same_in_whatever_block_they_are_asked_for(explain, network, images):
    wanted, found = attribution.attribute(network, images, BOTH), explain(network, images)
    for method in BOTH:
        assert torch.equal(found[method], wanted[method])


class Otherwise(nn.Module):
    """A network with something else for its logits."""

    def __init__(self, network, answer):
        super().__init__()
        self.network, self.answer = network, answer

    def forward(self, images):
        return self.answer(self.network(images))


@pytest.mark.parametrize(
    ("answer", "found"), [(lambda logits: logits[:, 0], r"\(1,\)"), (lambda logits: (logits, logits), "tuple")]
)
@pytest.mark.parametrize("method", BOTH)
def test_networks_without_logits_of_an_image_are_refused(answer, found, method, network, images):
    with pytest.raises(ValueError, match=rf"^model: the network must return logits \(1, K\) .*, not {found}$"):
        attribution.attribute(Otherwise(network, answer), images, [method])


def test_a_network_without_weights_is_refused(images):
    with pytest.raises(ValueError, match="model: the network has no weights"):
        attribution.attribute(nn.Flatten(), images)


def test_a_mistake_of_a_users_method_is_not_taken_for_one_of_the_target(network, images):
    def method(model, inputs_1CHW, targets_1):
        return [inputs_1CHW][1]

    with pytest.raises(IndexError, match="list index"):
        attribution.attribute(network, images, [method])
    with pytest.raises(ValueError, match="target: the network has no output 1; they count from 0"):
        attribution.attribute(network, images, [method], target=[0, 1])
