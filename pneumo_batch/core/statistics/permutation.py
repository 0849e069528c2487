"""The exact permutation test over models: the model is the unit of replication, not the film.

Shapes: V models, R of them true, L relabelings.
"""

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np

from pneumo_batch.core.statistics.estimates import Permutation

_CHUNK = 65_536  # relabelings evaluated at once
_TIE = 1e-12  # two relabelings of equal statistic must not differ by rounding


def exact(matrix_VV: np.ndarray, true_count: int) -> Permutation | None:
    """All relabelings of V models as `true_count` true ones and the rest random; one-sided.

    The statistic is mean true-true less mean true-random of the symmetric matrix whose first `true_count` models are
    the true ones; its diagonal is not looked at. None without two true models and a random one, or where a pair of
    models has no value.
    """
    models = len(matrix_VV)
    filled_VV = np.where(np.eye(models, dtype=bool), 0.0, matrix_VV)
    if true_count < 2 or models <= true_count or np.isnan(filled_VV).any():
        return None
    count = math.comb(models, true_count)
    observed = _separation(filled_VV, np.arange(models)[None] < true_count)[0]
    chunks = (_whole(models, true_count),) if count <= _CHUNK else _chunks(models, true_count)
    reached = sum(int((_separation(filled_VV, is_true_LV) >= observed - _TIE).sum()) for is_true_LV in chunks)
    return Permutation(statistic=float(observed), p=reached / count, smallest_p=1 / count, relabelings=count)


def smallest_p(true_count: int, random_count: int) -> float:
    """What the test can reach at best: 3 + 3 models 0.05, 4 + 4 0.0143, 5 + 5 0.0040."""
    return 1 / math.comb(true_count + random_count, true_count)


def _separation(matrix_VV: np.ndarray, is_true_LV: np.ndarray) -> np.ndarray:
    """Mean true-true less mean true-random (L,) of L relabelings."""
    true_count = int(is_true_LV[0].sum())
    is_true_LV = is_true_LV.astype(np.float64)
    toward_LV = is_true_LV @ matrix_VV
    twice_true_L = (toward_LV * is_true_LV).sum(axis=1)  # the matrix is symmetric: every pair is met twice
    mixed_L = toward_LV.sum(axis=1) - twice_true_L
    random_count = len(matrix_VV) - true_count
    return twice_true_L / (true_count * (true_count - 1)) - mixed_L / (true_count * random_count)


def _chunks(models: int, true_count: int) -> Iterator[np.ndarray]:
    """All relabelings, as chunks (L, V) bool."""
    relabelings = itertools.combinations(range(models), true_count)
    while chosen := list(itertools.islice(relabelings, _CHUNK)):
        is_true_LV = np.zeros((len(chosen), models), dtype=bool)
        np.put_along_axis(is_true_LV, np.array(chosen), True, axis=1)
        yield is_true_LV


@functools.lru_cache(maxsize=4)
def _whole(models: int, true_count: int) -> np.ndarray:
    """The only chunk of few relabelings: every cell of a run asks for the same."""
    return next(_chunks(models, true_count))
