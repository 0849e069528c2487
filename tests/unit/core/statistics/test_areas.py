"""The AUROC of resampled patients against counting every pair of images."""

from fractions import Fraction

import numpy as np
import pytest

from pneumo_batch.core.statistics import areas
from pneumo_batch.core.statistics.areas import ResampledArea


def by_counting(scores_N, positive_N, weights_N):
    """The fraction as it is, pair by pair."""
    won = pairs = 0
    for i in np.flatnonzero(positive_N):
        for j in np.flatnonzero(~positive_N):
            pairs += int(weights_N[i] * weights_N[j])
            twice = 2 if scores_N[i] > scores_N[j] else int(scores_N[i] == scores_N[j])
            won += int(weights_N[i] * weights_N[j]) * twice
    return float(Fraction(won, 2 * pairs)) if pairs else float("nan")


@pytest.mark.parametrize("images", [1, 2, 15, 16, 17, 33, 70])
@pytest.mark.parametrize("decimals", [0, 1, 6])  # nearly all images tied, some, none
def test_every_resample_is_what_counting_pairs_gives(monkeypatch, images, decimals):
    monkeypatch.setattr(areas, "_RESAMPLES", 3)  # of seven: the last part is smaller
    monkeypatch.setattr(areas, "_HELD", 0)
    rng = np.random.default_rng(images)
    positive, patients = rng.integers(0, 2, images) == 1, rng.integers(0, 9, images)
    scores = np.round(rng.normal(size=images) + positive, decimals)
    weights = rng.integers(0, 4, (7, 9)).astype(float)
    weights[0], weights[1] = 255, 0  # the most that may be, and nobody
    found = ResampledArea(scores, positive, patients).of(weights)
    expected = [by_counting(scores, positive, one[patients]) for one in weights]
    np.testing.assert_array_equal(found, expected)


def test_the_heaviest_weights_are_counted_exactly_over_many_blocks():
    # positives and negatives in turn: the k-th positive is above k + 1 negatives
    count = 5000
    found = ResampledArea(np.arange(2.0 * count), np.arange(2 * count) % 2 == 1, np.arange(2 * count))
    expected = float(Fraction(count * (count + 1) // 2, count**2))
    assert found.of(np.full((2, 2 * count), 255.0)).tolist() == [expected, expected]


def test_what_is_no_number_ties_with_nothing():
    found = ResampledArea(np.array([np.nan, np.nan, 0.0]), np.array([True, False, False]), np.arange(3))
    # sorted last in the order given: the positive is above 0 and below the other that is no number
    assert found.of(np.ones((1, 3))).tolist() == [0.5]
