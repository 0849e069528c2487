"""Does a map point at the finding? Only where the truth is known, as it is for the generated images.

Shapes: H x W pixels.
"""

import numpy as np


def positive_share(map_HW: np.ndarray, mask_HW: np.ndarray) -> float:
    """Share of the positive attribution that lies inside the mask, 0 to 1; NaN for a map without any.

    A map that knows nothing reaches the mask's share of the image.
    """
    positive_HW = np.maximum(map_HW, 0).astype(np.float64)
    total = positive_HW.sum()
    return float(positive_HW[mask_HW].sum() / total) if total > 0 else float("nan")


def points_inside(map_HW: np.ndarray, mask_HW: np.ndarray) -> bool:
    """The pointing game (Zhang et al. 2016): whether the highest value lies inside the mask."""
    return bool(mask_HW.flat[int(np.argmax(map_HW))])
