"""How alike two maps are: everything a metric needs is computed once per map, then all pairs at once.

Shapes: V maps (variants) of one image, H x W pixels, h x w a layer's own resolution, N = H * W values of a flat map,
D features of a map, P pairs. Arithmetic is float64, whatever the maps are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.special
import scipy.stats
import skimage.filters

from pneumo_batch.core.similarity import kernels, users_metric
from pneumo_batch.core.similarity.options import REGION_METRICS, SMALLEST_SIDE

# These methods claim only their positive part (Selvaraju et al. 2017, equation 2); of others the magnitude is |a|.
POSITIVE_PART = frozenset({"grad_cam", "guided_grad_cam"})

_DATA_RANGE = {"signed": 2.0, "magnitude": 1.0}


def has_regions(metric: str) -> bool:
    """Whether a metric is defined at the region scale."""
    return metric in REGION_METRICS or users_metric.is_users(metric)


def apply_view(maps_VHW: np.ndarray, method: str, view: str) -> np.ndarray:
    """The `signed` view is the map as stored; `magnitude` is max(a, 0) for class-activation maps and |a| otherwise."""
    if view == "signed":
        return maps_VHW
    assert view == "magnitude", view
    return np.maximum(maps_VHW, 0) if method in POSITIVE_PART else np.abs(maps_VHW)


def resize(maps_Vhw: np.ndarray, size: int) -> np.ndarray:
    """Maps at `size` x `size`, float32: bilinear, align_corners=False, as torch defines it."""
    if maps_Vhw.shape[1:] == (size, size):
        return np.asarray(maps_Vhw, dtype=np.float32)
    _, h, w = maps_Vhw.shape
    maps_Vhw = np.asarray(maps_Vhw, dtype=np.float32)  # not torch's own: seconds of import on every worker
    return scipy.ndimage.zoom(maps_Vhw, (1, size / h, size / w), order=1, mode="nearest", grid_mode=True)


def prepare(maps_Vhw: np.ndarray, method: str, view: str, size: int) -> np.ndarray:
    """Stored maps as they are compared: the view first, then the resize, the order of captum's Grad-CAM.

    A bilinear mean of positive parts differs from the positive part of a bilinear mean where the sign changes.
    """
    return resize(apply_view(maps_Vhw, method, view), size)


def sobel_edges(image_HW: np.ndarray) -> np.ndarray:
    """The map that needs no model: skimage.filters.sobel of the image, uint8 or float in [0, 1]; (H, W) float32."""
    return skimage.filters.sobel(image_HW).astype(np.float32)


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
        ranks_VD = 2 * scipy.stats.rankdata(flat_VD, axis=1) - (flat_VD.shape[1] + 1)
        marks_VD, k = kernels.mark(np.argsort(-flat_VD, axis=1, kind="stable"))
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
        return self._pixel_order[1] if scale == "pixel" else (self.regions.marks_VD, self.regions.k)

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

    @cached_property
    def _finite(self) -> np.ndarray:
        return finite(self.maps_VHW)

    @cached_property
    def _degenerate_pixel(self) -> np.ndarray:
        return np.ptp(self._finite, axis=(1, 2)) == 0

    @cached_property
    def _pixel_order(self) -> tuple[np.ndarray, tuple[np.ndarray, int]]:
        """Centred ranks (V, N) and the marks of `top`: one sort serves both."""
        flat_VN = self._finite.astype(np.float32).reshape(len(self.maps_VHW), -1)
        ranks_VN = np.empty(flat_VN.shape)
        order_VN = np.empty(flat_VN.shape, dtype=np.int64)
        for flat_N, ranks_N, order_N in zip(flat_VN, ranks_VN, order_VN, strict=True):
            order_N[:] = kernels.descending(flat_N, ranks_N)
        return ranks_VN, kernels.mark(order_VN)

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


def scores(a: Features, b: Features, pairs_P2: np.ndarray, metric: str, scale: str) -> np.ndarray:
    """The metric between map `pairs_P2[:, 0]` of `a` and map `pairs_P2[:, 1]` of `b`: (P,) float64.

    NaN where either map is degenerate or the image is too small for the metric (`SMALLEST_SIDE`). The definitions
    are those of scipy.stats.spearmanr, numpy.corrcoef, skimage structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False), and skimage hog; `top10` is the intersection over union of the two `Features.top`.
    """
    if users_metric.is_users(metric):
        return users_metric.scores(metric, a.maps(scale), b.maps(scale), pairs_P2)
    assert scale == "pixel" or has_regions(metric), (metric, scale)
    if metric != "ssim":
        return table(a, b, metric, scale)[pairs_P2[:, 0], pairs_P2[:, 1]]
    if min(a.maps_VHW.shape[1:]) < SMALLEST_SIDE[metric]:
        return np.full(len(pairs_P2), np.nan)
    undefined_P = a.degenerate(scale)[pairs_P2[:, 0]] | b.degenerate(scale)[pairs_P2[:, 1]]
    return np.where(undefined_P, np.nan, _ssim(a, b, pairs_P2))


def floor(own: Regions, others: Regions, metric: str) -> np.ndarray:
    """The metric between maps of an image and those of J others, both ways: (V, V) float64, symmetric.

    `others` holds V maps an image, one image after the other (`Regions.joined`). Entry (a, b) is the mean over the
    other images j of the metric of a(i) with b(j) and of b(i) with a(j), those without a value left out; NaN without
    any.
    """
    if users_metric.is_users(metric):
        return both_ways(users_metric.table(metric, own.maps, others.maps))
    table_VJ = (
        _overlaps(own.marks_VD, own.k, others.marks_VD)
        if metric == "top10"
        else _products(*own.vectors[metric], *others.vectors[metric])
    )
    table_VJ[own.degenerate_V] = np.nan
    table_VJ[:, others.degenerate_V] = np.nan
    return both_ways(table_VJ)


def table(a: Features, b: Features, metric: str, scale: str) -> np.ndarray:
    """(V, V) float64: the metric, any but SSIM, between every map of `a` and every one of `b`; NaN where undefined."""
    if users_metric.is_users(metric):
        return users_metric.table(metric, a.maps(scale), b.maps(scale))
    if min(a.maps_VHW.shape[1:]) < SMALLEST_SIDE[metric]:
        return np.full((len(a.maps_VHW), len(b.maps_VHW)), np.nan)
    table_VV = (
        _overlaps(*a.top(scale), b.top(scale)[0])
        if metric == "top10"
        else _products(*a.centred(metric, scale), *b.centred(metric, scale))
    )
    table_VV[a.degenerate(scale)] = np.nan
    table_VV[:, b.degenerate(scale)] = np.nan
    return table_VV


def both_ways(table_VJ: np.ndarray) -> np.ndarray:
    """(V, V): of V maps here and V of each other image, one image after the other, the mean over images and ways.

    Entry (a, b) is the mean of a here with b there and of b here with a there, those without a value left out.
    """
    models = len(table_VJ)
    each_VJV = table_VJ.reshape(models, -1, models)
    both_V2JV = np.concatenate([each_VJV, each_VJV.transpose(2, 1, 0)], axis=1)
    defined_V2JV = ~np.isnan(both_V2JV)
    sums_VV, counts_VV = np.where(defined_V2JV, both_V2JV, 0).sum(axis=1), defined_V2JV.sum(axis=1)
    return np.divide(sums_VV, counts_VV, out=np.full(sums_VV.shape, np.nan), where=counts_VV > 0)


def self_pair_error(features: Features, metric: str, scale: str) -> float:
    """The largest |score - 1| of a map with itself: a broken metric shows here.

    0 when no map has a score; infinite if one without an excuse has none. HOG is excused: it can see nothing in a map;
    so are metrics of the user's own.
    """
    maps = np.arange(len(features.maps_VHW))
    errors_V = np.abs(scores(features, features, np.stack([maps, maps], axis=1), metric, scale) - 1)
    too_small = min(features.maps_VHW.shape[1:]) < SMALLEST_SIDE.get(metric, 1)
    excused_V = features.degenerate(scale) | (metric == "hog") | too_small | users_metric.is_users(metric)
    errors_V[np.isnan(errors_V)] = np.where(excused_V, 0, np.inf)[np.isnan(errors_V)]
    return float(errors_V.max(initial=0))


def random_map(reference_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise that shares with a map its values and its autocorrelation, and nothing else: (H, W) float32.

    An amplitude-adjusted phase-randomised surrogate (Theiler et al., Physica D 58, 1992): the ranks of the map as
    normal quantiles, their spectrum with the phases of white noise, and the map's own values put back by rank. The
    spectrum is that of the map mirrored at its borders, so that opposite borders are not neighbours.
    """
    height, width = reference_HW.shape
    ranks_N = np.empty(reference_HW.size)
    kernels.descending(reference_HW.astype(np.float32).ravel(), ranks_N)  # from 1 - N to N - 1 in steps of 2
    normal_N = scipy.special.ndtri(0.5 + ranks_N / (2 * (ranks_N.size + 1)))
    normal_HW = normal_N.astype(np.float32).reshape(height, width)
    mirrored = np.pad(normal_HW - normal_HW.mean(), ((0, height), (0, width)), mode="symmetric")
    phases = scipy.fft.rfft2(rng.standard_normal(mirrored.shape, dtype=np.float32))
    spectrum = phases * (np.abs(scipy.fft.rfft2(mirrored)) / np.abs(phases))
    noise_HW = scipy.fft.irfft2(spectrum, s=mirrored.shape)[:height, :width]
    surrogate_N = np.empty(reference_HW.size, dtype=np.float32)
    surrogate_N[np.argsort(noise_HW, axis=None)] = np.sort(reference_HW, axis=None)
    return surrogate_N.reshape(height, width)


