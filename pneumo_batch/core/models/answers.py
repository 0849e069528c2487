"""Films that a network has no number for: which, and what is said of them. Apart, for every actor imports it."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def unanswered(rows: pa.Table, logits: Mapping[str, np.ndarray]) -> dict[str, str]:
    """The images of a predictions table that a model has no finite number for, and what it gives (nan, inf or -inf)."""
    found: dict[str, str] = {}
    for split, logits_NK in logits.items():
        missing = np.flatnonzero(~np.isfinite(logits_NK).all(axis=1))
        if len(missing):
            ids = rows["image_id"].filter(pc.equal(rows["split"], split)).sort().take(missing).to_pylist()
            found |= {image_id: not_finite(logits_NK[i]) for i, image_id in zip(missing, ids, strict=True)}
    return found


def not_finite(logits: np.ndarray) -> str:
    """The first that is not finite, in words."""
    return f"{logits[~np.isfinite(logits)][0]:g}"


def no_answer(variant: str, value: str) -> str:
    """Why a film is left out, in words."""
    return f"the network {variant} gives {value} for it"
