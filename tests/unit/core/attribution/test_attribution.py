"""Maps against closed forms and against captum."""

import gc
import weakref

import captum.attr
import numpy as np
import pytest
import torch
from helpers.random_networks import network
from torch import nn

from pneumo_batch.core.attribution import explainer as attribution
from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.models import networks

ZERO = torch.zeros(1, dtype=torch.int64)
TINY = Preprocess(size=2, mean=0.0, std=1.0)  # black is 0


def explain(model, inputs_BCHW, preprocess=TINY, targets_B=None, **options):
    explainer = Explainer(model, {"integrated_gradients": options}, preprocess)
    targets_B = torch.zeros(len(inputs_BCHW), dtype=torch.int64) if targets_B is None else targets_B
    return explainer(inputs_BCHW, targets_B)


def relative(found, wanted):
    return float((found.detach() - wanted.detach()).norm() / wanted.detach().norm())


class Formula(nn.Module):
    """A scalar function of the four pixels, as a network of one output."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.one = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, inputs_BCHW):
        return self.function(inputs_BCHW.flatten(1))[:, None] * self.one


PIXELS = torch.tensor([[[[2.0, 3.0], [-1.0, 0.5]]]], dtype=torch.float64)


@pytest.mark.parametrize("rule", ["midpoint", "gauss-legendre", "left", "right"])
def test_linear_maps_are_weight_times_difference_by_any_rule(rule):
    weights_4 = torch.tensor([1.0, -2.0, 3.0, 0.25], dtype=torch.float64)
    preprocess = Preprocess(size=2, mean=0.5, std=0.25)  # black is -2
    found = explain(Formula(lambda x: x @ weights_4 + 7), PIXELS, preprocess, steps=3, rule=rule)
    expected = (weights_4.view(2, 2) * (PIXELS[0, 0] + 2))[None]
    torch.testing.assert_close(found.maps["integrated_gradients"], expected, rtol=1e-12, atol=0)
    assert abs(float(found.deltas["integrated_gradients"])) < 1e-12
    assert float(found.logits_B) == pytest.approx(2 - 6 - 3 + 0.125 + 7)


def test_cubes_integrate_to_cubes():
    found = explain(Formula(lambda x: (x**3).sum(1)), PIXELS, steps=2, rule="gauss-legendre")
    torch.testing.assert_close(found.maps["integrated_gradients"], PIXELS[:, 0] ** 3, rtol=1e-12, atol=0)
    # The midpoint rule of n points errs by 1 / (4 n^2) on the integral of 3 a^2.
    found = explain(Formula(lambda x: (x**3).sum(1)), PIXELS, steps=10)
    torch.testing.assert_close(found.maps["integrated_gradients"], PIXELS[:, 0] ** 3 * (1 - 0.0025), rtol=1e-12, atol=0)
    torch.testing.assert_close(found.deltas["integrated_gradients"][0], -0.0025 * (PIXELS**3).sum(), rtol=1e-9, atol=0)


def test_a_product_is_shared_equally():
    found = explain(Formula(lambda x: x[:, 0] * x[:, 1]), PIXELS, steps=1)
    expected = torch.tensor([[[3.0, 3.0], [0.0, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(found.maps["integrated_gradients"], expected, rtol=1e-12, atol=0)


def images(count, channels=1, size=64, dtype=torch.float64):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(5), dtype=dtype)


def captum_path(model, inputs_BCHW, baseline_1CHW, targets_B, steps=16, method="riemann_middle"):
    # captum rounds its weights to float32: with a power of two for steps it does not lose digits
    explained = captum.attr.IntegratedGradients(model)
    return explained.attribute(
        inputs_BCHW, baselines=baseline_1CHW, target=targets_B, n_steps=steps, method=method, internal_batch_size=32
    ).sum(1)


@pytest.mark.parametrize(
    ("name", "stem"), [("cnn5", "conv1.0"), ("resnet18", "conv1"), ("densenet121", "features.conv0")]
)
def test_both_methods_equal_captum_in_float64(name, stem):
    model = network(name, channels=3, outputs=3, size=32)
    inputs_BCHW, preprocess = images(1, 3, size=32), Preprocess(32, 3)
    explainer = Explainer(model, {"integrated_gradients": {"steps": 16}, "grad_cam": {}}, preprocess, pass_size=5)
    target_1 = torch.tensor([2])
    found = explainer(inputs_BCHW, target_1)
    assert explainer.linear_stem == stem
    baseline_1CHW = attribution.baseline_input("black", preprocess).double()
    wanted = captum_path(model, inputs_BCHW, baseline_1CHW, target_1)
    assert relative(found.maps["integrated_gradients"], wanted) < 1e-9
    with torch.no_grad():
        logits, baseline_logits = model(inputs_BCHW)[0], model(baseline_1CHW)[0]
    assert relative(found.logits_B, logits[2:]) < 1e-12
    delta = float(wanted.sum() - logits[2] + baseline_logits[2])
    assert float(found.deltas["integrated_gradients"]) == pytest.approx(delta, rel=1e-6)
    layer = captum.attr.LayerGradCam(model, model.get_submodule(networks.grad_cam_layer(model)))
    wanted = layer.attribute(inputs_BCHW, target=target_1, relu_attributions=False)[:, 0]
    assert relative(found.maps["grad_cam"], wanted) < 1e-9
    assert explainer.map_shapes == {"integrated_gradients": (32, 32), "grad_cam": tuple(wanted.shape[1:])}


@pytest.mark.parametrize("name", ["cnn5", "resnet18", "densenet121"])
def test_float32_stays_within_a_thousandth_of_float64(name):
    """By the median of five images: one can lie on a kink of the network, where captum's float32 is as far away."""
    methods = {"integrated_gradients": {"steps": 32}, "grad_cam": {}}
    exact = Explainer(network(name, size=32), methods, Preprocess(32))
    single = Explainer(network(name, torch.float32, size=32), methods, Preprocess(32))
    errors = {method: [] for method in methods}
    for input_CHW in images(5, size=32):
        wanted, found = exact(input_CHW[None], ZERO), single(input_CHW[None].float(), ZERO)
        for method in methods:
            assert found.maps[method].dtype == torch.float32
            errors[method].append(float(relative(found.maps[method].double(), wanted.maps[method])))
    assert max(map(np.median, errors.values())) < 1e-3


