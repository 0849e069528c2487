"""DeepLIFT and Guided Backpropagation: against captum where it is right, and solved by hand where it is not."""

import captum.attr
import pytest
import torch
from torch import nn
from torch.nn import functional

from pneumo_batch.core.attribution import rules
from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.attribution.methods import CAPTUM, Context
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.models import networks

PREPROCESS = Preprocess(32)
ZERO = torch.zeros(1, dtype=torch.int64)
RULED = ("deep_lift", "guided_backprop", "guided_grad_cam")


def image(size=32, seed=0):
    return torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(seed))


def built(name, size=32):
    torch.manual_seed(0)
    return networks.build(name, image_size=size, channels=1, outputs=1).eval()


def captums(name, model, inputs_1CHW, baseline_1CHW, layer):
    inputs_1CHW = inputs_1CHW.clone().requires_grad_()
    if name == "deep_lift":
        return captum.attr.DeepLift(model).attribute(inputs_1CHW, baseline_1CHW, target=0)
    if name == "guided_backprop":
        return captum.attr.GuidedBackprop(model).attribute(inputs_1CHW, target=0)
    method = captum.attr.GuidedGradCam(model, model.get_submodule(layer))
    return method.attribute(inputs_1CHW, target=0, interpolate_mode="bilinear")


@pytest.mark.filterwarnings("ignore:.*hooks:UserWarning")
@pytest.mark.parametrize("name", RULED)
def test_maps_of_modules_used_once_are_those_of_captum_bit_by_bit(name):
    model, inputs_1CHW, baseline_1CHW = built("cnn5"), image(), image(seed=1)
    ours = CAPTUM[name](model, inputs_1CHW.clone().requires_grad_(), 0, Context(baseline_1CHW, "conv4.1"))
    assert torch.equal(ours, captums(name, model, inputs_1CHW, baseline_1CHW, "conv4.1"))
    assert ours.abs().max() > 0


class Written(nn.Module):
    """One network, whose activations are written in different ways."""

    def __init__(self, first, second, pool):
        super().__init__()
        self.first, self.second, self.pool = first, second, pool
        self.a, self.b, self.fc = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 1)

    def forward(self, inputs_BCHW):
        maps = self.pool(self.first(self.a(inputs_BCHW)))
        return self.fc(self.second(self.b(maps)).mean((2, 3)))


def in_place(values):
    functional.relu(values, inplace=True)  # and what it returns is not used
    return values


SHARED = nn.ReLU()
WAYS = {
    "F.relu": (functional.relu, torch.relu, lambda values: functional.max_pool2d(values, 3, 2)),
    "methods": (torch.Tensor.relu_, torch.Tensor.relu, nn.MaxPool2d(3, 2)),
    "one module twice": (SHARED, SHARED, nn.MaxPool2d(3, 2)),
    "in place": (in_place, nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
    "clamp": (
        lambda values: values.clamp(min=0),
        lambda values: functional.threshold(values, 0, 0),
        nn.MaxPool2d(3, 2),
    ),
    "by name": (lambda values: torch.relu(input=values), lambda values: torch.clamp_min(values, 0), nn.MaxPool2d(3, 2)),
}


def written(*parts):
    torch.manual_seed(0)
    model = Written(*parts).eval()
    nn.init.ones_(model.fc.weight)  # so that its Grad-CAM has a positive part
    nn.init.constant_(model.b.bias, 0.3)
    return model


@pytest.mark.parametrize("name", RULED)
@pytest.mark.parametrize("way", WAYS)
def test_maps_do_not_depend_on_how_an_activation_is_written(way, name):
    methods = {name: {}, "grad_cam": {"layer": "b"}}
    maps = [
        Explainer(written(*parts), methods, PREPROCESS)(image(), ZERO).maps[name]
        for parts in ((nn.ReLU(), nn.ReLU(), nn.MaxPool2d(3, 2)), WAYS[way])
    ]
    assert torch.equal(*maps)
    assert maps[0].abs().max() > 0


@pytest.mark.parametrize("name", ["deep_lift", "guided_backprop"])
def test_torchvisions_densenet_has_the_maps_of_one_written_with_modules(name):
    """It calls functional.relu before its classifier."""
    densenet = built("densenet121")
    modules = nn.Sequential(
        densenet.features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), densenet.classifier
    ).eval()
    maps = [Explainer(model, {name: {}}, PREPROCESS)(image(), ZERO).maps[name] for model in (densenet, modules)]
    torch.testing.assert_close(*maps, rtol=1e-4, atol=1e-7)
    assert maps[0].abs().max() > 1e-4


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "squeezenet1_1"])
def test_contributions_add_up_to_the_change_of_the_logit(name):
    model, baseline_1CHW = built(name, 64).double(), image(64, seed=1).double()
    inputs_1CHW = image(64).double()
    found = rules.deep_lift(model, inputs_1CHW, baseline_1CHW, 0).sum()
    torch.testing.assert_close(found, (model(inputs_1CHW) - model(baseline_1CHW))[0, 0], rtol=1e-9, atol=1e-12)


