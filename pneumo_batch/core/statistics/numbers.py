"""Numbers for JSON, where what is undefined is null."""

import numpy as np


def number(value: float | np.floating) -> float | None:
    """A plain float, None for NaN."""
    return None if np.isnan(value) else float(value)
