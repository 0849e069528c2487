"""Does a map point at the finding? The measures, of one map and the mask of where its film shows it.

Shapes: H x W pixels, N of them; M measures.
"""

import numpy as np
import skimage.filters

from pneumo_batch.core.statistics.pointing import MEASURES


def measure(map_HW: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    """(M,) in the order of `MEASURES`: hit, auprc, iou, positive_share. NaN for a map that is not finite."""
    if not np.isfinite(map_HW).all():
        return np.full(len(MEASURES), np.nan)
    pair = map_HW, mask_HW
    return np.array([points_inside(*pair), average_precision(*pair), otsu_overlap(*pair), positive_share(*pair)])


def positive_share(map_HW: np.ndarray, mask_HW: np.ndarray) -> float:
    """Share of the positive attribution that lies inside the mask, 0 to 1; NaN for a map without any.

    A map that knows nothing reaches the mask's share of the image.
    """
    positive_HW = np.maximum(map_HW, 0).astype(np.float64)
    total = positive_HW.sum()
    return float(positive_HW[mask_HW].sum() / total) if total > 0 else float("nan")


def points_inside(map_HW: np.ndarray, mask_HW: np.ndarray) -> float:
    """The pointing game (Zhang et al. 2016): 1 if the highest value lies inside the mask, else 0.

    NaN for a constant map: it points nowhere, and the first of its pixels, a corner, would make it a miss.
    """
    if map_HW.min() == map_HW.max():
        return float("nan")
    return float(mask_HW.flat[int(np.argmax(map_HW))])


def average_precision(map_HW: np.ndarray, mask_HW: np.ndarray) -> float:
    """Area under precision and recall (AUPRC) of the map's values as a score for pixels inside (Arun et al. 2021).

    The sum over thresholds of precision times what recall gains, as scikit-learn defines it; equal values are one
    threshold. A map that knows nothing reaches the mask's share of the image. NaN for a mask without a pixel.
    """
    order_N = np.argsort(-map_HW, axis=None, kind="stable")
    values_N, inside_N = map_HW.ravel()[order_N], mask_HW.ravel()[order_N]
    ends = np.append(np.flatnonzero(np.diff(values_N)), values_N.size - 1)
    hits = np.cumsum(inside_N)[ends]
    if hits[-1] == 0:
        return float("nan")
    return float((np.diff(hits, prepend=0) * hits / (ends + 1)).sum() / hits[-1])


def otsu_overlap(map_HW: np.ndarray, mask_HW: np.ndarray) -> float:
    """Intersection over union of the mask with what of the positive attribution lies above Otsu's threshold.

    As CheXlocalize does (Saporta et al. 2022). NaN for a map that is constant there: it has no threshold.
    """
    positive_HW = np.maximum(map_HW, 0)
    if positive_HW.min() == positive_HW.max():
        return float("nan")
    above_HW = positive_HW > skimage.filters.threshold_otsu(positive_HW)
    return float((above_HW & mask_HW).sum() / (above_HW | mask_HW).sum())
