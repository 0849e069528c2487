"""Everything that a metric needs of maps, computed once per map.

Shapes: V maps (variants) of one image, H x W pixels, N = H * W values of a flat map, G x G cells, D features of a map.
Arithmetic is float64, whatever the maps are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pneumo_batch.core.similarity import kernels, users_metric


@dataclass(frozen=True)
class Regions:
    """What the region metrics need of V maps in one view: a few kilobytes, so that many images' can be held."""

    degenerate_V: np.ndarray  # bool
    vectors: Mapping[str, tuple[np.ndarray, np.ndarray]]  # by metric (V, D) centred, and their lengths (V,)
    marks_VD: np.ndarray  # float32, 1 at the k highest cells
    k: int
    pooled_VGG: np.ndarray  # for metrics of the user's own

    @classmethod
    def of(cls, pooled_VGG: np.ndarray) -> "Regions":
        """Of maps pooled to G x G cells (`pool`)."""
        flat_VD = pooled_VGG.reshape(len(pooled_VGG), -1)
        order_VD, ranks_VD = kernels.descending_cells(flat_VD)
        k = kernels.tenth(flat_VD.shape[1])
        marks_VD = kernels.mark(order_VD[:, :k], flat_VD.shape[1])
        vectors = {"spearman": kernels.with_lengths(ranks_VD), "pearson": kernels.with_lengths(kernels.centre(flat_VD))}
        return cls(np.ptp(flat_VD, axis=1) == 0, vectors, marks_VD, k, pooled_VGG)

    @classmethod
    def joined(cls, parts: Sequence["Regions"]) -> "Regions":
        """Those of several images one after the other."""
        vectors = {
            metric: (
                np.concatenate([part.vectors[metric][0] for part in parts]),
                np.concatenate([part.vectors[metric][1] for part in parts]),
            )
            for metric in parts[0].vectors
        }
        degenerate_V = np.concatenate([part.degenerate_V for part in parts])
        marks_VD = np.concatenate([part.marks_VD for part in parts])
        pooled_VGG = np.concatenate([part.pooled_VGG for part in parts])
        return cls(degenerate_V, vectors, marks_VD, parts[0].k, pooled_VGG)

    @property
    def maps(self) -> users_metric.Maps:
        return users_metric.Maps(self.pooled_VGG, self.degenerate_V)


def pool(maps_VHW: np.ndarray, grid: int) -> np.ndarray:
    """Means of grid x grid cells (V, G, G) float64, drawn as torch's adaptive_avg_pool2d does where they do not divide.

    Maps that are not finite become zeros: they are degenerate, and must not spoil a product with others.
    """
    rows_GH = kernels.cells(maps_VHW.shape[1], grid)
    cols_GW = kernels.cells(maps_VHW.shape[2], grid)
    # Sums before the division: sums of equal float32 values are exact in float64, so equal cells stay tied.
    sums_VGG = rows_GH @ finite(maps_VHW) @ cols_GW.T
    return sums_VGG / (rows_GH.sum(axis=1)[:, None] * cols_GW.sum(axis=1))


def finite(maps_VHW: np.ndarray) -> np.ndarray:
    """Float64, maps that are not finite as zeros."""
    maps_VHW = maps_VHW.astype(np.float64)
    maps_VHW[~np.isfinite(maps_VHW).all(axis=(1, 2))] = 0
    return maps_VHW


