"""The gray values of a film in short, and the films that do not look like the rest of their data set.

Shapes: N films, C cells of a film.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pandas as pd
from PIL import Image

CELLS = 8  # a side
_SAMPLED = 64  # points a side: that many show where the values of a film lie

# The percentiles 1 and 99 of a film are so many of the 256 gray values apart, or fewer. In 5840 published films the
# least is 85; 14 bits in files of 16 give 64 at most.
SMALL_RANGE = 64
NEARLY_CONSTANT = 8
# Correlation of the 8 x 8 means of a film with the medians of its class. In 5840 published films the least is 0.25, and
# that of a negative is the opposite number.
INVERTED = -0.25
# With fewer films of a class nothing is said of the one that differs.
_FEWEST = 8
_AT_ONCE = 1 << 14  # films whose cells are floating-point numbers at once


@dataclass(frozen=True)
class Look:
    """`low`, `high`: percentiles 1 and 99, 0 to 255. `cells`: means of 8 x 8 cells, one byte each, row by row."""

    low: int
    high: int
    cells: bytes

    @classmethod
    def of(cls, gray: Image.Image) -> "Look":
        """Of a film of mode L, from 64 x 64 of its points."""
        points = gray.resize((_SAMPLED, _SAMPLED), Image.Resampling.NEAREST)
        below = list(accumulate(points.histogram()))
        tail = _SAMPLED**2 // 100
        low, high = bisect_right(below, tail), bisect_right(below, _SAMPLED**2 - 1 - tail)
        return cls(low, high, points.reduce(_SAMPLED // CELLS).tobytes())


def warnings(images: pd.DataFrame) -> Iterator[str]:
    """One line for each thing that is odd about films of a manifest. Those without a look are left out."""
    images = images[["image_id", "class_name", "gray_low", "gray_high", "cells"]].dropna()
    if images.empty:
        return
    spread = images["gray_high"] - images["gray_low"]
    flat, narrow = images[spread < NEARLY_CONSTANT], images[(spread >= NEARLY_CONSTANT) & (spread <= SMALL_RANGE)]
    if len(flat):
        yield f"nearly constant: {len(flat)} of {len(images)} images, {_example(flat)}"
    if len(narrow):
        yield f"a small part of the range is used by {len(narrow)} of {len(images)} images, {_example(narrow)}"
    yield from _inverted(images[spread >= NEARLY_CONSTANT])


def _example(images: pd.DataFrame) -> str:
    """The film whose brightest value is highest: what all others do not reach either."""
    row = images.iloc[int(images["gray_high"].to_numpy().argmax())]
    low, high = int(row["gray_low"]), int(row["gray_high"])
    told = f"such as {row['image_id']}: gray {low} to {high} of 255"
    bits = 8 - (high - 1).bit_length()  # 4095 / 257 is 16 once rounded
    if low == high or bits < 2:
        return told
    return f"{told}; {100 / 2**bits:.0f} % of the range, as where the upper {bits} bits are never used"


def _inverted(images: pd.DataFrame) -> Iterator[str]:
    medians: dict[str, np.ndarray] = {}
    for name, rows in images.groupby("class_name"):
        if len(rows) < _FEWEST:
            continue
        cells_NC = np.frombuffer(b"".join(rows["cells"]), np.uint8).reshape(len(rows), -1)
        median_C = _median(cells_NC)
        medians[str(name)] = median_C
        parts = (cells_NC[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))
        turned = rows[np.concatenate([_correlation(_centred(part), median_C) for part in parts]) < INVERTED]
        if len(turned):
            yield (
                f"{len(turned)} of {len(rows)} {name} images look inverted beside the rest of their class (black for"
                f" white), such as {turned['image_id'].iloc[0]}"
            )
    names = list(medians)
    for k, first in enumerate(names):
        for second in names[k + 1 :]:
            if _correlation(_centred(medians[first][None]), medians[second])[0] < INVERTED:
                yield (
                    f"the images of {first} look inverted beside those of {second} (black for white): that tells the"
                    " class"
                )


def _median(cells_NC: np.ndarray) -> np.ndarray:
    """(C,) of films less the mean of their cells each; one cell at a time, in whole numbers."""
    total_N, cells = cells_NC.sum(axis=1, dtype=np.int32), cells_NC.shape[1]
    return np.array([np.median(cells * column_N.astype(np.int32) - total_N) / cells for column_N in cells_NC.T])


def _centred(cells_NC: np.ndarray) -> np.ndarray:
    return cells_NC - cells_NC.mean(axis=1, keepdims=True)


def _correlation(cells_NC: np.ndarray, other_C: np.ndarray) -> np.ndarray:
    """(N,) Pearson's; 0 where one is constant."""
    other_C = other_C - other_C.mean()
    lengths_N = np.linalg.norm(cells_NC, axis=1) * np.linalg.norm(other_C)
    return np.divide(cells_NC @ other_C, lengths_N, out=np.zeros(len(cells_NC)), where=lengths_N > 0)
