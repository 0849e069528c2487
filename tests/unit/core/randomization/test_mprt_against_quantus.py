"""sMPRT and eMPRT of Quantus on the same networks, films and noise."""

import copy

import numpy as np
import pytest
import torch
from helpers.random_networks import network

from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.randomization import complexity, curves
from pneumo_batch.core.randomization.smoothing import Smoothing
from pneumo_batch.core.similarity.comparison import Comparison
from pneumo_batch.core.variants import Variant

quantus = pytest.importorskip("quantus", reason="pip install quantus", exc_type=ImportError)

FILMS, INPUTS, NOISE, SIZE = 3, 4, 0.1, 32
METHOD = "integrated_gradients"
PLAN = Comparison((Variant("true_0", "true"),), (METHOD,), ("spearman",), 4, SIZE, 0)
TARGETS = torch.zeros(FILMS, dtype=torch.int64)


def explain(model, inputs, targets, **_):
    """Quantus' way to ask for maps (B, 1, H, W)."""
    inputs_BCHW = torch.as_tensor(np.asarray(inputs), dtype=torch.float64)
    found = explainer(model)(inputs_BCHW, torch.as_tensor(np.asarray(targets)))
    return found.maps[METHOD].numpy()[:, None]


def explainer(model):
    return Explainer(copy.deepcopy(model).double(), {METHOD: {"steps": 4}}, Preprocess(SIZE))


@pytest.fixture(scope="module")
def films():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(FILMS, 1, SIZE, SIZE, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def model():
    return network("cnn5", torch.float32, outputs=2, size=SIZE)  # Quantus asks it in float32


@pytest.fixture(scope="module")
def forgotten(model):
    """The network as Quantus re-initialises all of it."""
    wrapped = quantus.helpers.utils.get_wrapped_model(model, channel_first=True, softmax=True)
    *_, (_, last) = wrapped.get_random_layer_generator(order="bottom_up", seed=42)
    return last.eval()


def test_smprt_is_its_correlation_at_full_depth(monkeypatch, model, forgotten, films):
    smoothing = Smoothing(INPUTS, NOISE)
    draws = {name: [f"{name}{i}" for i in range(FILMS)] for name in ("reference", "original", "forgotten")}
    # Quantus draws for the whole batch, once an input that carries noise: here it is handed ours, in its order.
    given = iter(_standard_noise(films, draws))
    monkeypatch.setattr(np.random, "randn", lambda *shape: next(given))
    monkeypatch.setattr(quantus, "explain", explain)  # it asks this one, whatever explain_func it is given
    metric = quantus.SmoothMPRT(
        nr_samples=INPUTS, noise_magnitude=NOISE, skip_layers=True, disable_warnings=True, return_last_correlation=False
    )
    theirs = metric(model, films.numpy(), TARGETS.numpy(), explain_func=explain, channel_first=True, softmax=True)
    monkeypatch.undo()
    maps = {
        name: smoothing.maps(explainer(forgotten if name == "forgotten" else model), films, TARGETS, draw)[METHOD]
        for name, draw in draws.items()
    }
    cell = [(one.view, one.scale) for one in curves.cells(PLAN)].index(("magnitude", "pixel"))
    for i in range(FILMS):
        derived = {METHOD: np.stack([maps["original"][i], maps["forgotten"][i]])}
        ours_2 = curves.to_original(PLAN, {METHOD: maps["reference"][i]}, derived)[:, cell]
        theirs_2 = [scores[i] for scores in (theirs["original"], list(theirs.values())[-1])]
        np.testing.assert_allclose(ours_2, theirs_2, atol=1e-5)  # float32 maps may change the order of near values
        assert ours_2[1] < ours_2[0] < 1


def _standard_noise(films, draws):
    """Of each network in turn, input by input, noise (B, C, H, W) of deviation 1."""
    unit = Smoothing(INPUTS, 1.0)
    for names in draws.values():
        noisy_BNCHW = torch.stack([unit.noisy(torch.eye(SIZE)[None, None].double(), draw) for draw in names])
        for n in range(INPUTS - 1):
            yield (noisy_BNCHW[:, n] - torch.eye(SIZE).double()).numpy()


@pytest.mark.parametrize("bins", [100, 17])
def test_emprt_is_its_relative_rise_of_entropy(model, forgotten, films, bins):
    metric = quantus.EfficientMPRT(complexity_func_kwargs={"n_bins": bins}, disable_warnings=True)
    theirs_B = metric(model, films.numpy(), TARGETS.numpy(), explain_func=explain, channel_first=True, softmax=True)
    original_B, new_B = (
        complexity.histogram_entropy(explain(one, films, TARGETS)[:, 0], bins) for one in (model, forgotten)
    )
    np.testing.assert_allclose(complexity.relative_rise(new_B, original_B), theirs_B, rtol=1e-9)
    assert np.ptp(theirs_B) > 0


def test_a_hundred_bins_are_what_it_takes_where_no_rule_is_named(model, forgotten, films):
    theirs_B, named_B = (
        quantus.EfficientMPRT(complexity_func_kwargs=given, disable_warnings=True)(
            model, films.numpy(), TARGETS.numpy(), explain_func=explain, channel_first=True, softmax=True
        )
        for given in (None, {"n_bins": 100})
    )
    assert theirs_B == named_B
