import math

import numpy as np
import pytest
import skimage.filters
from sklearn.metrics import average_precision_score, jaccard_score

from pneumo_batch.core.attribution import localisation

MASK = np.array([[True, False], [False, False]])


def test_share_of_the_positive_attribution_inside_the_mask():
    assert localisation.positive_share(np.array([[3.0, 1.0], [-5.0, 0.0]]), MASK) == 0.75
    assert localisation.positive_share(np.ones((2, 2)), MASK) == 0.25  # a map that knows nothing: the mask's own share
    assert math.isnan(localisation.positive_share(-np.ones((2, 2)), MASK))


def test_the_pointing_game_asks_for_the_highest_value():
    assert localisation.points_inside(np.array([[3.0, 1.0], [-5.0, 0.0]]), MASK) == 1
    assert localisation.points_inside(np.array([[0.0, 1.0], [-5.0, 0.0]]), MASK) == 0
    for value in (0.0, 2.0, -1.0):  # a constant map has no highest value, whether or not its corner is inside
        assert math.isnan(localisation.points_inside(np.full((2, 2), value), MASK))
        assert math.isnan(localisation.points_inside(np.full((2, 2), value), ~MASK))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [3, 1000])
def test_average_precision_is_that_of_scikit_learn(seed, levels):
    """With few levels most pixels are ties."""
    rng = np.random.default_rng(seed)
    map_HW = (rng.integers(-levels, levels, (24, 30)) / levels).astype(np.float32)
    mask_HW = rng.random((24, 30)) < rng.uniform(0.02, 0.6)
    expected = average_precision_score(mask_HW.ravel(), map_HW.ravel())
    assert localisation.average_precision(map_HW, mask_HW) == pytest.approx(expected, abs=1e-12)


def test_average_precision_by_hand():
    map_HW = np.array([[4.0, 3.0], [2.0, 1.0]])
    assert localisation.average_precision(map_HW, map_HW == 4) == 1
    assert localisation.average_precision(map_HW, map_HW == 1) == 0.25
    assert localisation.average_precision(map_HW, (map_HW == 4) | (map_HW == 2)) == pytest.approx((1 + 2 / 3) / 2)
    assert localisation.average_precision(np.ones((2, 2)), MASK) == 0.25  # a map that knows nothing
    assert math.isnan(localisation.average_precision(map_HW, np.zeros((2, 2), bool)))


def test_what_otsu_leaves_of_the_positive_part_is_compared_with_the_mask():
    map_HW = np.zeros((4, 4))
    map_HW[0, :2], map_HW[3, 3] = 1.0, -5.0
    mask_HW = np.zeros((4, 4), bool)
    mask_HW[0, 1:4] = True
    assert localisation.otsu_overlap(map_HW, mask_HW) == 0.25  # one pixel of both, four of either
    assert math.isnan(localisation.otsu_overlap(-np.ones((4, 4)), mask_HW))
    rng = np.random.default_rng(0)
    map_HW, mask_HW = rng.random((16, 16)), rng.random((16, 16)) < 0.3
    above_HW = map_HW > skimage.filters.threshold_otsu(map_HW)
    expected = jaccard_score(mask_HW.ravel(), above_HW.ravel())
    assert localisation.otsu_overlap(map_HW, mask_HW) == pytest.approx(expected)
