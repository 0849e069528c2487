"""Settings of one method side by side, and Integrated Gradients without the change of the input."""

import captum.attr
import pytest
import torch
from helpers.random_networks import network
from torch import nn

from pneumo_batch.core.attribution.baselines import baseline_input, blurred
from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.attribution.options import of_setting
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.method_names import method_of, setting_of

ZERO = torch.zeros(1, dtype=torch.int64)
IG, UNSCALED = "integrated_gradients", "integrated_gradients_unscaled"


def images(count, channels=1, size=32):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


class Quadratic(nn.Module):
    """f(x) = x A x / 2 + b x of the four pixels."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.a_44 = nn.Parameter(torch.randn(4, 4, generator=generator, dtype=torch.float64))
        self.b_4 = nn.Parameter(torch.randn(4, generator=generator, dtype=torch.float64))

    def forward(self, inputs_BCHW):
        x_B4 = inputs_BCHW.flatten(1)
        return ((x_B4 @ self.a_44 * x_B4).sum(1) / 2 + x_B4 @ self.b_4)[:, None]


@pytest.mark.parametrize("options", [{"steps": 1}, {"steps": 7}, {"steps": 4, "rule": "gauss-legendre"}])
def test_of_a_quadratic_the_mean_gradient_is_the_one_half_way(options):
    """The gradient is linear along the path, so its mean is that of the middle: A's symmetric part times it, plus b."""
    model, inputs_BCHW = Quadratic(), images(3, size=2)
    preprocess = Preprocess(2, mean=0.5, std=0.25)  # black is -2
    found = Explainer(model, {UNSCALED: options}, preprocess)(inputs_BCHW, ZERO.expand(3))
    middle_B4 = (inputs_BCHW.flatten(1) - 2) / 2
    wanted_B4 = middle_B4 @ (model.a_44 + model.a_44.T) / 2 + model.b_4
    torch.testing.assert_close(found.maps[UNSCALED].flatten(1), wanted_B4.detach(), rtol=1e-12, atol=1e-12)
    assert not found.deltas  # it does not add up to the logit, and does not claim to


@pytest.mark.parametrize("baseline", ["black", "mean", "blur"])
@pytest.mark.parametrize("steps", [9, "auto"])
def test_times_the_change_of_the_input_it_is_integrated_gradients(baseline, steps):
    model, inputs_BCHW, preprocess = network("cnn5", size=32), images(2), Preprocess(32, mean=0.4, std=0.2)
    options = {"steps": steps, "baseline": baseline}
    found = Explainer(model, {IG: options, UNSCALED: options}, preprocess)(inputs_BCHW, ZERO.expand(2))
    start_BCHW = blurred(inputs_BCHW) if baseline == "blur" else baseline_input(baseline, preprocess).double()
    change_BHW = (inputs_BCHW - start_BCHW)[:, 0]
    moved_BHW = change_BHW.abs() > 1e-9
    assert moved_BHW.all()
    torch.testing.assert_close(found.maps[UNSCALED], found.maps[IG] / change_BHW, rtol=1e-9, atol=1e-12)
    alone = Explainer(model, {UNSCALED: options}, preprocess)(inputs_BCHW, ZERO.expand(2))
    assert torch.equal(alone.maps[UNSCALED], found.maps[UNSCALED])


def test_it_is_what_captum_gives_without_multiplying_by_inputs():
    model, inputs_BCHW = network("resnet18", channels=3, outputs=3, size=32), images(2, 3)
    found = Explainer(model, {UNSCALED: {"steps": 16}}, Preprocess(32, 3))(inputs_BCHW, torch.tensor([2, 0]))
    wanted_BCHW = captum.attr.IntegratedGradients(model, multiply_by_inputs=False).attribute(
        inputs_BCHW,
        baselines=baseline_input("black", Preprocess(32, 3)).double(),
        target=torch.tensor([2, 0]),
        n_steps=16,
        method="riemann_middle",
    )
    error_BHW = found.maps[UNSCALED] - wanted_BCHW.detach().sum(1)
    assert float(error_BHW.norm() / wanted_BCHW.sum(1).norm()) < 1e-9