@pytest.mark.parametrize("steps", [2, 7, 50])
def test_gauss_legendre_and_midpoint_take_captums_nodes(steps):
    model, inputs_BCHW = network("cnn5", size=32), images(1, size=32)
    baseline_1CHW = attribution.baseline_input("white", Preprocess(32)).double()
    for rule, method in (("midpoint", "riemann_middle"), ("gauss-legendre", "gausslegendre")):
        found = explain(model, inputs_BCHW, Preprocess(32), steps=steps, rule=rule, baseline="white")
        wanted = captum_path(model, inputs_BCHW, baseline_1CHW, 0, steps, method)
        assert relative(found.maps["integrated_gradients"], wanted) < 1e-6  # captum's float32 weights


def test_the_negative_network_has_the_negative_map():
    model, inputs_BCHW = network("cnn5", size=32), images(1, size=32)
    positive = explain(model, inputs_BCHW, Preprocess(32)).maps["integrated_gradients"]
    with torch.no_grad():
        model.fc[3].weight.neg_()
        model.fc[3].bias.neg_()
    negative = explain(model, inputs_BCHW, Preprocess(32)).maps["integrated_gradients"]
    assert torch.equal(positive, -negative)


def test_maps_sum_to_the_change_of_the_logit():
    found = explain(network("cnn5", size=32), images(1, size=32), Preprocess(32), steps=200)
    delta, total = found.deltas["integrated_gradients"], found.maps["integrated_gradients"].sum()
    assert abs(float(delta / (total - delta))) < 2e-2


def test_the_batch_and_the_other_methods_do_not_change_a_bit():
    model, inputs_BCHW, preprocess = (
        network("cnn5", torch.float32, size=32),
        images(3, size=32, dtype=torch.float32),
        Preprocess(32),
    )
    both = {"integrated_gradients": {"steps": 8}, "grad_cam": {}}
    explainer = Explainer(model, both, preprocess)
    together = explainer(inputs_BCHW, ZERO.expand(3))
    for image in range(3):
        alone = explainer(inputs_BCHW[image : image + 1], ZERO)
        for method, options in both.items():
            single = Explainer(model, {method: options}, preprocess)(inputs_BCHW[image : image + 1], ZERO)
            assert torch.equal(together.maps[method][image], alone.maps[method][0])
            assert torch.equal(together.maps[method][image], single.maps[method][0])
            assert torch.equal(together.logits_B[image], single.logits_B[0])


def test_each_image_has_its_own_target():
    model, inputs_BCHW = network("cnn5", outputs=3, size=32), images(2, size=32)
    together = explain(model, inputs_BCHW, Preprocess(32), torch.tensor([2, 0]), steps=4)
    for image, target in enumerate((2, 0)):
        alone = explain(model, inputs_BCHW[image : image + 1], Preprocess(32), torch.tensor([target]), steps=4)
        assert torch.equal(together.maps["integrated_gradients"][image], alone.maps["integrated_gradients"][0])


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("cnn5", {"integrated_gradients": {"steps": 5}, "grad_cam": {}, "saliency": {}}),
        ("cnn5", {"integrated_gradients": {"steps": "auto"}}),
        ("densenet121", {"grad_cam": {"layer": "features.norm5"}}),  # before an in-place activation
    ],
)
def test_several_targets_of_one_pass_have_each_the_maps_it_has_alone(name, methods):
    model = network(name, torch.float32, outputs=3, size=32)
    explainer = Explainer(model, methods, Preprocess(32))
    inputs_BCHW = images(2, size=32, dtype=torch.float32)
    targets_BT = torch.tensor([[2, 0, 1], [2, 1, 0]])
    found = explainer.each(inputs_BCHW, targets_BT)
    assert len(found) == 3
    for target, together in enumerate(found):
        alone = explainer(inputs_BCHW, targets_BT[:, target])
        assert torch.equal(together.logits_B, alone.logits_B)
        for method in methods:
            assert torch.equal(together.maps[method], alone.maps[method])
            assert not torch.equal(together.maps[method], found[target - 1].maps[method])
        for method in alone.deltas:
            assert torch.equal(together.deltas[method], alone.deltas[method])
            assert torch.equal(together.steps[method], alone.steps[method])