class Features:
    """What every metric needs of V maps in one view, each part computed once, when first asked for.

    `maps_VHW` float32 at input resolution, the view already applied (`prepare`); `region_grid` cells a side.
    `regions`, where somebody has them already, are not computed again.
    """

    def __init__(self, maps_VHW: np.ndarray, view: str, region_grid: int, regions: Regions | None = None) -> None:
        assert maps_VHW.ndim == 3, maps_VHW.shape
        assert maps_VHW.dtype == np.float32, maps_VHW.dtype
        self.maps_VHW, self.view, self.region_grid = maps_VHW, view, region_grid
        self._regions = regions

    def degenerate(self, scale: str) -> np.ndarray:
        """(V,) bool: constant, or not finite, at this scale: such a map has no similarity to anything."""
        return self._degenerate_pixel if scale == "pixel" else self.regions.degenerate_V

    def centred(self, metric: str, scale: str) -> tuple[np.ndarray, np.ndarray]:
        """Feature vectors (V, D) whose normalised inner product is the metric, and their lengths (V,)."""
        if scale == "region":
            return self.regions.vectors[metric]
        match metric:
            case "spearman":
                return self._spearman_pixel
            case "pearson":
                return self._pearson_pixel
            case _:
                return self._hog_pixel

    def top(self, scale: str) -> tuple[np.ndarray, int]:
        """(V, N) float32, 1 at the k highest values, ties going to the first in row-major order; and k = ceil(N/10).

        With that k the set is the values above the 90th percentile where there are no ties.
        """
        return self._top_pixel if scale == "pixel" else (self.regions.marks_VD, self.regions.k)

    def maps(self, scale: str) -> users_metric.Maps:
        """As a metric of the user's own gets them."""
        return users_metric.Maps(self._finite, self._degenerate_pixel) if scale == "pixel" else self.regions.maps

    @cached_property
    def regions(self) -> Regions:
        return self._regions or Regions.of(pool(self.maps_VHW, self.region_grid))

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of each map over its largest |value|: the map (V, H, W), its local mean, the square of that, its variance.

        The local moments (V, H - 10, W - 10) leave out the border, as scikit-image's mean over the image does.
        """
        peak_V = np.abs(self._finite).max(axis=(1, 2))
        maps_VHW = self._finite / np.where(peak_V > 0, peak_V, 1)[:, None, None]
        window = kernels.Window(*maps_VHW.shape[1:])
        mean_VHW, variance_VHW = np.empty((2, len(maps_VHW), *window.shape))
        for map_HW, mean_HW, variance_HW in zip(maps_VHW, mean_VHW, variance_VHW, strict=True):
            window(map_HW, mean_HW)
            window(map_HW * map_HW, variance_HW)
        square_VHW = mean_VHW * mean_VHW
        return maps_VHW, mean_VHW, square_VHW, variance_VHW - square_VHW

    @property
    def ranks(self) -> np.ndarray:
        """Of the pixels of each map (V, N), as `kernels.descending` has them."""
        return self._pixel_order[0]

    @cached_property
    def _finite(self) -> np.ndarray:
        return finite(self.maps_VHW)

    @cached_property
    def _degenerate_pixel(self) -> np.ndarray:
        return np.ptp(self._finite, axis=(1, 2)) == 0

    @cached_property
    def _pixel_order(self) -> tuple[np.ndarray, np.ndarray]:
        """Centred ranks (V, N) and the positions (V, k) of the highest values: one sort serves both."""
        flat_VN = self._finite.astype(np.float32).reshape(len(self.maps_VHW), -1)
        ranks_VN = np.empty(flat_VN.shape)
        highest_Vk = np.empty((len(flat_VN), kernels.tenth(flat_VN.shape[1])), dtype=np.int64)
        for flat_N, ranks_N, highest_k in zip(flat_VN, ranks_VN, highest_Vk, strict=True):
            highest_k[:] = kernels.descending(flat_N, ranks_N)[: len(highest_k)]
        return ranks_VN, highest_Vk

    @cached_property
    def _top_pixel(self) -> tuple[np.ndarray, int]:
        ranks_VN, highest_Vk = self._pixel_order
        return kernels.mark(highest_Vk, ranks_VN.shape[1]), highest_Vk.shape[1]

    @cached_property
    def _spearman_pixel(self) -> tuple[np.ndarray, np.ndarray]:
        return kernels.with_lengths(self._pixel_order[0])

    @cached_property
    def _pearson_pixel(self) -> tuple[np.ndarray, np.ndarray]:
        return kernels.with_lengths(kernels.centre(self._finite))

    @cached_property
    def _hog_pixel(self) -> tuple[np.ndarray, np.ndarray]:
        low_V11 = self._finite.min(axis=(1, 2), keepdims=True)
        spread_V11 = np.ptp(self._finite, axis=(1, 2), keepdims=True)
        unit_VHW = (self._finite - low_V11) / np.where(spread_V11 > 0, spread_V11, 1)
        return kernels.with_lengths(kernels.centre(np.stack([kernels.hog(map_HW) for map_HW in unit_VHW])))
