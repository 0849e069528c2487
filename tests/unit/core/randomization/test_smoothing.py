import numpy as np
import pytest
import scipy.stats
import torch
from helpers.random_networks import network

from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.randomization import complexity
from pneumo_batch.core.randomization.cascade import Derived, Layer
from pneumo_batch.core.randomization.smoothing import REFERENCE, Smoothing, draw_of

TOP, DEEP = Layer("fc", ("fc.weight",)), Layer("conv", ("conv.weight",))


def films(count, size=32):
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_noise_is_a_share_of_the_range_and_the_last_input_is_the_film():
    film_1CHW = 10 * films(1, size=64)
    noisy_NCHW = Smoothing(inputs=30, noise=0.2).noisy(film_1CHW, "any")
    assert noisy_NCHW.shape == (30, 1, 64, 64)
    assert torch.equal(noisy_NCHW[-1:], film_1CHW)
    added_NCHW = (noisy_NCHW[:-1] - film_1CHW) / float(film_1CHW.max() - film_1CHW.min())
    assert float(added_NCHW.std()) == pytest.approx(0.2, rel=0.01)
    assert abs(float(added_NCHW.mean())) < 0.002
    assert scipy.stats.kstest(added_NCHW.flatten().numpy() / 0.2, "norm").pvalue > 0.01


def test_maps_are_means_over_the_inputs_and_an_image_does_not_see_its_batch():
    model, inputs_BCHW = network("cnn5", size=32), films(3)
    explain = Explainer(model, {"saliency": {}, "grad_cam": {}}, Preprocess(32))
    smoothing, targets_B = Smoothing(inputs=4, noise=0.1), torch.zeros(3, dtype=torch.int64)
    found = smoothing.maps(explain, inputs_BCHW, targets_B, ["a", "b", "c"])
    for i, draw in enumerate("abc"):
        each = [explain(one[None], targets_B[:1]).maps for one in smoothing.noisy(inputs_BCHW[i : i + 1], draw)]
        for method in found:
            wanted_hw = sum(maps[method][0] for maps in each) / 4
            np.testing.assert_allclose(found[method][i], wanted_hw.numpy(), rtol=1e-6, atol=1e-9)
    alone = smoothing.maps(explain, inputs_BCHW[1:2], targets_B[:1], ["b"])
    assert all(np.array_equal(alone[method][0], found[method][1]) for method in found)
    other = smoothing.maps(explain, inputs_BCHW[1:2], targets_B[:1], ["d"])
    assert not np.array_equal(other["saliency"], alone["saliency"])


def test_networks_of_equal_weights_see_equal_noise_and_others_do_not():
    same = [Derived("cascade", 1, 5, (TOP,)), Derived("independent", 1, 5, (TOP,))]
    assert draw_of("film", same[0]) == draw_of("film", same[1])
    originals = [Derived("cascade", 0, seed, ()) for seed in (5, 6)]
    assert draw_of("film", originals[0]) == draw_of("film", originals[1])
    others = [REFERENCE, originals[0], same[0], Derived("cascade", 1, 6, (TOP,)), Derived("cascade", 2, 5, (TOP, DEEP))]
    draws = [draw_of(image_id, one) for one in others for image_id in ("film", "other")]
    assert len(set(draws)) == len(draws)


def test_entropy_is_that_of_the_histogram():
    halves_HW = np.array([[0.0, 0.0], [1.0, 1.0]])  # one bit, whatever the bins
    quarters_HW = np.array([[0.0, 1.0], [2.0, 3.0]])
    flat_HW, broken_HW = np.zeros((2, 2)), np.array([[0.0, 1.0], [np.nan, 1.0]])
    found = complexity.histogram_entropy(np.stack([halves_HW, quarters_HW, flat_HW, broken_HW]), 8)
    np.testing.assert_allclose(found, [1, 2, 0, np.nan], atol=1e-12)
    wide = np.random.default_rng(0).uniform(size=(1, 200, 200))
    assert complexity.histogram_entropy(wide, 16)[0] == pytest.approx(4, abs=0.01)
    rise = complexity.relative_rise(np.array([3.0, 1.0, 2.0, np.nan]), np.array([2.0, 2.0, 0.0, 2.0]))
    np.testing.assert_allclose(rise, [0.5, -0.5, np.nan, np.nan])
