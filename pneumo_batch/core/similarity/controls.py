"""Maps that need no model, which maps of models are compared with: the edges of the image, and smooth noise.

Shapes: H x W pixels, N = H * W values of a flat map.
"""

import functools

import numpy as np
import scipy.fft
import scipy.special
import skimage.filters

from pneumo_batch.core.similarity import kernels


def sobel_edges(image_HW: np.ndarray) -> np.ndarray:
    """The map that needs no model: skimage.filters.sobel of the image, uint8 or float in [0, 1]; (H, W) float32."""
    return skimage.filters.sobel(image_HW).astype(np.float32)


def random_map(reference_HW: np.ndarray, rng: np.random.Generator, ranks_N: np.ndarray | None = None) -> np.ndarray:
    """Smooth noise that shares with a map its values and its autocorrelation, and nothing else: (H, W) float32.

    An amplitude-adjusted phase-randomised surrogate (Theiler et al., Physica D 58, 1992): the ranks of the map as
    normal quantiles, their spectrum with the phases of white noise, and the map's own values put back by rank. The
    spectrum is that of the map mirrored at its borders, so that opposite borders are not neighbours. `ranks_N`, where
    somebody has them (`Features.ranks`), are not computed again.
    """
    height, width = reference_HW.shape
    if ranks_N is None:
        ranks_N = np.empty(reference_HW.size)
        kernels.descending(reference_HW.astype(np.float32).ravel(), ranks_N)
    normal_HW = _normal(ranks_N.size)[ranks_N.astype(np.int64)].reshape(height, width)
    mirrored = np.pad(normal_HW - normal_HW.mean(), ((0, height), (0, width)), mode="symmetric")
    phases = scipy.fft.rfft2(rng.standard_normal(mirrored.shape, dtype=np.float32))
    spectrum = phases * (np.abs(scipy.fft.rfft2(mirrored)) / np.abs(phases))
    noise_HW = scipy.fft.irfft2(spectrum, s=mirrored.shape)[:height, :width]
    surrogate_N = np.empty(reference_HW.size, dtype=np.float32)
    surrogate_N[np.argsort(noise_HW, axis=None)] = np.sort(reference_HW, axis=None)
    return surrogate_N.reshape(height, width)


@functools.lru_cache(maxsize=4)
def _normal(count: int) -> np.ndarray:
    """(2N - 1,) float32: the normal quantile of each rank of `kernels.descending`, whole numbers from 1 - N to N - 1.

    At the place of the rank itself, where negative ones count from the end. Not to be written to.
    """
    ranks = np.concatenate([np.arange(count), np.arange(1 - count, 0)])
    found = scipy.special.ndtri(0.5 + ranks / (2 * (count + 1))).astype(np.float32)
    found.flags.writeable = False
    return found