def test_an_explainer_is_gone_with_its_last_name():
    """A cascade makes one for every network: what waits for garbage collection would be many networks."""
    model = networks.build("cnn5", image_size=32, channels=1, outputs=1).eval()
    gc.collect()
    gc.disable()
    try:
        explainer = Explainer(model, {"integrated_gradients": {"steps": 2}, "grad_cam": {}}, Preprocess(32))
        explainer(torch.rand(1, 1, 32, 32), torch.zeros(1, dtype=torch.int64))
        there = weakref.ref(explainer)
        del explainer
        assert there() is None
    finally:
        gc.enable()


def test_the_callers_model_is_left_as_it_was():
    model = network("cnn5", torch.float32).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    Explainer(model, {"integrated_gradients": {"steps": 2}, "grad_cam": {}, "guided_backprop": {}}, Preprocess(64))
    assert model.training
    assert all(parameter.requires_grad and parameter.is_contiguous() for parameter in model.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert type(model.conv1[1]) is nn.ReLU


def pooled(channels, size):
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1))
    return nn.Sequential(nn.Conv2d(1, channels, 3), head).double(), Preprocess(size)


def test_grad_cam_of_pooling_and_a_linear_head_sums_to_the_logit_without_bias():
    torch.manual_seed(3)
    model, preprocess = pooled(4, 8)
    found = Explainer(model, {"grad_cam": {}}, preprocess)(images(2, size=8), ZERO.expand(2))
    torch.testing.assert_close(
        found.maps["grad_cam"].sum((1, 2)), found.logits_B - model[1][2].bias, rtol=1e-12, atol=0
    )
    assert (found.maps["grad_cam"] < 0).any()  # signed


@pytest.mark.parametrize("layer", ["features.norm5", "features.denseblock4", "features.conv0"])
def test_grad_cam_before_an_in_place_activation_and_at_the_stem_layer(layer):
    # densenet applies an in-place ReLU, as a function, to the output of norm5
    model, inputs_BCHW = network("densenet121", size=32), images(1, size=32)
    methods = {"grad_cam": {"layer": layer}, "integrated_gradients": {"steps": 1}}
    found = Explainer(model, methods, Preprocess(32))(inputs_BCHW, ZERO)
    maps_BChw = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda *call: maps_BChw.append(call[2]) or call[2].clone()
    )
    logit = model(inputs_BCHW)[0, 0]
    handle.remove()
    gradient = torch.autograd.grad(logit, maps_BChw[0])[0]
    wanted = (gradient.mean((2, 3), keepdim=True) * maps_BChw[0]).sum(1)
    assert relative(found.maps["grad_cam"], wanted.detach()) < 1e-9


@pytest.mark.parametrize(
    ("layer", "message"),
    [("fc.0", "does not give maps"), ("conv6", "no layer 'conv6'"), ("conv2.2", None), ("conv5", None)],
)
def test_grad_cam_layers_are_checked_at_the_start(layer, message):
    if message is None:
        Explainer(network("cnn5", size=32), {"grad_cam": {"layer": layer}}, Preprocess(32))
        return
    with pytest.raises(ValueError, match=message):
        Explainer(network("cnn5", size=32), {"grad_cam": {"layer": layer}}, Preprocess(32))


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"grad-cam": {}}, r"unknown method 'grad-cam' \(did you mean grad_cam\?\).*integrated_gradients.*occlusion"),
        ({"grad_cam": {"layers": "x"}}, "grad_cam has no option 'layers': choose one of layer"),
        ({"integrated_gradients": {"rule": "simpson"}}, "unknown rule 'simpson'"),
        ({"integrated_gradients": {"steps": 0}}, "steps must be a whole number from 1"),
        ({"integrated_gradients": {"baseline": "red"}}, "unknown baseline 'red'"),
        ({"smooth_grad": {"sigma": 1}}, "smooth_grad has no option 'sigma': choose one of baseline, samples"),
    ],
)
def test_bad_methods_and_options_are_named(methods, message):
    with pytest.raises(ValueError, match=message):
        Explainer(network("cnn5", size=32), methods, Preprocess(32))
