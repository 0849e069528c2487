import itertools

import numpy as np
import pytest

from pneumo_batch.core.statistics import permutation

NAN = float("nan")


@pytest.mark.parametrize(
    ("true", "random", "smallest"), [(2, 2, 1 / 6), (3, 3, 1 / 20), (4, 4, 1 / 70), (5, 5, 1 / 252)]
)
def test_the_smallest_p_is_reached_by_complete_separation(true, random, smallest):
    is_true = np.arange(true + random) < true
    matrix = np.where(is_true[:, None] & is_true, 0.9, 0.1)
    np.fill_diagonal(matrix, NAN)
    found = permutation.exact(matrix, true)
    assert found.p == found.smallest_p == permutation.smallest_p(true, random) == pytest.approx(smallest)
    assert found.statistic == pytest.approx(0.8)


@pytest.mark.parametrize("chunk", [7, 65_536])
def test_every_relabeling_is_counted(monkeypatch, chunk):
    monkeypatch.setattr(permutation, "_CHUNK", chunk)
    rng = np.random.default_rng(2)
    matrix = rng.random((6, 6))
    matrix = matrix + matrix.T

    def separation(chosen):
        rest = [m for m in range(6) if m not in chosen]
        within = [matrix[a, b] for a, b in itertools.combinations(chosen, 2)]
        return np.mean(within) - np.mean([matrix[a, b] for a in chosen for b in rest])

    every = [separation(chosen) for chosen in itertools.combinations(range(6), 3)]
    found = permutation.exact(matrix, 3)
    assert found.statistic == pytest.approx(every[0], abs=1e-12)
    assert found.p == sum(value >= every[0] - 1e-12 for value in every) / 20
    assert found.relabelings == 20


def test_models_that_are_all_alike_have_p_one():
    assert permutation.exact(np.full((4, 4), 1 / 3), 2).p == 1.0


def test_it_needs_two_true_models_a_random_one_and_every_pair():
    assert permutation.exact(np.ones((3, 3)), 1) is None
    assert permutation.exact(np.ones((3, 3)), 3) is None
    missing = np.ones((4, 4))
    missing[0, 1] = missing[1, 0] = NAN
    assert permutation.exact(missing, 2) is None
