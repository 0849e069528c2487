"""A COCO JSON file: `images`, `categories`, `annotations` with a box, polygons or run lengths each."""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

from pneumo_batch.core.data.regions import shapes
from pneumo_batch.core.data.regions.outlines import Box, Outline, checked
from pneumo_batch.errors import DataError

_Object = Mapping[str, object]


class _Film(NamedTuple):
    name: str
    width: int
    height: int


def read(data: bytes, name: str) -> Iterator[Outline]:
    """An annotation a region: its segmentation, or its box where it has none. Raises DataError, which names it."""
    try:
        content = json.loads(data)
    except ValueError as error:
        raise DataError(f"{name}: not JSON: {error}") from error
    films = {number: _film(one, f"{name} images {number}") for number, one in _by_id(content, "images", name).items()}
    findings = _by_id(content, "categories", name)
    for number, one in enumerate(_listed(content, "annotations", name), start=1):
        place = f"{name} annotation {one.get('id', number)}"
        for key, known in (("image_id", films), ("category_id", findings)):
            if one.get(key) not in known:
                raise DataError(f"{place}: {key} {one.get(key)!r}: there is none with that id")
        yield _outline(one, films[one["image_id"]], str(findings[one["category_id"]].get("name")), place)


def _outline(one: _Object, film: _Film, finding: str, place: str) -> Outline:
    size, shape = (film.width, film.height), one.get("segmentation")
    if isinstance(shape, dict):
        height, width = shapes.size_of(shape.get("size"), place)
        mask = partial(shapes.of_runs, shape.get("counts"), height, width)
        return Outline(place, film.name, finding, mask=mask, size=(width, height))
    if shape:
        polygons = shapes.points(shape, place)
        mask = partial(shapes.of_polygons, polygons, film.height, film.width)
        return Outline(place, film.name, finding, mask=mask, size=size)
    return Outline(place, film.name, finding, _box(one.get("bbox"), place), size=size)


def _box(value: object, place: str) -> Box:
    sides = value if isinstance(value, list) else []
    if len(sides) != len(Box._fields) or not all(isinstance(side, int | float) for side in sides):
        raise DataError(f"{place}: bbox must be [x, y, width, height]")
    return checked(Box(*map(float, sides)), place)


def _film(one: _Object, place: str) -> _Film:
    name, width, height = (one.get(key) for key in ("file_name", "width", "height"))
    if not isinstance(name, str) or not isinstance(width, int) or not isinstance(height, int):
        raise DataError(f"{place}: needs file_name, width and height")
    return _Film(name, width, height)


def _by_id(content: object, key: str, name: str) -> dict[object, _Object]:
    return {one.get("id"): one for one in _listed(content, key, name)}


def _listed(content: object, key: str, name: str) -> list[_Object]:
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise DataError(f"{name}: not a COCO file: no list of {key}")
    return found
