"""NIH ChestX-ray14: labels joined by a bar, headers with brackets that hold commas, boxes for a few test films.

Boxes are in pixels of films of 1024 x 1024, as those of the set, however large the films here are.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from pneumo_batch.core.data.phantom import layouts
from pneumo_batch.core.data.phantom.cases import TEST, Case
from pneumo_batch.core.data.phantom.layouts import Written

NAMES = {
    "opacity": "Infiltration",
    "effusion": "Effusion",
    "pneumothorax": "Pneumothorax",
    "enlarged heart": "Cardiomegaly",
}
OTHERS = (
    *("Atelectasis", "Consolidation", "Edema", "Emphysema", "Fibrosis"),
    *("Hernia", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia"),
)
SHARES = layouts.SHARES
LATERALS, PUBLISHED, SIDE, CROPPED = False, True, None, False

_ENTRY = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
_BOXES = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
_FOLDERS = 12
_OUTLINED = 1024


def path(case: Case) -> str:
    return f"images_{1 + case.person % _FOLDERS:03}/images/{_name(case)}"


def _name(case: Case) -> str:
    return f"{case.person:08}_{case.study:03}.png"


def encode(case: Case, image_HW: np.ndarray) -> bytes:
    """Some hundred films of the set are in colour; here the first study of one person in ten."""
    image = Image.fromarray(image_HW)
    return layouts.png(image.convert("RGBA") if case.person % 10 == 5 and not case.study else image)


def labels(case: Case) -> dict[str, int | None]:
    found = layouts.named(case, NAMES, OTHERS)
    return {name: int(name in found) for name in (*NAMES.values(), *OTHERS)}


def tables(films: Sequence[Written]) -> dict[str, bytes]:
    films = layouts.listed(films)
    test = [film for film in films if film.case.split == TEST]
    boxes = [row for film in test for row in _box_rows(film)]
    return {
        "Data_Entry_2017_v2020.csv": layouts.csv([_entry(film.case) for film in films], header=_ENTRY),
        "BBox_List_2017.csv": layouts.csv(boxes, header=_BOXES),
        "train_val_list.txt": _names([film for film in films if film.case.split != TEST]),
        "test_list.txt": _names(test),
    }


def _names(films: Sequence[Written]) -> bytes:
    return "\n".join(_name(film.case) for film in films).encode()


def _entry(case: Case) -> dict[int, object]:
    found = "|".join(sorted(layouts.named(case, NAMES, OTHERS))) or "No Finding"
    who = [case.study, case.person, case.age, case.sex, case.view]
    return dict(enumerate([_name(case), found, *who, 2500, 2048, 0.168, 0.168]))


def _box_rows(film: Written) -> list[dict[int, object]]:
    """The list of boxes has another word for one finding."""
    words = {**NAMES, "opacity": "Infiltrate"}
    return [
        dict(enumerate([_name(film.case), words[finding], *layouts.outlined(box, film, _OUTLINED)]))
        for finding, shown in film.shown.items()
        for box in shown.boxes
    ]
