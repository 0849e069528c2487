"""VinDr-CXR as its competition had it: one row a box and reader, three readers who disagree, DICOM of 12 or 14 bits."""

from collections.abc import Iterator, Sequence

import numpy as np

from pneumo_batch.core.data.phantom import dicom_file, layouts
from pneumo_batch.core.data.phantom.cases import Case
from pneumo_batch.core.data.phantom.layouts import Box, Written

NAMES = {
    "opacity": "Lung Opacity",
    "effusion": "Pleural effusion",
    "pneumothorax": "Pneumothorax",
    "enlarged heart": "Cardiomegaly",
}
SHARES = layouts.SHARES
LATERALS, PUBLISHED, SIDE, CROPPED = False, False, None, True

_CLASSES = (
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD", "Infiltration"),
    *("Lung Opacity", "Nodule/Mass", "Other lesion", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    *("Pulmonary fibrosis", "No finding"),
)
_READERS = 17
_SEEN_BY_ONE = "Pleural thickening"  # by one reader, and not there
_OVERLOOKED, _IMAGINED = 0.4, 0.15  # of the findings, of the films


def path(case: Case) -> str:
    return f"train/{case.digest('film')[:32]}.dicom"


def encode(case: Case, image_HW: np.ndarray) -> bytes:
    return dicom_file.stored(case, image_HW, bits=14 if case.person % 3 == 0 else 12)


def labels(case: Case) -> dict[str, int | None]:
    """How many of the three readers marked it: two or three where it is, one or none where it is not."""
    overlooked, imagined = _errors(case)
    votes: dict[str, int | None] = dict.fromkeys(_CLASSES[:-1], 0)
    votes[_SEEN_BY_ONE] = int(imagined)
    return {**votes, **{NAMES[name]: 2 if name in overlooked else 3 for name in case.findings}}


def _errors(case: Case) -> tuple[set[str], bool]:
    """(findings that the second reader overlooks, whether the third sees what is not there)."""
    rng = case.labelling()
    return {name for name in case.findings if rng.uniform() < _OVERLOOKED}, rng.uniform() < _IMAGINED


def tables(films: Sequence[Written]) -> dict[str, bytes]:
    """As in the set, the rows of a film do not follow each other."""
    rows = [row for film in layouts.listed(films) for row in _rows(film)]
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    return {"train.csv": layouts.csv([rows[k] for k in order])}


def _rows(film: Written) -> Iterator[dict[str, object]]:
    overlooked, imagined = _errors(film.case)
    rng = film.case.framing()
    numbers = sorted(int(n) + 1 for n in rng.choice(_READERS, 3, replace=False))
    for reader, number in enumerate(numbers):
        marked = [
            (NAMES[name], box)
            for name, shown in film.shown.items()
            if not (reader == 1 and name in overlooked)
            for box in shown.boxes
        ]
        marked += [(_SEEN_BY_ONE, (film.width // 2, film.height // 4, 9, 7))] if reader == 2 and imagined else []
        for name, box in marked:
            yield _row(film, name, number, box if reader == 0 else _shaken(rng, box, film))
        if not marked:
            yield _row(film, "No finding", number, None)


def _shaken(rng: np.random.Generator, box: Box, film: Written) -> Box:
    """As another hand would draw it: each side moved by up to two pixels, within the film."""
    x, y, width, height = box
    left, right = np.clip(np.array([x, x + width]) + rng.integers(-2, 3, 2), 0, film.width)
    top, bottom = np.clip(np.array([y, y + height]) + rng.integers(-2, 3, 2), 0, film.height)
    return int(left), int(top), max(1, int(right - left)), max(1, int(bottom - top))


def _row(film: Written, name: str, reader: int, box: Box | None) -> dict[str, object]:
    row = {
        "image_id": film.case.digest("film")[:32],
        "class_name": name,
        "class_id": _CLASSES.index(name),
        "rad_id": f"R{reader}",
    }
    x, y, width, height = box or (None, None, 0, 0)
    if x is None or y is None:
        return {**row, **dict.fromkeys(("x_min", "y_min", "x_max", "y_max"))}
    return {**row, "x_min": float(x), "y_min": float(y), "x_max": float(x + width), "y_max": float(y + height)}