def _products(a_VD: np.ndarray, a_V: np.ndarray, b_VD: np.ndarray, b_V: np.ndarray) -> np.ndarray:
    """(V, V) normalised inner products, NaN where a vector has no length."""
    products_VV, lengths_VV = a_VD @ b_VD.T, a_V[:, None] * b_V
    table_VV = np.divide(products_VV, lengths_VV, out=np.full(products_VV.shape, np.nan), where=lengths_VV > 0)
    return np.clip(table_VV, -1, 1)


def _overlaps(a_VN: np.ndarray, k: int, b_VN: np.ndarray) -> np.ndarray:
    """(V, V): intersection over union of sets of k marks."""
    shared_VV = (a_VN @ b_VN.T).astype(np.float64)
    return shared_VV / (2 * k - shared_VV)


def _ssim(a: Features, b: Features, pairs_P2: np.ndarray) -> np.ndarray:
    """Wang et al. 2004, equation 13, with K1 = 0.01 and K2 = 0.03; only the cross moment belongs to the pair."""
    (a_maps, a_mean, a_square, a_var), (b_maps, b_mean, b_square, b_var) = a.moments, b.moments
    c1, c2 = (0.01 * _DATA_RANGE[a.view]) ** 2, (0.03 * _DATA_RANGE[a.view]) ** 2
    window, product_HW = kernels.Window(*a_maps.shape[1:]), np.empty(a_maps.shape[1:])
    means, covariance, denominator = np.empty((3, *window.shape))
    scores_P = np.empty(len(pairs_P2))
    for p, (i, j) in enumerate(pairs_P2):  # in place: one pair's arrays stay in the cache
        window(np.multiply(a_maps[i], b_maps[j], out=product_HW), covariance)
        np.multiply(a_mean[i], b_mean[j], out=means)
        covariance -= means
        for term, constant in ((means, c1), (covariance, c2)):
            term *= 2
            term += constant
        means *= covariance
        np.add(a_var[i], b_var[j], out=denominator)
        denominator += c2
        means /= denominator
        np.add(a_square[i], b_square[j], out=denominator)
        denominator += c1
        means /= denominator
        scores_P[p] = means.mean()
    return scores_P