def vector(*values):
    return torch.tensor([[[[*values]]]], dtype=torch.float64)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, inputs_BCHW):
        return self.function(inputs_BCHW).flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("function", "image_at", "baseline_at", "wanted"),
    [
        # relu rises by 1 while its input rises by 3: slope 1/3, and 1 of the other way
        (lambda x: functional.relu(x) + x, (1.0,), (-2.0,), (4.0,)),
        # the maximum rises from 2 (second) to 5 (first): all to the first, which rose
        (lambda x: functional.max_pool2d(x, (1, 2)), (5.0, 2.0), (1.0, 2.0), (3.0, 0.0)),
        # it falls from 5 (first) to 2 (second)
        (lambda x: functional.max_pool2d(x, (1, 2)), (1.0, 2.0), (5.0, 2.0), (-3.0, 0.0)),
        # two windows share the middle: each gives it its rise
        (lambda x: functional.max_pool2d(x, (1, 2), stride=1), (0.0, 4.0, 1.0), (0.0, 1.0, 1.0), (0.0, 6.0, 0.0)),
        # behind a ReLU: from relu(-2) = 0 to 3, slope 3/5 of a change of 5
        (lambda x: functional.max_pool2d(functional.relu(x), (1, 2)), (3.0, 0.0), (-2.0, 0.0), (3.0, 0.0)),
    ],
)
def test_deep_lift_by_hand(function, image_at, baseline_at, wanted):
    found = rules.deep_lift(Function(function), vector(*image_at), vector(*baseline_at), 0)
    torch.testing.assert_close(found, vector(*wanted))


def test_guided_backpropagation_by_hand():
    """y = relu(x) - 2 relu(x - 1) + x at 3: of the slopes 1, -2 and 1 the negative one does not pass its ReLU."""
    inputs_1CHW = vector(3.0).requires_grad_()
    model = Function(lambda x: functional.relu(x) - 2 * functional.relu(x - 1) + x)
    assert rules.guided_gradient(model, inputs_1CHW, 0).item() == 2.0


@pytest.mark.parametrize(
    "function",
    [lambda x: x * x.mean((1, 2, 3), keepdim=True), lambda x: x * torch.sigmoid(x), lambda x: x.amax((2, 3))],
)
def test_deep_lift_refuses_what_does_not_add_up(function):
    with pytest.raises(ValueError, match="deep_lift is not defined for this network: contributions") as error:
        rules.check_deep_lift(Function(function), torch.zeros(1, 1, 8, 8))
    assert "\n" not in str(error.value)


def test_a_head_that_begins_with_zeros_hides_nothing_from_the_check():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, 1))
    nn.init.zeros_(model[2].weight)
    with pytest.raises(ValueError, match="layer norm"):
        rules.check_deep_lift(model, torch.zeros(1, 1, 8, 8))
    assert not model[2].weight.any()


@pytest.mark.parametrize(
    ("activation", "name"),
    [(nn.SiLU(), "silu"), (nn.ReLU6(), "hardtanh"), (functional.gelu, "gelu"), (torch.tanh, "tanh")],
)
def test_guided_methods_refuse_networks_of_other_activations(activation, name):
    model = written(nn.ReLU(), activation, nn.MaxPool2d(2))
    with pytest.raises(ValueError, match=f"guided methods change the gradient of ReLU, and this network has {name}"):
        _ = Explainer(model, {"guided_backprop": {}}, PREPROCESS).map_shapes


def test_deep_lift_runs_where_a_network_makes_tensors_in_single_precision():
    model = Function(lambda x: functional.conv2d(functional.relu(x), torch.ones(1, 1, 3, 3)))
    rules.check_deep_lift(model, torch.zeros(1, 1, 8, 8))
