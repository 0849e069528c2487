"""CheXlocalize: radiologists' segmentations of CheXpert's validation and test films, as run lengths or polygons.

`gt_segmentations_*.json` has for each film, by finding, a mask as COCO's run lengths of the original film;
`gt_annotations_*.json` the polygons these were made of. Array names carry their shape: H rows, W columns.
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath

from pneumo_batch.core.data.formats.label_files import Download
from pneumo_batch.core.data.regions import shapes
from pneumo_batch.core.data.regions.outlines import Outline
from pneumo_batch.errors import DataError

_MASKS = ("gt_segmentations_val.json", "gt_segmentations_test.json")
_POLYGONS = ("gt_annotations_val.json", "gt_annotations_test.json")
FILES = (*_MASKS, *_POLYGONS)
_RENAMED = {"Airspace Opacity": "Lung Opacity"}
_SIZE = "img_size"
_PARTS = 3  # of a path, that name a film: patient64541/study1/view1_frontal.jpg


def film(path: str) -> str:
    """What the files call a film: `patient64541_study1_view1_frontal`."""
    return "_".join(PurePosixPath(path).with_suffix("").parts[-_PARTS:])


def of_download(download: Download) -> Iterator[Outline]:
    """The masks of each split, or its polygons where only these are there. Raises DataError."""
    for names in zip(_MASKS, _POLYGONS, strict=True):
        paths = [path for name in names if (path := download.find(name)) is not None]
        if paths:
            yield from read(download.read(paths[0]), paths[0])


def is_one(value: object) -> bool:
    """Whether the content of a JSON file has their form: an object a film, whose values are objects or polygons."""
    if not isinstance(value, dict) or not value or {"images", "annotations"} & value.keys():
        return False
    return all(isinstance(one, dict) for one in value.values())


def read(data: bytes, name: str) -> Iterator[Outline]:
    """The regions of one file; findings without a pixel are none. Raises DataError, which names film and finding."""
    try:
        films = json.loads(data)
    except ValueError as error:
        raise DataError(f"{name}: not JSON: {error}") from error
    if not is_one(films):
        raise DataError(f"{name}: not a file of CheXlocalize: it holds no object of findings for each film")
    for one, findings in films.items():
        for finding, shape in findings.items():
            if finding != _SIZE and (outline := _outline(f"{name} {one} {finding}", one, findings, shape)):
                yield outline._replace(finding=_RENAMED.get(finding, finding))


def _outline(place: str, film: str, findings: Mapping[str, object], shape: object) -> Outline | None:
    """None where nothing is outlined."""
    if isinstance(shape, dict):
        height, width = shapes.size_of(shape.get("size"), place)
        mask = partial(shapes.of_runs, shape.get("counts"), height, width)
        empty = not isinstance(shape.get("counts"), str) and shape.get("counts") == [height * width]
    else:
        height, width = shapes.size_of(findings.get(_SIZE), place)
        polygons = shapes.points(shape, place)
        mask, empty = partial(shapes.of_polygons, polygons, height, width), not polygons
    return None if empty else Outline(place, film, None, mask=mask, size=(width, height))
