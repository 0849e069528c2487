"""Maps as they are compared, and how alike two are: all pairs at once, from the features of each (features.py).

Shapes: V maps (variants) of one image, H x W pixels, h x w a layer's own resolution, N = H * W values of a flat map,
D features of a map, P pairs. Arithmetic is float64, whatever the maps are.
"""

import numpy as np
import scipy.ndimage

from pneumo_batch.core.method_names import method_of
from pneumo_batch.core.similarity import kernels, users_metric
from pneumo_batch.core.similarity.features import Features, Regions
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
    return np.maximum(maps_VHW, 0) if method_of(method) in POSITIVE_PART else np.abs(maps_VHW)


def resize(maps_Vhw: np.ndarray, size: int) -> np.ndarray:
    """Maps at `size` x `size`, float32: bilinear, align_corners=False, as torch defines it."""
    if maps_Vhw.shape[1:] == (size, size):
        return np.asarray(maps_Vhw, dtype=np.float32)
    _, h, w = maps_Vhw.shape
    maps_Vhw = np.asarray(maps_Vhw, dtype=np.float32)  # not torch's own: seconds of import on every worker
    return scipy.ndimage.zoom(maps_Vhw, (1, size / h, size / w), order=1, mode="nearest", grid_mode=True)


Maps = np.ndarray | list[np.ndarray]  # (V, h, w); a map each (h, w) where networks give maps of several sizes


def stacked(maps: list[np.ndarray]) -> Maps:
    """Maps of one image by several networks, as one array where they are of one size."""
    return np.stack(maps) if len({map_hw.shape for map_hw in maps}) < 2 else maps


def prepare(maps: Maps, method: str, view: str, size: int) -> np.ndarray:
    """Stored maps as they are compared, (V, size, size): the view first, then the resize, as captum's Grad-CAM does.

    A bilinear mean of positive parts differs from the positive part of a bilinear mean where the sign changes.
    """
    if isinstance(maps, list):
        return np.concatenate([prepare(map_hw[None], method, view, size) for map_hw in maps])
    return resize(apply_view(maps, method, view), size)


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
    return kernels.defined_mean(both_V2JV, axis=1)


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
