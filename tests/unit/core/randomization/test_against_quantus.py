"""Spearman, Pearson and SSIM beside those of Quantus, on the same maps; docs/statistics.md tells where they differ."""

import numpy as np
import pytest
import scipy.ndimage
from skimage.metrics import structural_similarity

from pneumo_batch.core.similarity import metrics, options
from pneumo_batch.core.similarity.features import Features

# exc_type: one of its requirements needs a system library that bare servers lack
quantus = pytest.importorskip("quantus", reason="pip install quantus", exc_type=ImportError)

PAIRS = np.array([(0, 1), (0, 2), (1, 2), (0, 3)])


def maps_of(view, size=64):
    """Four smooth maps that share a part, the last with many ties."""
    rng = np.random.default_rng(0)
    shared = scipy.ndimage.gaussian_filter(rng.standard_normal((size, size)), 4)
    own = scipy.ndimage.gaussian_filter(rng.standard_normal((4, size, size)), (0, 2, 2))
    maps_VHW = (own + shared).astype(np.float32)
    maps_VHW[3] = np.round(maps_VHW[3], 1)
    return metrics.apply_view(maps_VHW, "integrated_gradients", view)


def ours(maps_VHW, view, metric):
    features = Features(maps_VHW, view, 8)
    return metrics.scores(features, features, PAIRS, metric, "pixel")


@pytest.mark.parametrize("view", options.VIEWS)
@pytest.mark.parametrize("metric", ["spearman", "pearson"])
def test_correlations_agree_as_its_randomisation_metrics_call_them(metric, view):
    flat_VN = maps_of(view).astype(np.float64).reshape(4, -1)
    theirs = getattr(quantus, f"correlation_{metric}")(flat_VN[PAIRS[:, 0]], flat_VN[PAIRS[:, 1]], batched=True)
    np.testing.assert_allclose(ours(maps_of(view), view, metric), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("view", options.VIEWS)
def test_ssim_takes_maps_normalised_alike(view):
    maps_VHW = maps_of(view).astype(np.float64)
    data_range = {"signed": 2.0, "magnitude": 1.0}[view]
    normalised = [quantus.normalise_by_max(map_HW) for map_HW in maps_VHW]
    expected = [
        structural_similarity(
            normalised[i],
            normalised[j],
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=data_range,
        )
        for i, j in PAIRS
    ]
    np.testing.assert_allclose(ours(maps_of(view), view, "ssim"), expected, rtol=0, atol=1e-6)


def test_ssim_differs_by_window_covariance_and_range_and_nothing_else():
    maps_VHW = [quantus.normalise_by_max(map_HW) for map_HW in maps_of("signed").astype(np.float64)]
    ranges = set()
    for i, j in PAIRS:
        both = np.stack([maps_VHW[i], maps_VHW[j]])
        expected = structural_similarity(
            *both, win_size=7, gaussian_weights=False, use_sample_covariance=True, data_range=np.ptp(both)
        )
        assert quantus.ssim(maps_VHW[i], maps_VHW[j]) == pytest.approx(expected, abs=1e-12)
        ranges.add(np.ptp(both))
    assert len(ranges) > 1  # the range of ours never depends on the pair
    theirs = [quantus.ssim(maps_VHW[i], maps_VHW[j]) for i, j in PAIRS]
    assert np.abs(theirs - ours(maps_of("signed"), "signed", "ssim")).max() > 0.001


def test_ssim_of_flattened_maps_sees_rows_and_not_squares():
    a, b = (quantus.normalise_by_max(map_HW) for map_HW in maps_of("signed").astype(np.float64)[:2])
    flat = quantus.ssim(a.reshape(1, -1), b.reshape(1, -1), batched=True)[0]
    both = np.stack([a.ravel(), b.ravel()])
    assert flat == pytest.approx(structural_similarity(*both, win_size=7, data_range=np.ptp(both)), abs=1e-12)
    assert abs(flat - quantus.ssim(a, b)) > 0.001
