"""SIIM-ACR Pneumothorax: relative run lengths down the columns of 1024 x 1024 pixels, several rows for several masks,
DICOM in nested folders.
"""

from collections.abc import Sequence

import numpy as np

from pneumo_batch.core.data.phantom import dicom_file, layouts
from pneumo_batch.core.data.phantom.cases import Case
from pneumo_batch.core.data.phantom.findings import PNEUMOTHORAX
from pneumo_batch.core.data.phantom.layouts import Written

NAMES = {PNEUMOTHORAX: "Pneumothorax"}
SHARES = {**layouts.SHARES, PNEUMOTHORAX: 0.4}
LATERALS, PUBLISHED, SIDE, CROPPED = False, False, 1024, False

_ROOT = "1.2.276.0.7230010.3.1"


def path(case: Case) -> str:
    study, series, film = (f"{_ROOT}.{level}.8323329.{case.number('film', 12)}" for level in (2, 3, 4))
    return f"dicom-images-train/{study}/{series}/{film}.dcm"


def _image(case: Case) -> str:
    return path(case).split("/")[-1].removesuffix(".dcm")


def encode(case: Case, image_HW: np.ndarray) -> bytes:
    return dicom_file.compressed(case, image_HW, patient=case.digest("film")[:8], instance=_image(case))


def labels(case: Case) -> dict[str, int | None]:
    return {"Pneumothorax": int(PNEUMOTHORAX in case.findings)}


def tables(films: Sequence[Written]) -> dict[str, bytes]:
    rows = [row for film in layouts.listed(films) for row in _rows(film)]
    return {"train-rle.csv": layouts.csv(rows)}


def _rows(film: Written) -> list[dict[str, object]]:
    """The column's name begins with a space."""
    shown = film.shown.get(PNEUMOTHORAX)
    masks = [_relative(part) for part in shown.parts] if shown else ["-1"]
    return [{"ImageId": _image(film.case), " EncodedPixels": mask} for mask in masks]


def _relative(counts: Sequence[int]) -> str:
    """Pairs of how far from the end of the last run and how long; what is outside at the end is not said."""
    return " ".join(map(str, counts[: len(counts) // 2 * 2]))
