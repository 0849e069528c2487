"""Grad-CAM of tokens against a computation by hand, and what it refuses."""

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.models import networks

PREPROCESS = Preprocess(16, channels=3)
ZERO = torch.zeros(1, dtype=torch.int64)


def transformer():
    torch.manual_seed(0)
    model = VisionTransformer(
        image_size=16, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=1
    )
    nn.init.normal_(model.heads.head.weight)  # torchvision starts with a head of zeros
    return model.eval()


def image():
    return torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_grad_cam_of_a_vision_transformer_is_that_of_its_patches():
    model, layer = transformer(), "encoder.layers.encoder_layer_1.ln_1"
    assert networks.grad_cam_layer(model) == layer
    found = Explainer(model, {"grad_cam": {}}, PREPROCESS)(image(), ZERO).maps["grad_cam"]
    seen = []
    model.get_submodule(layer).register_forward_hook(lambda *call: seen.append(call[2]))
    gradient = torch.autograd.grad(model(image())[0, 0], seen[0])[0][0]
    tokens = seen[0][0].detach()
    weights = [sum(float(gradient[1 + t, c]) for t in range(16)) / 16 for c in range(8)]
    wanted = [[sum(weights[c] * float(tokens[1 + 4 * h + w, c]) for c in range(8)) for w in range(4)] for h in range(4)]
    torch.testing.assert_close(found, torch.tensor([wanted]), rtol=1e-4, atol=1e-7)


def test_integrated_gradients_of_a_vision_transformer_are_complete():
    explainer = Explainer(transformer(), {"integrated_gradients": {"steps": 200}}, PREPROCESS)
    found = explainer(image(), ZERO)
    total = float(found.maps["integrated_gradients"].sum())
    assert abs(float(found.deltas["integrated_gradients"])) < 1e-3 * abs(total)


def test_a_layer_behind_the_last_attention_is_refused():
    with pytest.raises(ValueError, match=r"not depend on the patches at .*'encoder.ln': choose one before"):
        Explainer(transformer(), {"grad_cam": {"layer": "encoder.ln"}}, PREPROCESS)


class ChannelsLast(nn.Module):
    """A linear layer applied to every pixel."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(3, 5)
        self.head = nn.Linear(5, 1)

    def forward(self, inputs_BCHW):
        return self.head(self.mix(inputs_BCHW.permute(0, 2, 3, 1)).mean((1, 2)))


class Reused(nn.Module):
    """One convolution, used twice."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(3, 1)

    def forward(self, inputs_BCHW):
        return self.head(self.mix(self.mix(inputs_BCHW).relu_()).mean((2, 3)))


@pytest.mark.parametrize(
    ("model", "message"),
    [(ChannelsLast, r"'mix' does not give maps \(B, C, h, w\) or tokens"), (Reused, "'mix' runs 2 times in a forward")],
)
def test_layers_without_maps_of_their_own_are_named(model, message):
    with pytest.raises(ValueError, match=message):
        Explainer(model(), {"grad_cam": {"layer": "mix"}}, PREPROCESS)


def test_a_reused_layer_is_no_obstacle_to_integrated_gradients():
    torch.manual_seed(0)
    found = Explainer(Reused(), {"integrated_gradients": {"steps": 500}}, PREPROCESS)(image(), ZERO)
    assert abs(float(found.deltas["integrated_gradients"])) < 2e-2 * abs(
        float(found.maps["integrated_gradients"].sum())
    )
