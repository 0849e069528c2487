"""captum's methods through the Explainer: against closed forms of a linear network, and for their promises."""

import sys
import types
import warnings

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

from pneumo_batch.core.attribution.baselines import baseline_input
from pneumo_batch.core.attribution.explainer import METHODS, Explainer
from pneumo_batch.core.attribution.methods import CAPTUM
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.models import networks
from pneumo_batch.core.similarity.metrics import POSITIVE_PART
from pneumo_batch.job.schema import Attribution

PREPROCESS = Preprocess(32)
ZEROS = torch.zeros(2, dtype=torch.int64)
QUICK = {"smooth_grad": {"samples": 3}, "gradient_shap": {"samples": 3}, "occlusion": {"window": 16}}


def cnn5():
    torch.manual_seed(0)
    return networks.build("cnn5", image_size=32, channels=1, outputs=1).eval()


def images(count=2):
    return torch.randn(count, 1, 32, 32, generator=torch.Generator().manual_seed(2))


def explain(model, name, inputs_BCHW, **options):
    return Explainer(model, {name: options}, PREPROCESS)(inputs_BCHW, ZEROS[: len(inputs_BCHW)]).maps[name]


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 1))


@pytest.mark.parametrize("name", ["saliency", "guided_backprop", "smooth_grad"])
def test_gradients_of_a_linear_network_are_its_signed_weights(name):
    model = linear()
    found = explain(model, name, images())
    torch.testing.assert_close(found, model[1].weight.detach().view(1, 32, 32).expand(2, -1, -1))
    assert (found < 0).any()


@pytest.mark.parametrize(
    ("name", "baseline"), [("input_x_gradient", "mean"), ("deep_lift", "black"), ("gradient_shap", "white")]
)
def test_contributions_to_a_linear_network_are_weights_times_differences(name, baseline):
    model, inputs_BCHW = linear(), images()
    difference_BHW = (inputs_BCHW - baseline_input(baseline, PREPROCESS))[:, 0]
    expected = model[1].weight.detach().view(1, 32, 32) * difference_BHW
    found = explain(model, name, inputs_BCHW, baseline=baseline)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_occlusion_of_a_linear_network_is_the_contribution_of_the_window():
    model, inputs_BCHW = linear(), images()
    difference_BHW = (inputs_BCHW - baseline_input("black", PREPROCESS))[:, 0]
    parts = (model[1].weight.detach().view(1, 32, 32) * difference_BHW).unfold(1, 8, 8).unfold(2, 8, 8).sum((3, 4))
    expected = parts.repeat_interleave(8, 1).repeat_interleave(8, 2)
    torch.testing.assert_close(
        explain(model, "occlusion", inputs_BCHW, window=8, stride=8), expected, rtol=1e-3, atol=1e-5
    )


def test_guided_grad_cam_is_the_product_of_its_parts():
    model, inputs_BCHW = cnn5(), images(1)
    parts = Explainer(model, {"guided_backprop": {}, "grad_cam": {"layer": "conv4.1"}}, PREPROCESS)
    maps = parts(inputs_BCHW, ZEROS[:1]).maps
    cam_BHW = nn.functional.interpolate(maps["grad_cam"].clamp(min=0)[None], size=(32, 32), mode="bilinear")[0]
    both = Explainer(model, {"guided_grad_cam": {}, "grad_cam": {"layer": "conv4.1"}}, PREPROCESS)
    found = both(inputs_BCHW, ZEROS[:1]).maps["guided_grad_cam"]
    assert found.abs().max() > 0
    torch.testing.assert_close(found, maps["guided_backprop"] * cam_BHW, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("chosen", "layer"),
    [
        ({}, "conv5.1"),
        ({"grad_cam": {"layer": "conv4.1"}}, "conv4.1"),
        ({"grad_cam": {"layer": "conv4.1"}, "methods": ["grad_cam", "guided_grad_cam"]}, "conv4.1"),
        (
            {
                "methods": ["guided_grad_cam@early"],
                "grad_cam": {"layer": "conv4.1"},
                "settings": {"guided_grad_cam@early": {"layer": "conv3.1"}},
            },
            "conv3.1",
        ),
    ],
)
def test_guided_grad_cam_of_a_job_is_captums_at_the_layer_of_grad_cam(chosen, layer):
    model, inputs_BCHW = cnn5(), images(1)
    job = Attribution(**{"methods": ["guided_grad_cam"], **chosen})
    found = Explainer(model, job.options_by_method(), PREPROCESS)(inputs_BCHW, ZEROS[:1]).maps
    peer = captum.attr.GuidedGradCam(model, model.get_submodule(layer))
    with warnings.catch_warnings(action="ignore"):  # it says that it sets hooks
        wanted = peer.attribute(inputs_BCHW.requires_grad_(), target=0, interpolate_mode="bilinear")
    assert wanted.abs().max() > 0
    torch.testing.assert_close(found[job.methods[-1]], wanted[:, 0].detach(), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", CAPTUM)
def test_no_map_depends_on_its_batch_or_on_global_random_state(name):
    model, inputs_BCHW, options = cnn5(), images(), QUICK.get(name, {})
    together = explain(model, name, inputs_BCHW, **options)
    assert together.shape == (2, 32, 32)
    torch.manual_seed(99)
    np.random.seed(99)
    alone = explain(model, name, inputs_BCHW[1:], **options)
    assert torch.equal(together[1], alone[0])
    assert np.random.random() == np.random.RandomState(99).random()  # and none is consumed


@pytest.mark.parametrize("samples", [3, 25])
def test_smooth_grad_is_captums_with_the_noise_that_a_cpu_draws(samples):
    model, inputs_BCHW = cnn5(), images(1)
    found = explain(model, "smooth_grad", inputs_BCHW, samples=samples, noise=0.2, seed=7)
    tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(model))
    torch.manual_seed(7)
    sigma = 0.2 * float(inputs_BCHW.max() - inputs_BCHW.min())
    arguments = {"nt_samples": samples, "nt_samples_batch_size": 4, "stdevs": sigma, "abs": False}
    wanted = tunnel.attribute(inputs_BCHW.clone().requires_grad_(), target=0, **arguments)[:, 0]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)


