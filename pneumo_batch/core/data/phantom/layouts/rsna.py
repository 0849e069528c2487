"""RSNA Pneumonia Detection: one row a box, three classes, compressed DICOM whose patient is the film.

Boxes are in pixels of films of 1024 x 1024, as those of the set, however large the films here are.
"""

import uuid
from collections.abc import Sequence

import numpy as np

from pneumo_batch.core.data.phantom import dicom_file, layouts
from pneumo_batch.core.data.phantom.cases import Case
from pneumo_batch.core.data.phantom.findings import OPACITY
from pneumo_batch.core.data.phantom.layouts import Written

NAMES = {OPACITY: "Lung Opacity"}
SHARES = layouts.SHARES
LATERALS, PUBLISHED, SIDE, CROPPED = False, False, None, False

_OUTLINED = 1024


def path(case: Case) -> str:
    return f"stage_2_train_images/{_patient(case)}.dcm"


def _patient(case: Case) -> str:
    return str(uuid.UUID(case.digest("film")[:32]))


def encode(case: Case, image_HW: np.ndarray) -> bytes:
    return dicom_file.compressed(case, image_HW, patient=_patient(case))


def labels(case: Case) -> dict[str, int | None]:
    return {"Lung Opacity": int(OPACITY in case.findings)}


def tables(films: Sequence[Written]) -> dict[str, bytes]:
    """Both have a row for each box, so that a film with two is twice in the table of classes as well."""
    rows = [row for film in sorted(layouts.listed(films), key=lambda film: film.path) for row in _rows(film)]
    boxes = [{name: row[name] for name in row if name != "class"} for row in rows]
    classes = [{"patientId": row["patientId"], "class": row["class"]} for row in rows]
    return {
        "stage_2_train_labels.csv": layouts.csv(boxes),
        "stage_2_detailed_class_info.csv": layouts.csv(classes),
    }


def _rows(film: Written) -> list[dict[str, object]]:
    who, sides = {"patientId": _patient(film.case)}, ("x", "y", "width", "height")
    if OPACITY in film.shown:
        shown = [layouts.outlined(box, film, _OUTLINED) for box in film.shown[OPACITY].boxes]
        boxes = [dict(zip(sides, box, strict=True)) for box in shown]
        return [{**who, **box, "Target": 1, "class": "Lung Opacity"} for box in boxes]
    kind = "No Lung Opacity / Not Normal" if film.case.findings else "Normal"
    return [{**who, **dict.fromkeys(sides), "Target": 0, "class": kind}]
