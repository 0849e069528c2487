"""A folder of masks: PNG or other images, named as the films are, in a folder of each finding where there are several.

`<path of the film>` or `<finding>/<path of the film>`, whatever the ending; bright is inside. Array names carry their
shape: H rows, W columns.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from pneumo_batch.core.data import decoding
from pneumo_batch.core.data.regions.outlines import Outline
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import DataError, RejectedImage


def stems(image_ids: Iterable[str]) -> dict[str, str]:
    """Image ids by their path without its ending. Raises DataError where two are the same."""
    found: dict[str, str] = {}
    for image_id in image_ids:
        if (other := found.setdefault(_stem(image_id), image_id)) != image_id:
            raise DataError(
                f"data.regions: {other} and {image_id} would have one mask: a folder cannot tell them apart"
            )
    return found


def read(paths: Iterable[str], folder: Roots, names: Mapping[str, str], place: str) -> Iterator[Outline]:
    """A file a mask. `names` are the `stems` of the images: what is no path of one begins with a finding."""
    for path in sorted(paths):
        stem = _stem(path)
        finding, _, rest = stem.partition("/")
        film, said = (stem, None) if stem in names else (rest, finding)
        yield Outline(f"{place}/{path}", film, said, mask=partial(_mask, folder, path))


def _mask(folder: Roots, path: str) -> np.ndarray:
    """(H, W) bool: inside is what is brighter than half of the brightest pixel, by the values as they are stored."""
    try:
        levels_HW = decoding.levels(folder.read_bytes(path))
    except RejectedImage as error:
        raise ValueError(str(error)) from error
    return levels_HW > levels_HW.max() / 2


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))
