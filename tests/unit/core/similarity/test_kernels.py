"""Ranks and marks of maps against scipy's, where values tie and where there are zeros of both signs."""

import numpy as np
import pytest
import scipy.stats

from pneumo_batch.core.similarity import kernels


def tied(dtype):
    rng = np.random.default_rng(0)
    values_VD = np.concatenate([rng.normal(size=(3, 96)), rng.integers(-2, 3, (3, 96)), np.zeros((1, 96))]).astype(
        dtype
    )
    values_VD[4, ::7] = -0.0
    return values_VD


def centred_ranks(values_VD):
    return 2 * scipy.stats.rankdata(values_VD, axis=1) - (values_VD.shape[1] + 1)


def test_cells_are_ranked_as_scipy_ranks_them():
    values_VD = tied(np.float64)
    order_VD, ranks_VD = kernels.descending_cells(values_VD)
    np.testing.assert_array_equal(ranks_VD, centred_ranks(values_VD))
    np.testing.assert_array_equal(order_VD, np.argsort(-values_VD, axis=1, kind="stable"))


@pytest.mark.parametrize("row", range(7))
def test_pixels_are_ranked_as_scipy_ranks_them(row):
    values_VD = tied(np.float32)[row : row + 1]
    ranks_D = np.empty(values_VD.shape[1])
    order_D = kernels.descending(values_VD[0], ranks_D)
    np.testing.assert_array_equal(ranks_D, centred_ranks(values_VD)[0])
    np.testing.assert_array_equal(order_D, np.argsort(-values_VD[0], kind="stable"))


def test_the_highest_tenth_is_rounded_up_and_marked():
    assert [kernels.tenth(count) for count in (10, 11, 256)] == [1, 2, 26]
    np.testing.assert_array_equal(kernels.mark(np.array([[2, 0], [1, 3]]), 4), [[1, 0, 1, 0], [0, 1, 0, 1]])
