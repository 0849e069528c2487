"""Entropy of a map's histogram, whose relative rise is eMPRT (Hedström et al., A Fresh Look at Sanity Checks, 2024).

A map that explains what a network learned is simpler than the map of a network that has learned nothing: with all
layers re-initialised the entropy of its values rises, or the map did not depend on them. As `discrete_entropy` of
Quantus does, values are counted in bins of equal width between the map's least and its greatest.

Shapes: D maps, H x W pixels.
"""

import numpy as np
import scipy.stats


def histogram_entropy(maps_DHW: np.ndarray, bins: int) -> np.ndarray:
    """(D,) float64 bits; 0 of a constant map, NaN of one with values that are not finite."""
    return np.array([_entropy(map_HW, bins) for map_HW in maps_DHW.astype(np.float64)])


def _entropy(map_HW: np.ndarray, bins: int) -> float:
    if not np.isfinite(map_HW).all():
        return float("nan")
    return float(scipy.stats.entropy(np.histogram(map_HW, bins)[0], base=2))


def relative_rise(entropy: np.ndarray, original: np.ndarray) -> np.ndarray:
    """(b - a) / a of the same shape, b from `entropy` and a from `original`; NaN where a is 0 or either is unknown."""
    rise = np.full(entropy.shape, np.nan)
    return np.divide(entropy - original, original, out=rise, where=original > 0)
