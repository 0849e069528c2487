"""The array kernels under the similarity metrics.

Shapes: V maps of H x W pixels, N = H * W values of a flat map, D features of a map, G cells a side.
"""

import functools

import numpy as np
import skimage.feature

_RADIUS = 5  # scikit-image truncates the Gaussian of sigma 1.5 at 3.5 sigma
_TILE = 32  # rows of one banded product; 16 to 48 measure alike, the full matrix takes five times as long


class Window:
    """The Gaussian window of SSIM (sigma 1.5, 11 x 11) wherever it fits into an image: (H, W) -> (H - 10, W - 10).

    A banded matrix from the left and its transpose from the right, in tiles: the zeros outside the band are skipped.
    """

    def __init__(self, height: int, width: int) -> None:
        self.shape = height - 2 * _RADIUS, width - 2 * _RADIUS
        self._half_HW = np.empty((self.shape[0], width))  # kept: fresh memory costs as much as the arithmetic
        self._rows, self._columns = _tiles(self.shape[0]), _tiles(self.shape[1])

    def __call__(self, map_HW: np.ndarray, out_HW: np.ndarray) -> None:
        """Fills `out_HW` (H - 10, W - 10) float64."""
        for tile, reach, taps in self._rows:
            np.matmul(taps, map_HW[reach], out=self._half_HW[tile])
        for tile, reach, taps in self._columns:
            np.matmul(self._half_HW[:, reach], taps.T, out=out_HW[:, tile])


def _tiles(length: int) -> list[tuple[slice, slice, np.ndarray]]:
    """Rows written, rows read and their matrix, tile by tile."""
    starts = range(0, length, _TILE)
    stops = [min(start + _TILE, length) for start in starts]
    return [
        (slice(i, j), slice(i, j + 2 * _RADIUS), _BAND[: j - i, : j - i + 2 * _RADIUS])
        for i, j in zip(starts, stops, strict=True)
    ]


def _band() -> np.ndarray:
    """(tile, tile + 10): row i holds the 11 taps of the window from column i on."""
    taps = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / 1.5) ** 2)
    band = np.zeros((_TILE, _TILE + 2 * _RADIUS))
    for row in range(_TILE):
        band[row, row : row + 2 * _RADIUS + 1] = taps / taps.sum()
    return band


_BAND = _band()


def hog(map_HW: np.ndarray) -> np.ndarray:
    """scikit-image's histograms of oriented gradients (D,) float64 of a map in [0, 1], of `SMALLEST_SIDE` or larger."""
    return skimage.feature.hog(map_HW, orientations=9, pixels_per_cell=(16, 16), cells_per_block=(3, 3))


@functools.lru_cache(maxsize=16)
def cells(length: int, grid: int) -> np.ndarray:
    """(grid, length) of 0 and 1: which pixels each cell holds, torch's adaptive pooling. Not to be written to."""
    cell, pixel = np.arange(grid)[:, None], np.arange(length)
    found = ((pixel >= cell * length // grid) & (pixel < -(-(cell + 1) * length // grid))).astype(np.float64)
    found.flags.writeable = False
    return found


def centre(maps_V: np.ndarray) -> np.ndarray:
    """Each of V arrays flattened and less its mean: (V, D)."""
    flat_VD = maps_V.reshape(len(maps_V), -1)
    return flat_VD - flat_VD.mean(axis=1, keepdims=True)


def with_lengths(vectors_VD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vectors (V, D) as they are, and their Euclidean lengths (V,)."""
    return vectors_VD, np.sqrt(np.einsum("vd,vd->v", vectors_VD, vectors_VD))


def defined_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Means along an axis of the values that are there, not NaN; NaN where there is none."""
    defined = ~np.isnan(values)
    sums, counts = np.where(defined, values, 0).sum(axis=axis), defined.sum(axis=axis)
    return np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0)


def tenth(count: int) -> int:
    """How many values are the highest tenth, rounded up."""
    return -(-count // 10)


def mark(places_Vk: np.ndarray, count: int) -> np.ndarray:
    """(V, N) float32 of N = `count`: 1 at these positions of each row, 0 elsewhere."""
    marks_VN = np.zeros((len(places_Vk), count), dtype=np.float32)  # float32 counts are exact to 2**24 pixels
    np.put_along_axis(marks_VN, places_Vk, 1, axis=1)
    return marks_VN


def descending(values_N: np.ndarray, ranks_N: np.ndarray) -> np.ndarray:
    """Positions of float32 values from the highest down, equal ones in order; fills `ranks_N`.

    The ranks are twice scipy's average rank less (N + 1): whole numbers, so that inner products of up to 300 000
    pixels are exact in float64 and depend on no order of summation. The sort is of one whole number per pixel, its
    value's bits above its position, several times faster than a stable argsort and just as stable.
    """
    bits_N = (values_N + np.float32(0)).view(np.uint32)  # -0.0 + 0.0 is 0.0: the two zeros tie
    descending_N = np.where(bits_N >> 31, bits_N, ~(bits_N | np.uint32(1 << 31)))
    packed_N = descending_N.astype(np.uint64) << np.uint64(32) | np.arange(len(bits_N), dtype=np.uint64)
    packed_N.sort()
    order_N = (packed_N & np.uint64(0xFFFFFFFF)).astype(np.int64)
    ranks_N[order_N] = _ranks(packed_N >> np.uint64(32))
    return order_N


def descending_cells(values_VD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `descending`, of a few float64 values a map: positions (V, D) and ranks (V, D) float64."""
    order_VD, ranks_VD = np.argsort(-values_VD, axis=1, kind="stable"), np.empty(values_VD.shape)
    for values_D, order_D, ranks_D in zip(values_VD, order_VD, ranks_VD, strict=True):
        ranks_D[order_D] = _ranks(values_D[order_D])
    return order_VD, ranks_VD


def _ranks(sorted_N: np.ndarray) -> np.ndarray:
    """Ranks of values that are sorted from the highest down."""
    starts = np.flatnonzero(np.concatenate([[True], sorted_N[1:] != sorted_N[:-1]]))
    ends = np.append(starts[1:], len(sorted_N))
    return np.repeat(len(sorted_N) - starts - ends, ends - starts)
