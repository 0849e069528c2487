import math

import numpy as np

from pneumo_batch.core.attribution import localisation

MASK = np.array([[True, False], [False, False]])


def test_share_of_the_positive_attribution_inside_the_mask():
    assert localisation.positive_share(np.array([[3.0, 1.0], [-5.0, 0.0]]), MASK) == 0.75
    assert localisation.positive_share(np.ones((2, 2)), MASK) == 0.25  # a map that knows nothing: the mask's own share
    assert math.isnan(localisation.positive_share(-np.ones((2, 2)), MASK))


def test_the_pointing_game_asks_for_the_highest_value():
    assert localisation.points_inside(np.array([[3.0, 1.0], [-5.0, 0.0]]), MASK)
    assert not localisation.points_inside(np.array([[0.0, 1.0], [-5.0, 0.0]]), MASK)
