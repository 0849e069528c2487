"""The regions of a film at the networks' resolution: what a map is compared with.

Array names carry their shape: H rows, W columns of a film; S x S pixels of a network's input.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.data.regions import shapes
from pneumo_batch.core.data.regions.outlines import Box
from pneumo_batch.core.data.regions.table import BOX

_HALF = 127  # of 255: a pixel is inside if half of what it covers is


class Region(NamedTuple):
    """A row of the regions table without its film and finding: a box, or a mask as PNG."""

    box: Box | None
    mask: bytes | None


def mask(regions: Iterable[Region], width: int, height: int, preprocess: Preprocess) -> np.ndarray:
    """(S, S) bool: the union of the regions of a film of so many pixels, padded and resized as the film is.

    Of several readers it is all that one of them outlined. It may be without a pixel where a region is small.
    """
    drawn: dict[tuple[int, int], np.ndarray] = {}  # by shape: a mask may come from a larger copy of the film
    for region in regions:
        if region.box is not None:
            mask_HW = shapes.of_box(region.box, height, width)
        else:
            assert region.mask is not None
            mask_HW = shapes.of_png(region.mask)
        known_HW = drawn.setdefault(mask_HW.shape, np.zeros(mask_HW.shape, bool))
        known_HW |= mask_HW
    found_SS = np.zeros((preprocess.size, preprocess.size), bool)
    for mask_HW in drawn.values():
        found_SS |= preprocess.fitted(Image.fromarray(np.uint8(255) * mask_HW)) > _HALF
    return found_SS


class Truths:
    """The masks of one finding, by image, made when they are asked for."""

    def __init__(self, regions: pa.Table, manifest: pa.Table, finding: str, preprocess: Preprocess):
        self._preprocess = preprocess
        rows = regions.filter(pc.equal(regions["finding"], finding))
        self._regions: dict[str, list[Region]] = {}
        for row in rows.to_pylist():
            box = Box(*(row[name] for name in Box._fields)) if row["shape"] == BOX else None
            self._regions.setdefault(row["image_id"], []).append(Region(box, row["mask"]))
        here = manifest.filter(pc.is_in(manifest["image_id"], pa.array(list(self._regions), pa.string())))
        columns = (here[name].to_pylist() for name in ("image_id", "width", "height"))
        self._sizes = {image_id: (width, height) for image_id, width, height in zip(*columns, strict=True)}

    @property
    def image_ids(self) -> list[str]:
        """Of the images with a region, sorted."""
        return sorted(self._sizes)

    def of(self, image_ids: Iterable[str]) -> Iterator[np.ndarray]:
        """(S, S) bool each."""
        for image_id in image_ids:
            yield mask(self._regions[image_id], *self._sizes[image_id], self._preprocess)