def test_a_setting_has_the_maps_of_its_method_with_those_options():
    model, inputs_BCHW, preprocess = network("cnn5", size=32), images(2), Preprocess(32)
    several = {
        IG: {"steps": 4},
        f"{IG}@blur": {"steps": 4},
        f"{IG}@fine": {"steps": 9, "rule": "gauss-legendre"},
        f"{UNSCALED}@mean": {"steps": 4},
        "grad_cam": {},
        "grad_cam@early": {"layer": "conv3.1"},
        "occlusion@white": {"window": 16},
        "smooth_grad@few": {"samples": 2},
    }
    found = Explainer(model, several, preprocess)(inputs_BCHW, ZERO.expand(2))
    assert list(Explainer(model, several, preprocess).map_shapes) == list(several)
    for name, options in several.items():
        baseline = {"baseline": setting_of(name)} if setting_of(name) in ("blur", "mean", "white") else {}
        alone = Explainer(model, {method_of(name): options | baseline}, preprocess)(inputs_BCHW, ZERO.expand(2))
        assert torch.equal(found.maps[name], alone.maps[method_of(name)]), name
    assert set(found.deltas) == {IG, f"{IG}@blur", f"{IG}@fine"}
    assert not torch.equal(found.maps[IG], found.maps[f"{IG}@blur"])
    assert found.maps["grad_cam@early"].shape[1] > found.maps["grad_cam"].shape[1]


def test_settings_with_equal_options_share_their_passes():
    class Counted(Quadratic):
        points = 0

        def forward(self, inputs_BCHW):
            Counted.points += len(inputs_BCHW)
            return super().forward(inputs_BCHW)

    def points(methods):
        explain = Explainer(Counted(), methods, Preprocess(2))
        Counted.points = 0
        explain(images(1, size=2), ZERO)
        return Counted.points

    alone = points({IG: {"steps": 50}})
    assert alone >= 50
    assert points({IG: {"steps": 50}, UNSCALED: {"steps": 50}, f"{IG}@same": {"steps": 50}}) == alone
    assert points({IG: {"steps": 50}, f"{IG}@mean": {"steps": 50}}) > 2 * 50


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            f"{IG}@fine",
            {},
            r"this setting has no options; only those named after a baseline \(black, mean, white, blur, noise\) need"
            " none$",
        ),
        ("grad_cam@blur", {}, "'grad_cam@blur': this setting has no options$"),
        (
            f"{IG}@blur",
            {"baseline": "mean"},
            "has the baseline 'mean': a setting that is named after a baseline has that one",
        ),
        (f"{IG}@", {"steps": 4}, "what follows the @ must be lower-case letters"),
        (f"{IG}@a__b", {"steps": 4}, "what follows the @ must be lower-case letters"),
        (f"{IG}@a-b", {"steps": 4}, "what follows the @ must be lower-case letters"),
        (f"{IG}@unscaled", {"steps": 4}, "is a method of its own: write integrated_gradients_unscaled"),
        (f"{IG}@fine", {"step": 4}, "integrated_gradients@fine has no option 'step'"),
        ("grad-cam@x", {"layer": "conv1"}, r"unknown method 'grad-cam' \(did you mean grad_cam\?\)"),
    ],
)
def test_bad_settings_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        Explainer(network("cnn5", size=32), {name: options}, Preprocess(32))


def test_a_baseline_makes_a_setting_only_of_methods_that_have_one():
    assert of_setting(f"{IG}@blur", {"steps": 3}) == {"steps": 3, "baseline": "blur"}
    assert of_setting("deep_lift@white", {}) == {"baseline": "white"}
    assert of_setting("smooth_grad@blur", {"noise": 0.3}) == {"noise": 0.3}  # a name like any other there
