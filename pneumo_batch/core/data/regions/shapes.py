"""Masks made of boxes, polygons and run lengths, and as PNG files.

Array names carry their shape: H rows, W columns of a film; P points.
"""

import io
from collections.abc import Sequence

import numpy as np
import skimage.draw
from PIL import Image

from pneumo_batch.core.data import runs
from pneumo_batch.core.data.regions.outlines import Box
from pneumo_batch.errors import DataError


def of_box(box: Box, height: int, width: int) -> np.ndarray:
    """(height, width) bool: the pixels whose centre lies in the box, but at least the one its own centre lies in."""
    mask_HW = np.zeros((height, width), bool)
    rows, columns = _covered(box.y, box.height, height), _covered(box.x, box.width, width)
    mask_HW[rows, columns] = True
    return mask_HW


def _covered(start: float, length: float, size: int) -> slice:
    first, last = round(max(0.0, start)), round(min(float(size), start + length))
    if last <= first:  # a thin one
        first = min(size - 1, max(0, int(start + length / 2)))
        last = first + 1
    return slice(first, last)


def of_polygons(polygons: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """(height, width) bool: the pixels whose centre lies in one of the polygons, each (P, 2) of x, y in pixels."""
    mask_HW = np.zeros((height, width), bool)
    for points_P2 in polygons:
        mask_HW |= skimage.draw.polygon2mask((height, width), points_P2[:, ::-1] - 0.5)
    return mask_HW


def of_runs(counts: object, height: int, width: int) -> np.ndarray:
    """(height, width) bool of COCO's run lengths, as numbers or compressed. Raises ValueError for what is none."""
    if isinstance(counts, str):
        return runs.mask_HW(runs.decompressed(counts), height, width)
    if not isinstance(counts, list) or not all(isinstance(count, int) for count in counts):
        raise ValueError("run lengths must be whole numbers, or a text as pycocotools writes it")
    return runs.mask_HW(counts, height, width)


def points(value: object, place: str) -> list[np.ndarray]:
    """Polygons as (P, 2) arrays of x, y, from lists of pairs or of numbers in turn. Raises DataError."""
    if not isinstance(value, list):
        raise DataError(f"{place}: must be a list of polygons")
    found = []
    for polygon in value:
        try:
            flat = np.asarray(polygon, float).ravel()
        except (TypeError, ValueError) as error:
            raise DataError(f"{place}: a polygon must be numbers x, y in turn") from error
        if flat.size % 2 or flat.size < 6 or not np.isfinite(flat).all():
            raise DataError(f"{place}: a polygon must have three points or more, x and y each")
        found.append(flat.reshape(-1, 2))
    return found


def size_of(value: object, place: str) -> tuple[int, int]:
    """(height, width) as files write it. Raises DataError."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(side, int) and side > 0 for side in value):
        return value[0], value[1]
    raise DataError(f"{place}: the size of the film must be [height, width]")


def png(mask_HW: np.ndarray) -> bytes:
    """A mask as a file of one bit a pixel."""
    stream = io.BytesIO()
    Image.fromarray(mask_HW).save(stream, "PNG")
    return stream.getvalue()


def of_png(data: bytes) -> np.ndarray:
    """The inverse of `png`, (H, W) bool."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("1"))
