import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import skimage.feature
import skimage.filters
import skimage.metrics
import torch

from pneumo_batch.core.similarity import controls, metrics, options
from pneumo_batch.core.similarity.features import Features, Regions, pool
from pneumo_batch.core.similarity.metrics import scores

GRID = 8


def maps_of_every_sort(shape=(64, 64), seed=0):
    """Smooth, rough, tied, sparse, tiny and one-signed maps, float32."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((6, *shape)).astype(np.float32)
    smooth = scipy.ndimage.gaussian_filter(noise[0], 5)
    # 1e-6 keeps the sum of squares far above the smallest normal number
    maps = [smooth, noise[1], np.round(noise[2]), np.maximum(noise[3], 0) * smooth, noise[4] * 1e-6, -np.abs(noise[5])]
    return np.stack(maps).astype(np.float32)


def all_pairs(count, other=None):
    return np.array([(i, j) for i in range(count) for j in range(count if other is None else other)])


def reference(x_HW, y_HW, view, metric):
    """Each metric as the method page defines it, from scipy, NumPy and scikit-image."""
    x, y = x_HW.astype(np.float64), y_HW.astype(np.float64)
    if metric == "spearman":
        return scipy.stats.spearmanr(x, y, axis=None).statistic
    if metric == "pearson":
        return np.corrcoef(x.ravel(), y.ravel())[0, 1]
    if metric == "ssim":
        data_range = {"signed": 2.0, "magnitude": 1.0}[view]
        x, y = x / np.abs(x).max(), y / np.abs(y).max()
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        return skimage.metrics.structural_similarity(x, y, data_range=data_range, **options)
    if metric == "hog":
        unit = [(m - m.min()) / (m.max() - m.min()) for m in (x, y)]
        options = {"orientations": 9, "pixels_per_cell": (16, 16), "cells_per_block": (3, 3)}
        return np.corrcoef([skimage.feature.hog(m, **options) for m in unit])[0, 1]
    highest = [
        set(sorted(range(m.size), key=lambda i, m=m: (-m.flat[i], i))[: int(np.ceil(m.size / 10))]) for m in (x, y)
    ]
    return len(highest[0] & highest[1]) / len(highest[0] | highest[1])


@pytest.mark.parametrize("shape", [(64, 64), (50, 61)])
@pytest.mark.parametrize("view", options.VIEWS)
@pytest.mark.parametrize("metric", options.METRICS)
def test_pixel_scale_equals_the_libraries_pair_by_pair(shape, view, metric):
    maps_VHW = metrics.apply_view(maps_of_every_sort(shape), "saliency", view)
    features, pairs_P2 = Features(maps_VHW, view, GRID), all_pairs(6)
    expected = [reference(maps_VHW[i], maps_VHW[j], view, metric) for i, j in pairs_P2]
    np.testing.assert_allclose(scores(features, features, pairs_P2, metric, "pixel"), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(64, 64), (50, 61), (5, 7)])
@pytest.mark.parametrize("metric", options.REGION_METRICS)
def test_region_scale_equals_the_libraries_on_torch_cells(shape, metric):
    maps_VHW = maps_of_every_sort(shape)
    cells = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(maps_VHW.astype(np.float64)), GRID).numpy()
    features, pairs_P2 = Features(maps_VHW, "signed", GRID), all_pairs(6)
    pooled = pool(maps_VHW, GRID)
    np.testing.assert_allclose(pooled, cells, rtol=1e-12, atol=1e-14)
    expected = [reference(pooled[i], pooled[j], "signed", metric) for i, j in pairs_P2]
    np.testing.assert_allclose(scores(features, features, pairs_P2, metric, "region"), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("metric", options.METRICS)
def test_a_score_does_not_depend_on_the_maps_beside_it(metric):
    maps_VHW = maps_of_every_sort()
    together = Features(maps_VHW, "signed", GRID)
    alone = [Features(maps_VHW[i : i + 1], "signed", GRID) for i in range(6)]
    pairs_P2 = all_pairs(6)
    separate = [scores(alone[i], alone[j], np.array([[0, 0]]), metric, "pixel")[0] for i, j in pairs_P2]
    np.testing.assert_allclose(scores(together, together, pairs_P2, metric, "pixel"), separate, rtol=0, atol=1e-14)


def test_spearman_is_exactly_the_same_for_any_batch():
    maps_VHW = maps_of_every_sort()
    together = Features(maps_VHW, "signed", GRID)
    for i, j in all_pairs(6):
        first, second = (Features(maps_VHW[k : k + 1], "signed", GRID) for k in (i, j))
        alone = scores(first, second, np.array([[0, 0]]), "spearman", "pixel")
        assert alone == scores(together, together, np.array([[i, j]]), "spearman", "pixel")


def test_pairs_across_two_images_take_the_first_map_from_the_first():
    a, b = maps_of_every_sort(seed=1), maps_of_every_sort(seed=2)[:2]
    pairs_P2 = all_pairs(6, 2)
    for metric in options.METRICS:
        found = scores(Features(a, "signed", GRID), Features(b, "signed", GRID), pairs_P2, metric, "pixel")
        expected = [reference(a[i], b[j], "signed", metric) for i, j in pairs_P2]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_known_values_on_maps_small_enough_to_rank_by_hand():
    a = np.array([[[1, 2, 3, 4]]], dtype=np.float32)
    b = np.array([[[1, 3, 2, 4]], [[4, 3, 2, 1]], [[1, 1, 2, 2]]], dtype=np.float32)
    left, right, pairs_P2 = Features(a, "signed", 1), Features(b, "signed", 1), np.array([[0, 0], [0, 1], [0, 2]])
    spearman = scores(left, right, pairs_P2, "spearman", "pixel")
    np.testing.assert_allclose(spearman, [0.8, -1.0, 4 / np.sqrt(20)], atol=1e-15)  # tied ranks 1.5 1.5 3.5 3.5
    assert scores(left, right, pairs_P2, "top10", "pixel").tolist() == [1.0, 0.0, 0.0]  # k = 1; the first of two ties


def test_top10_takes_a_tenth_rounded_up_and_breaks_ties_by_position():
    maps_VHW = np.zeros((2, 4, 4), dtype=np.float32)
    maps_VHW[0, 3, 3] = 1  # k = 2: the peak and the first of fifteen zeros
    maps_VHW[1, 0, 1] = 1
    marks_VN, k = Features(maps_VHW, "signed", 2).top("pixel")
    assert k == 2
    assert [np.flatnonzero(marks_N).tolist() for marks_N in marks_VN] == [[0, 15], [0, 1]]
    features = Features(maps_VHW, "signed", 2)
    assert scores(features, features, np.array([[0, 1]]), "top10", "pixel").tolist() == [1 / 3]


def test_negative_zero_ties_with_zero():
    maps_VHW = np.array([[[0.0, -0.0, 1.0, -1.0]], [[0.0, 0.0, 1.0, -1.0]]], dtype=np.float32)
    features = Features(maps_VHW, "signed", 1)
    assert scores(features, features, np.array([[0, 1]]), "spearman", "pixel").tolist() == [1.0]


def test_equal_cells_stay_tied_after_pooling():
    rng = np.random.default_rng(0)
    cells = rng.choice(np.array([0.1, 0.7, 1 / 3], dtype=np.float32), size=(1, 8, 8))
    assert len(np.unique(pool(cells.repeat(7, axis=1).repeat(7, axis=2), 8))) == 3


@pytest.mark.parametrize("scale", options.SCALES)
def test_constant_and_not_finite_maps_are_undefined_and_harm_no_other(scale):
    maps_VHW = maps_of_every_sort()[:5]
    maps_VHW[1] = 3
    maps_VHW[2, 0, 0] = np.nan
    maps_VHW[3, 5, 5] = np.inf
    features = Features(maps_VHW, "signed", GRID)
    assert features.degenerate(scale).tolist() == [False, True, True, True, False]
    for metric in options.METRICS if scale == "pixel" else options.REGION_METRICS:
        found = scores(features, features, all_pairs(5), metric, scale).reshape(5, 5)
        assert np.isfinite(found[np.ix_([0, 4], [0, 4])]).all()
        assert np.isnan(found[1:4]).all()
        assert np.isnan(found[:, 1:4]).all()


def test_a_map_that_varies_only_within_its_cells_is_degenerate_at_region_scale():
    checkerboard = np.indices((16, 16)).sum(axis=0) % 2
    features = Features(checkerboard[None].astype(np.float32), "signed", 4)
    assert not features.degenerate("pixel").any()
    assert features.degenerate("region").all()


@pytest.mark.parametrize("metric", options.REGION_METRICS)
def test_a_floor_is_the_mean_over_other_images_both_ways(metric):
    images_JVHW = np.stack([maps_of_every_sort(seed=seed)[:4] for seed in range(4)])
    images_JVHW[0, 3] = images_JVHW[2, 1] = 7  # the image itself has no map of one model, and another none of a second
    own, *others = (Regions.of(pool(maps_VHW, GRID)) for maps_VHW in images_JVHW)
    found = metrics.floor(own, Regions.joined(others), metric)
    pooled = [pool(maps_VHW, GRID) for maps_VHW in images_JVHW]
    for a, b in all_pairs(4):
        ways = [(pooled[0][a], other[b]) for other in pooled[1:]] + [(pooled[0][b], other[a]) for other in pooled[1:]]
        there = [pair for pair in ways if all(np.ptp(cells) > 0 for cells in pair)]
        expected = np.mean([reference(*pair, "signed", metric) for pair in there]) if there else np.nan
        np.testing.assert_allclose(found[a, b], expected, rtol=0, atol=1e-9)
    assert np.isnan(found[3, 3])
    assert np.isfinite(found[3, 1])  # of maps of the other model here and of this one there


@pytest.mark.parametrize(("metric", "smallest"), [("ssim", 11), ("hog", 48)])
def test_images_too_small_for_a_metric_have_no_value_of_it(metric, smallest):
    assert metrics.SMALLEST_SIDE[metric] == smallest
    for side in (smallest - 1, smallest):
        maps_VHW = maps_of_every_sort((side, smallest))[:2]
        features = Features(maps_VHW, "signed", 2)
        found = scores(features, features, np.array([[0, 1]]), metric, "pixel")
        if side < smallest:
            assert np.isnan(found).all()
        else:
            np.testing.assert_allclose(found, [reference(*maps_VHW, "signed", metric)], rtol=0, atol=1e-9)


def test_a_map_that_varies_only_outside_the_hog_cells_has_no_hog_score():
    maps_VHW = maps_of_every_sort((50, 50))[:2]
    maps_VHW[1] = 0
    maps_VHW[1, 49, 49] = 1  # three cells of 16 pixels reach to 48
    features = Features(maps_VHW, "signed", GRID)
    assert not features.degenerate("pixel").any()
    assert np.isnan(scores(features, features, np.array([[0, 1], [1, 1]]), "hog", "pixel")).all()


def test_views():
    maps_VHW = np.array([[[-2.0, 0.0, 3.0]]], dtype=np.float32)
    assert metrics.apply_view(maps_VHW, "grad_cam", "signed").tolist() == [[[-2, 0, 3]]]
    assert metrics.apply_view(maps_VHW, "grad_cam", "magnitude").tolist() == [[[0, 0, 3]]]
    assert metrics.apply_view(maps_VHW, "guided_grad_cam", "magnitude").tolist() == [[[0, 0, 3]]]
    assert metrics.apply_view(maps_VHW, "grad_cam@early", "magnitude").tolist() == [[[0, 0, 3]]]
    assert metrics.apply_view(maps_VHW, "integrated_gradients", "magnitude").tolist() == [[[2, 0, 3]]]
    assert metrics.apply_view(maps_VHW, "module:function", "magnitude").tolist() == [[[2, 0, 3]]]


def test_resize_is_bilinear_with_half_pixel_centres():
    maps_Vhw = np.array([[[0, 4], [8, 12]]], dtype=np.float32)
    expected = [[0, 1, 3, 4], [2, 3, 5, 6], [6, 7, 9, 10], [8, 9, 11, 12]]  # weights 3/4 and 1/4, clamped at the border
    np.testing.assert_allclose(metrics.resize(maps_Vhw, 4), [expected], atol=1e-6)


@pytest.mark.parametrize(("rows", "cols", "size"), [(4, 4, 64), (14, 14, 224), (13, 9, 100), (1, 1, 8), (30, 20, 12)])
def test_resize_is_torchs_bilinear(rows, cols, size):
    maps_Vhw = np.random.default_rng(0).standard_normal((3, rows, cols)).astype(np.float32)
    maps_Vhw[1] = 0.1
    wide_V1hw = torch.from_numpy(maps_Vhw).double()[:, None]
    expected_V1HW = torch.nn.functional.interpolate(wide_V1hw, size=(size, size), mode="bilinear", align_corners=False)
    found_VHW = metrics.resize(maps_Vhw, size)
    assert found_VHW.dtype == np.float32
    np.testing.assert_allclose(found_VHW, expected_V1HW[:, 0].numpy(), rtol=0, atol=2.5e-7)
    assert np.ptp(found_VHW[1]) == 0  # a constant map stays one


def test_resize_leaves_maps_of_the_right_size_alone():
    maps_VHW = maps_of_every_sort()
    assert metrics.resize(maps_VHW, 64) is maps_VHW


def test_the_positive_part_is_taken_before_the_resize():
    maps_Vhw = np.array([[[-4, 4], [-4, 4]]], dtype=np.float32)
    found = metrics.prepare(maps_Vhw, "grad_cam", "magnitude", 4)
    np.testing.assert_allclose(found, [[[0, 1, 3, 4]] * 4], atol=1e-6)


def test_sobel_edges_of_bytes_are_those_of_the_image_in_zero_to_one():
    image_HW = np.random.default_rng(0).integers(0, 256, size=(20, 30), dtype=np.uint8)
    found = controls.sobel_edges(image_HW)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, skimage.filters.sobel(image_HW / 255.0), atol=1e-7)


@pytest.mark.parametrize("scale", options.SCALES)
def test_a_map_is_like_itself(scale):
    features = Features(maps_of_every_sort(), "signed", GRID)
    for metric in options.METRICS if scale == "pixel" else options.REGION_METRICS:
        assert metrics.self_pair_error(features, metric, scale) < 1e-12


def test_self_pair_error_is_zero_without_a_defined_map_and_shows_a_broken_metric(monkeypatch):
    constant = Features(np.ones((2, 64, 64), dtype=np.float32), "signed", GRID)
    assert metrics.self_pair_error(constant, "ssim", "pixel") == 0
    features = Features(maps_of_every_sort(), "signed", GRID)
    monkeypatch.setattr(metrics, "_overlaps", lambda a, k, b: np.full((len(a), len(b)), 0.75))
    assert metrics.self_pair_error(features, "top10", "pixel") == 0.25
    monkeypatch.setattr(metrics, "_overlaps", lambda a, k, b: np.full((len(a), len(b)), np.nan))
    assert metrics.self_pair_error(features, "top10", "pixel") == np.inf
    tiny = Features(maps_of_every_sort((8, 8)), "signed", GRID)
    assert metrics.self_pair_error(tiny, "ssim", "pixel") == 0


def autocorrelation(map_HW, lags):
    centred = map_HW - map_HW.mean()
    return np.array([(centred[:, lag:] * centred[:, : centred.shape[1] - lag]).mean() for lag in lags]) / centred.var()


@pytest.mark.parametrize("positive", [False, True])
def test_random_maps_keep_values_and_autocorrelation_and_forget_the_place(positive):
    rng = np.random.default_rng(3)
    reference_HW = scipy.ndimage.gaussian_filter(rng.standard_normal((96, 96)), 4).astype(np.float32)
    if positive:
        reference_HW = np.maximum(reference_HW, 0)
    found = [controls.random_map(reference_HW, np.random.default_rng(i)) for i in range(40)]
    for map_HW in found:
        assert map_HW.dtype == np.float32
        np.testing.assert_array_equal(np.sort(map_HW, axis=None), np.sort(reference_HW, axis=None))
    lags = [1, 2, 4, 8]
    mean = np.mean([autocorrelation(map_HW, lags) for map_HW in found], axis=0)
    np.testing.assert_allclose(mean, autocorrelation(reference_HW, lags), atol=0.06)
    correlations = [np.corrcoef(map_HW.ravel(), reference_HW.ravel())[0, 1] for map_HW in found]
    assert abs(np.mean(correlations)) < 4 * np.std(correlations) / np.sqrt(40)


def test_random_maps_of_opposite_borders_are_unrelated():
    ramp = np.linspace(-1, 1, 64, dtype=np.float32)[None].repeat(64, axis=0)
    ramp = ramp + np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32) * 0.01
    found = np.stack([controls.random_map(ramp, np.random.default_rng(i)) for i in range(100)])
    steps = np.abs(np.diff(found, axis=2)).mean()
    wrap = np.abs(found[:, :, 0] - found[:, :, -1]).mean()
    assert wrap > 5 * steps  # periodic noise would join the two borders as smoothly as two neighbours


def test_a_random_map_is_the_generators():
    reference_HW = maps_of_every_sort()[0]
    first, again, other = (controls.random_map(reference_HW, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("view", ["signed", "magnitude"])
def test_the_random_map_by_ranks_that_are_there_is_the_same(view):
    maps_VHW = metrics.prepare(maps_of_every_sort(), "grad_cam", view, 64)  # of positive parts half are tied
    features = Features(maps_VHW, view, 8)
    for map_HW, ranks_N in zip(maps_VHW, features.ranks, strict=True):
        expected = controls.random_map(map_HW, np.random.default_rng(5))
        np.testing.assert_array_equal(controls.random_map(map_HW, np.random.default_rng(5), ranks_N), expected)


def test_the_random_map_of_a_constant_map_is_constant():
    assert np.unique(controls.random_map(np.full((16, 16), 2, np.float32), np.random.default_rng(0))).tolist() == [2]


@pytest.mark.parametrize("view", options.VIEWS)
def test_maps_of_networks_of_several_sizes_are_prepared_each_as_it_is_alone(view):
    rng = np.random.default_rng(5)
    maps = [rng.standard_normal((side, side)).astype(np.float32) for side in (4, 2, 4)]
    found = metrics.prepare(metrics.stacked(maps), "grad_cam", view, 16)
    alone = [metrics.prepare(map_hw[None], "grad_cam", view, 16)[0] for map_hw in maps]
    np.testing.assert_array_equal(found, np.stack(alone))
    same = metrics.stacked([maps[0], maps[2]])
    np.testing.assert_array_equal(same, np.stack([maps[0], maps[2]]))
