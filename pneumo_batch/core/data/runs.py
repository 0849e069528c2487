"""Masks as run lengths: how many pixels are outside, inside, outside, ..., column by column (as COCO counts them)."""

from collections.abc import Sequence

import numpy as np


def counted(mask_HW: np.ndarray) -> list[int]:
    """The run lengths of a bool mask, the first of them outside, and 0 where the first pixel is inside."""
    values = mask_HW.T.ravel()
    edges = np.flatnonzero(np.diff(values)) + 1
    lengths = np.diff([0, *edges, values.size]).tolist()
    return [0, *lengths] if values[0] else lengths


def mask_HW(counts: Sequence[int], height: int, width: int) -> np.ndarray:  # noqa: N802 - the shape
    """(height, width) bool, of `counted`. Raises ValueError where they do not add up to it."""
    if min(counts, default=0) < 0 or sum(counts) != height * width:
        raise ValueError(f"run lengths do not add up to {height} x {width} pixels")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def compressed(counts: Sequence[int]) -> str:
    """As pycocotools writes them: from the fourth on the difference to the last but one, in digits of 5 bits each, the
    lowest first, 32 added while more follow, from the character 0 on.
    """
    differences = [value - (counts[k - 2] if k > 2 else 0) for k, value in enumerate(counts)]
    return "".join(chr(48 + digit) for value in differences for digit in _digits(value))


def decompressed(text: str) -> list[int]:
    """The inverse of `compressed`. Raises ValueError for a text that ends within a number or holds other characters."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            raise ValueError(f"{character!r} is no digit of run lengths")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        value -= (digit & 16) << (shift - 4)  # the highest bit of the last digit is the sign
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("run lengths end within a number")
    return counts


def _digits(value: int) -> list[int]:
    digits = []
    while not -16 <= value < 16:
        digits.append(value & 31 | 32)
        value >>= 5
    return [*digits, value & 31]


def box(mask_HW: np.ndarray) -> tuple[int, int, int, int]:
    """(x, y, width, height) of the smallest box around what is inside, in pixels."""
    rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
    return int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
