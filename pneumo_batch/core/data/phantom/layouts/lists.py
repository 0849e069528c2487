"""A list of films with a column for each finding, and masks and boxes in the forms that other tools write."""

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from pneumo_batch.core.data import runs
from pneumo_batch.core.data.phantom import layouts
from pneumo_batch.core.data.phantom.cases import TEST, VALIDATE, Case
from pneumo_batch.core.data.phantom.findings import FINDINGS
from pneumo_batch.core.data.phantom.layouts import Written, chexpert

NAMES = {name: name for name in FINDINGS}
OTHERS = ("nodule", "fracture")
SHARES = layouts.SHARES
LATERALS, PUBLISHED, SIDE, CROPPED = True, True, None, True

_SPLITS = {VALIDATE: "val"}


def path(case: Case) -> str:
    return f"films/{case.person:04}-{case.study + 1}-{case.film + 1}.png"


def encode(_: Case, image_HW: np.ndarray) -> bytes:
    return layouts.png(image_HW)


def labels(case: Case) -> dict[str, int | None]:
    found, rng = layouts.named(case, NAMES, OTHERS), case.labelling()
    names = (*FINDINGS, *OTHERS)
    if case.split == TEST:
        return {name: int(name in found) for name in names}
    return {name: chexpert.answer(name in found, rng.uniform()) for name in names}


def tables(films: Sequence[Written]) -> dict[str, bytes]:
    """Masks as `masks/<finding>/<path of the film>`, 255 inside; boxes as CSV; both as COCO writes them."""
    films = layouts.listed(films)
    return {
        "films.csv": layouts.csv([_row(film.case) for film in films]),
        "boxes.csv": layouts.csv([row for film in films for row in _boxes(film)]),
        "coco.json": json.dumps(_coco(films)).encode(),
        **{name: data for film in films for name, data in _masks(film).items()},
    }


def _row(case: Case) -> dict[str, object]:
    who = {"patient_id": f"P{case.person:04}", "view": case.view, "sex": case.sex, "age": case.age}
    said = {name: None if value is None else str(value) for name, value in labels(case).items()}
    return {"path": path(case), **who, "split": _SPLITS.get(case.split, case.split), **said}


def _boxes(film: Written) -> list[dict[str, object]]:
    return [
        {"path": film.path, "finding": finding, **dict(zip(("x", "y", "width", "height"), box, strict=True))}
        for finding, shown in film.shown.items()
        for box in shown.boxes
    ]


def _masks(film: Written) -> dict[str, bytes]:
    return {
        str(PurePosixPath("masks", finding, film.path)): layouts.png(
            np.uint8(255) * runs.mask_HW(shown.whole, film.height, film.width)
        )
        for finding, shown in film.shown.items()
    }


def _coco(films: Sequence[Written]) -> dict[str, object]:
    annotations = [
        {
            "image_id": number,
            "category_id": FINDINGS.index(finding) + 1,
            "bbox": list(box),
            "segmentation": {"size": [film.height, film.width], "counts": part},
            "area": sum(part[1::2]),
            "iscrowd": 1,
        }
        for number, film in enumerate(films, start=1)
        for finding, shown in film.shown.items()
        for box, part in zip(shown.boxes, shown.parts, strict=True)
    ]
    images = [
        {"id": number, "file_name": film.path, "height": film.height, "width": film.width}
        for number, film in enumerate(films, start=1)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(FINDINGS, start=1)]
    numbered = [{"id": number, **row} for number, row in enumerate(annotations, start=1)]
    return {"images": images, "annotations": numbered, "categories": categories}
