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


def test_every_relabeling_is_counted():
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


def test_of_many_relabelings_some_are_drawn_and_p_is_that_of_all():
    rng = np.random.default_rng(3)
    matrix = rng.random((20, 20)) + 0.1 * (np.arange(20) < 10)
    matrix = matrix + matrix.T
    np.fill_diagonal(matrix, 0)
    reached = 0
    observed = None
    every = itertools.combinations(range(20), 10)
    while chosen := list(itertools.islice(every, 50_000)):
        member = np.zeros((len(chosen), 20))
        np.put_along_axis(member, np.array(chosen), 1.0, axis=1)
        within = np.einsum("lv,vw,lw->l", member, matrix, member, optimize=True) / 90
        mixed = np.einsum("lv,vw,lw->l", member, matrix, 1 - member, optimize=True) / 100
        observed = within[0] - mixed[0] if observed is None else observed
        reached += int((within - mixed >= observed - 1e-12).sum())
    p = reached / 184_756
    found = permutation.exact(matrix, 10)
    assert 0.001 < p < 0.5
    assert found.statistic == pytest.approx(observed, abs=1e-12)
    assert found.p == pytest.approx(p, abs=4 * (p * (1 - p) / 65_536) ** 0.5)
    assert (found.relabelings, found.smallest_p) == (65_536, permutation.smallest_p(10, 10))


def test_no_number_of_models_is_too_large():
    matrix = np.where(np.arange(60)[:, None] // 30 + np.arange(60) // 30 == 0, 0.9, 0.1)
    found = permutation.exact(matrix, 30)
    assert found.p == found.smallest_p == 1 / 65_536


def test_models_that_are_all_alike_have_p_one():
    assert permutation.exact(np.full((4, 4), 1 / 3), 2).p == 1.0


def test_it_needs_two_true_models_a_random_one_and_every_pair():
    assert permutation.exact(np.ones((3, 3)), 1) is None
    assert permutation.exact(np.ones((3, 3)), 3) is None
    missing = np.ones((4, 4))
    missing[0, 1] = missing[1, 0] = NAN
    assert permutation.exact(missing, 2) is None
