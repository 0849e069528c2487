"""A metric of the user's own, "module:function", called as function(a_HW, b_HW) -> float for one pair of maps.

It gets what the built-in metrics compare: maps in one view, float64, at the network's resolution or pooled to cells.
Shapes: V and W maps (variants) of an image, P pairs.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pneumo_batch.core.user_code import Code, user_callable
from pneumo_batch.errors import JobError

_TOLERANCE = 1e-6  # of a similarity, in single precision


class Maps(NamedTuple):
    """Maps (V, H, W) float64 at one scale, and which of them are constant: those have no similarity to anything."""

    values_VHW: np.ndarray
    degenerate_V: np.ndarray


def is_users(metric: str) -> bool:
    """Whether a metric's name is that of a function of the user's."""
    return ":" in metric


def scores(metric: str, a: Maps, b: Maps, pairs_P2: np.ndarray) -> np.ndarray:
    """The metric between map `pairs_P2[:, 0]` of `a` and map `pairs_P2[:, 1]` of `b`: (P,) float64.

    NaN where undefined. Raises JobError for what is no number from -1 to 1, ValueError where there is no function.
    """
    function = user_callable(metric)
    found_P = np.full(len(pairs_P2), np.nan)
    for p, (i, j) in enumerate(pairs_P2):
        if not (a.degenerate_V[i] or b.degenerate_V[j]):
            found_P[p] = _score(metric, function, a.values_VHW[i], b.values_VHW[j])
    return found_P


def table(metric: str, a: Maps, b: Maps) -> np.ndarray:
    """As `scores`, between every map of `a` and every one of `b`: (V, W)."""
    shape = len(a.values_VHW), len(b.values_VHW)
    return scores(metric, a, b, np.indices(shape).reshape(2, -1).T).reshape(shape)


def check(metric: str, shapes: dict[str, tuple[int, int]]) -> dict[str, bool]:
    """Try a metric on two maps of noise of each scale's shape; by scale, whether it has a value there.

    Raises JobError unless it is a number from -1 to 1 or NaN, 1 of a map with itself, and the same both ways.
    """
    try:
        user_callable(metric)
    except ValueError as error:
        raise JobError(f"compare.metrics: {error}") from error
    rng = np.random.default_rng(0)
    return {scale: _check(metric, scale, rng.standard_normal((2, *shape))) for scale, shape in shapes.items()}


def check_all(metrics: Iterable[str], primary: tuple[str, str], size: int, grid: int) -> None:
    """Try those among `metrics` that are the user's, on `size` x `size` pixels and on `grid` x `grid` cells.

    Raises JobError as `check` does, and where the `primary` (metric, scale) has no value.
    """
    for metric in filter(is_users, metrics):
        has_value = check(metric, {"pixel": (size, size), "region": (grid, grid)})
        if metric == primary[0] and not has_value[primary[1]]:
            raise JobError(f"compare.primary: {metric} has no value at the {primary[1]} scale: name another")


def _check(metric: str, scale: str, noise_2HW: np.ndarray) -> bool:
    maps = Maps(noise_2HW, np.zeros(2, dtype=bool))
    try:
        (own, there), (back, other) = table(metric, maps, maps)
    except JobError:
        raise
    except Exception as error:  # whatever code of the user's may raise
        reason = (str(error).splitlines() or [""])[0]
        raise JobError(
            f"compare.metrics: {metric} failed at {scale} scale, on maps {noise_2HW.shape[1:]}: {type(error).__name__}:"
            f" {reason}; where it has no value it has to return NaN"
        ) from error
    for value in (own, other):
        if not np.isnan(value) and abs(value - 1) > _TOLERANCE:
            raise JobError(f"compare.metrics: {metric} of a map with itself is {value:g}, and has to be 1")
    if np.isnan(there) != np.isnan(back) or abs(there - back) > _TOLERANCE:
        raise JobError(f"compare.metrics: {metric} has to be symmetric; it is {there:g} one way, {back:g} the other")
    return not np.isnan(there)


def _score(metric: str, function: Code, a_HW: np.ndarray, b_HW: np.ndarray) -> float:
    try:
        value = float(function(_read_only(a_HW), _read_only(b_HW)))
    except TypeError as error:
        raise JobError(f"compare.metrics: {metric} has to return a number for two maps (H, W): {error}") from error
    if np.isnan(value) or abs(value) <= 1:
        return value
    if abs(value) <= 1 + _TOLERANCE:
        return float(np.clip(value, -1, 1))
    raise JobError(f"compare.metrics: {metric} returned {value:g}: a similarity lies in -1 to 1")


def _read_only(map_HW: np.ndarray) -> np.ndarray:
    """A view: other pairs are compared with the same map."""
    view = map_HW.view()
    view.flags.writeable = False
    return view
