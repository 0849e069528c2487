"""CheXpert: labels of a study that say 1, 0, uncertain or nothing, lateral films, and the outlines of CheXlocalize."""

import json
from collections.abc import Sequence

import numpy as np

from pneumo_batch.core.data import runs
from pneumo_batch.core.data.phantom import layouts
from pneumo_batch.core.data.phantom.cases import LATERAL, TEST, Case
from pneumo_batch.core.data.phantom.layouts import Written

NAMES = {
    "opacity": "Lung Opacity",
    "effusion": "Pleural Effusion",
    "pneumothorax": "Pneumothorax",
    "enlarged heart": "Cardiomegaly",
}
NO_FINDING = "No Finding"
COLUMNS = (
    *(NO_FINDING, "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
)
OTHERS = tuple(name for name in COLUMNS if name not in (NO_FINDING, *NAMES.values()))
SHARES = layouts.SHARES
LATERALS, PUBLISHED, SIDE, CROPPED = True, True, None, True

_FIRST_FOLDER = "CheXpert-v1.0-small"  # in the tables; the root here is that folder
_OUTLINED = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Airspace Opacity", "Edema"),
    *("Consolidation", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Support Devices"),
)


def path(case: Case) -> str:
    view = "lateral" if case.view == LATERAL else "frontal"
    return f"{_folder(case)}/patient{case.person:05}/study{case.study + 1}/view{case.film + 1}_{view}.jpg"


def _folder(case: Case) -> str:
    return "valid" if case.split == TEST else "train"


def encode(_: Case, image_HW: np.ndarray) -> bytes:
    return layouts.jpeg(image_HW)


def labels(case: Case) -> dict[str, int | None]:
    """In `valid` radiologists answered for every finding."""
    if case.split != TEST:
        return mentioned(case)
    found = layouts.named(case, NAMES, OTHERS) or [NO_FINDING]
    return {name: int(name in found) for name in COLUMNS}


def mentioned(case: Case) -> dict[str, int | None]:
    """As if read from a report: most of what is absent is not mentioned, some of everything is uncertain."""
    found, rng = layouts.named(case, NAMES, OTHERS), case.labelling()
    answers: dict[str, int | None] = {name: answer(name in found, rng.uniform()) for name in COLUMNS}
    return {**answers, NO_FINDING: None if found else 1}


def answer(present: bool, chance: float) -> int | None:
    if present:
        return 1 if chance < 0.85 else -1
    return None if chance < 0.65 else 0 if chance < 0.93 else -1


def tables(films: Sequence[Written]) -> dict[str, bytes]:
    films = layouts.listed(films)
    train, valid = ([film for film in films if _folder(film.case) == name] for name in ("train", "valid"))
    outlines = {_outline_name(film): _outlines(film) for film in valid if film.shown}
    return {
        "train.csv": layouts.csv([_row(film.case) for film in train]),
        "valid.csv": layouts.csv([_row(film.case) for film in valid]),
        "CheXlocalize/gt_segmentations_val.json": json.dumps(outlines).encode(),
    }


def _row(case: Case) -> dict[str, object]:
    lateral = case.view == LATERAL
    return {
        "Path": f"{_FIRST_FOLDER}/{path(case)}",
        "Sex": "Female" if case.sex == "F" else "Male",
        "Age": case.age,
        "Frontal/Lateral": "Lateral" if lateral else "Frontal",
        "AP/PA": None if lateral else case.view,
        **{name: None if value is None else float(value) for name, value in labels(case).items()},
    }


def _outline_name(film: Written) -> str:
    return "_".join(film.path.removesuffix(".jpg").split("/")[1:])


def _outlines(film: Written) -> dict[str, dict[str, object]]:
    """Every finding has a mask, an empty one where nothing was outlined."""
    words = {**NAMES, "opacity": "Airspace Opacity"}
    whole = {words[finding]: shown.whole for finding, shown in film.shown.items()}
    nothing = [film.height * film.width]
    size = [film.height, film.width]
    return {name: {"size": size, "counts": runs.compressed(whole.get(name, nothing))} for name in _OUTLINED}
