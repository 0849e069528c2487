"""What a file says of where a film shows a finding, before it is known which image that is.

Array names carry their shape: H rows, W columns of a film.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from pneumo_batch.errors import DataError


class Box(NamedTuple):
    """Pixels from the left and upper edge of a film; they need not be whole."""

    x: float
    y: float
    width: float
    height: float


class Outline(NamedTuple):
    """One region. `place` names it in errors: "boxes.csv row 3".

    `film` is the name that the file has for a film. `finding` None is that of the film's class. `size` (width, height)
    is that of the film as it was outlined, where the file tells; else a box is in pixels of the image. A mask, (H, W)
    bool, is computed when it is asked for, and raises ValueError where it cannot be.
    """

    place: str
    film: str
    finding: str | None
    box: Box | None = None
    mask: Callable[[], np.ndarray] | None = None
    reader: str | None = None
    size: tuple[int, int] | None = None


class Found(NamedTuple):
    """The regions of a set or file, and its names of the films, by which `names` tells the image ids."""

    outlines: Iterable[Outline]
    names: Mapping[str, str]


def by_key(image_ids: Iterable[str], key: Callable[[str], str]) -> dict[str, str]:
    """Image ids by what a set calls a film."""
    return {key(image_id): image_id for image_id in image_ids}


def by_path(image_ids: Iterable[str]) -> dict[str, str]:
    """Image ids by themselves, and by their last part where no other ends alike."""
    ids = list(image_ids)
    names: dict[str, str | None] = {}
    for image_id in ids:
        name = PurePosixPath(image_id).name
        names[name] = None if name in names else image_id
    alone = {name: image_id for name, image_id in names.items() if image_id is not None}
    return alone | {image_id: image_id for image_id in ids}


def checked(box: Box, place: str) -> Box:
    """The box, if it has an area. Raises DataError."""
    for name in ("width", "height"):
        if not getattr(box, name) > 0:  # not a number either
            raise DataError(f"{place}: {name} {getattr(box, name):g}: must be above 0")
    return box