def test_the_seed_changes_the_noise():
    first, second = (explain(cnn5(), "smooth_grad", images(1), samples=3, seed=seed) for seed in (0, 1))
    assert not torch.equal(first, second)


def users(name, monkeypatch, function):
    module = types.ModuleType("users_methods")
    module.method = function
    monkeypatch.setitem(sys.modules, "users_methods", module)
    return f"users_methods:{name}"


def test_a_users_method_gets_one_image_at_a_time_and_its_options(monkeypatch):
    def method(model, inputs_BCHW, targets_B, scale):
        assert (len(inputs_BCHW), targets_B.tolist()) == (1, [0])
        return inputs_BCHW * scale * model(inputs_BCHW)[:, targets_B]

    name, model, inputs_BCHW = users("method", monkeypatch, method), linear(), images()
    found = Explainer(model, {name: {"scale": 2.0}, "saliency": {}}, PREPROCESS)(inputs_BCHW, ZEROS)
    torch.testing.assert_close(
        found.maps[name], 2 * (inputs_BCHW * model(inputs_BCHW)[:, :, None, None])[:, 0].detach()
    )
    assert list(found.maps) == [name, "saliency"]


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        ("method", lambda model, inputs, targets: None, "must return a tensor"),
        ("other", lambda model, inputs, targets: None, "no callable 'other'"),
    ],
)
def test_a_users_method_that_does_not_fit_is_named(name, function, message, monkeypatch):
    with pytest.raises(ValueError, match=message):
        _ = Explainer(linear(), {users(name, monkeypatch, function): {}}, PREPROCESS).map_shapes


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("smooth_grad", {"samples": 0}, "smooth_grad: samples must be a whole number from 1, not 0"),
        (
            "smooth_grad@rough",
            {"samples": "few"},
            "smooth_grad@rough: samples must be a whole number from 1, not 'few'",
        ),
        ("gradient_shap", {"samples": -1}, "gradient_shap: samples must be a whole number from 1"),
        ("occlusion", {"window": 64}, "occlusion: a window of 64 moved by 32 leaves pixels of 32 x 32 out"),
        ("occlusion", {"window": 4, "stride": 8}, "occlusion: a window of 4 moved by 8 leaves pixels of 32 x 32 out"),
    ],
)
def test_options_that_give_no_map_are_named_before_any_image(name, options, message):
    with pytest.raises(ValueError, match=message):
        _ = Explainer(linear(), {name: options}, PREPROCESS).map_shapes


def test_the_names():
    assert list(METHODS) == ["integrated_gradients", "grad_cam", *CAPTUM, "integrated_gradients_unscaled"]
    assert set(CAPTUM) == {
        "saliency",
        "input_x_gradient",
        "deep_lift",
        "guided_backprop",
        "guided_grad_cam",
        "smooth_grad",
        "gradient_shap",
        "occlusion",
    }
    assert set(METHODS) >= POSITIVE_PART
