"""How alike two maps are: the metrics of the test, on arrays in memory.

A map is (H, W), any real dtype; tensors on the CPU do as well. The similarity of a constant map, or of one
that is not finite, is NaN. So is that of maps smaller than a metric takes (SSIM 11 pixels a side, HOG 48).

>>> import numpy as np
>>> from pneumo_batch import similarity
>>> ramp_HW = np.arange(64.0).reshape(8, 8)
>>> round(similarity.spearman(ramp_HW, ramp_HW**3), 6)
1.0
>>> round(similarity.pearson(ramp_HW, -ramp_HW), 6)
-1.0
>>> similarity.spearman(ramp_HW, np.ones((8, 8)))
nan
"""

import numpy as np
import numpy.typing as npt

from pneumo_batch.core.similarity import metrics as _core
from pneumo_batch.core.similarity import options as _options
from pneumo_batch.core.similarity import users_metric as _users
from pneumo_batch.core.similarity.features import Features

__all__ = ["METRICS", "SCALES", "VIEWS", "compare", "hog", "pearson", "prepare", "spearman", "ssim", "top_k"]

View = _options.View
Scale = _options.Scale

METRICS: tuple[str, ...] = _options.METRICS
"""Names of the metrics, as in a job's `compare.metrics`; "module:function" is one too."""
VIEWS: tuple[str, ...] = _options.VIEWS
"""A map as it is, or its magnitude."""
SCALES: tuple[str, ...] = _options.SCALES
"""Every pixel, or the means of `region_grid` x `region_grid` cells."""

_PAIR = np.zeros((1, 2), dtype=np.int64)


def spearman(a_HW: npt.ArrayLike, b_HW: npt.ArrayLike) -> float:
    """Spearman's rank correlation of the pixels, ties with their mean rank (as scipy.stats.spearmanr).

    >>> float(round(spearman([[1, 2], [3, 4]], [[1, 3], [2, 4]]), 3))
    0.8
    """
    return _score(a_HW, b_HW, "spearman")


def pearson(a_HW: npt.ArrayLike, b_HW: npt.ArrayLike) -> float:
    """Pearson's correlation of the pixels (as numpy.corrcoef).

    >>> round(pearson([[1, 2], [3, 4]], [[1, 3], [2, 4]]), 3)
    0.8
    """
    return _score(a_HW, b_HW, "pearson")


def ssim(a_HW: npt.ArrayLike, b_HW: npt.ArrayLike, view: View = "signed") -> float:
    """Structural similarity (Wang et al. 2004, equation 13): Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03.

    Each map is divided by its largest absolute value first: the data range is 2 for signed maps, 1 for magnitudes,
    of which only the absolute value is looked at.

    >>> noise_HW, other_HW = np.random.default_rng(0).standard_normal((2, 32, 32))
    >>> round(ssim(noise_HW, 3 * noise_HW), 6), round(abs(ssim(noise_HW, other_HW)), 1)
    (1.0, 0.0)
    """
    return _score(a_HW, b_HW, "ssim", view)


def hog(a_HW: npt.ArrayLike, b_HW: npt.ArrayLike) -> float:
    """Pearson's correlation of histograms of oriented gradients (Dalal and Triggs 2005; as skimage.feature.hog).

    Cells of 16 x 16 pixels, blocks of 3 x 3 cells, 9 orientations, of maps scaled to 0 to 1.

    >>> noise_HW = np.random.default_rng(0).standard_normal((64, 64))
    >>> round(hog(noise_HW, noise_HW + 5), 6), hog(noise_HW[:32], noise_HW[:32])
    (1.0, nan)
    """
    return _score(a_HW, b_HW, "hog")


def top_k(a_HW: npt.ArrayLike, b_HW: npt.ArrayLike) -> float:
    """Intersection over union of the k highest pixels of each map, k a tenth of them, rounded up; of ties the first.

    In a job its name is `top10`.

    >>> ramp_HW = np.arange(100).reshape(10, 10)
    >>> top_k(ramp_HW, 2 * ramp_HW), top_k(ramp_HW, -ramp_HW)
    (1.0, 0.0)
    """
    return _score(a_HW, b_HW, "top10")


def compare(
    maps_a: npt.ArrayLike,
    maps_b: npt.ArrayLike,
    metric: str = "spearman",
    view: View = "magnitude",
    scale: Scale = "region",
    region_grid: int = _options.REGION_GRID,
) -> np.ndarray:
    """The similarity of N pairs of maps: (N, H, W) twice -> (N,) float64, NaN where undefined.

    The magnitude is the absolute value. What `prepare` makes of stored maps gets the numbers of a run.
    At region scale maps are averaged over `region_grid` x `region_grid` cells. Maps are taken as float32, which they
    are stored in; the arithmetic is float64.

    Raises ValueError for maps of unequal shapes, for unknown names, and for SSIM and HOG at region scale.

    >>> a_NHW, b_NHW = np.random.default_rng(0).standard_normal((2, 3, 64, 64))
    >>> compare(a_NHW, a_NHW, "ssim", "signed", "pixel").round(6).tolist()
    [1.0, 1.0, 1.0]
    >>> compare(a_NHW, b_NHW).shape
    (3,)
    """
    _check(metric, view, scale)
    a_NHW, b_NHW = (_core.apply_view(np.asarray(maps, dtype=np.float32), "", view) for maps in (maps_a, maps_b))
    if a_NHW.ndim != 3 or a_NHW.shape != b_NHW.shape:
        raise ValueError(f"maps have shapes {a_NHW.shape} and {b_NHW.shape}: give (N, H, W) twice")
    found = []
    for a_HW, b_HW in zip(a_NHW, b_NHW, strict=True):
        a, b = (Features(map_HW[None], view, region_grid) for map_HW in (a_HW, b_HW))
        found.append(_core.scores(a, b, _PAIR, metric, scale)[0])
    return np.array(found, dtype=np.float64)


def prepare(maps_Nhw: npt.ArrayLike, method: str, view: View, size: int) -> np.ndarray:
    """Maps as a run stores them -> as it compares them: the view, then bilinear at `size` x `size`; (N, size, size).

    The magnitude is max(a, 0) for Grad-CAM and Guided Grad-CAM, which claim only their positive part (Selvaraju et al.
    2017, equation 2), and the absolute value for other methods.

    >>> prepare([[[-2.0, 0.0], [0.0, 4.0]]], "grad_cam", "magnitude", 2).tolist()
    [[[0.0, 0.0], [0.0, 4.0]]]
    >>> prepare([[[-2.0, 0.0], [0.0, 4.0]]], "saliency", "magnitude", 4).shape
    (1, 4, 4)
    """
    return _core.prepare(np.asarray(maps_Nhw, dtype=np.float32), method, view, size)


def _score(a_HW: npt.ArrayLike, b_HW: npt.ArrayLike, metric: str, view: View = "signed") -> float:
    a_NHW, b_NHW = (np.asarray(map_HW, dtype=np.float32)[None] for map_HW in (a_HW, b_HW))
    return float(compare(a_NHW, b_NHW, metric, view, "pixel")[0])


def _check(metric: str, view: str, scale: str) -> None:
    for name, value, known in (("view", view, VIEWS), ("scale", scale, SCALES)):
        if value not in known:
            raise ValueError(f"unknown {name} {value!r}: choose one of {', '.join(known)}")
    if metric not in METRICS and not _users.is_users(metric):
        raise ValueError(f"unknown metric {metric!r}: choose module:function or one of {', '.join(METRICS)}")
    if scale == "region" and not _core.has_regions(metric):
        raise ValueError(f"metric {metric!r} is not defined at the region scale")
