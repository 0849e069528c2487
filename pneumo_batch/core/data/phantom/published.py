"""Generated sets in the layouts of published ones, with what is known of every film in `truth.json`.

Array names carry their shape: H rows, W columns.
"""

import importlib
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from pneumo_batch.core.data import phantom, runs
from pneumo_batch.core.data.options import Generated
from pneumo_batch.core.data.phantom import cases, findings, lateral
from pneumo_batch.core.data.phantom.cases import LATERAL, TEST, TRAIN, Case
from pneumo_batch.core.data.phantom.layouts import Layout, Shown, State, Written
from pneumo_batch.errors import DataError

TRUTH = "truth.json"

_MODULES = {"mimic-cxr-jpg": "mimic", "list": "lists"}  # where the format's name cannot be a module's
_IN_DICOM = ("vindr", "rsna", "siim")
# Counted among the frontal films of train; `cases.plan` keeps the first ones whatever the counts.
_STATES: dict[int, State] = {2: "missing", 4: "broken", 5: "unlisted"}


def write(root: Path, form: Generated, *, train: int, test: int, seed: int, image_size: int) -> None:
    """Writes `train` + `test` films as the set `form` has them, its tables, boxes and masks, and TRUTH.

    A set without published splits gets the sum; SIIM's films are 1024 pixels a side whatever `image_size`. `root`
    appears complete or not at all. Raises DataError without pydicom where the format needs it, ValueError for a root
    that holds something and for films below phantom.MIN_SIZE.
    """
    layout = _layout(form)
    counts = {TRAIN: train, TEST: test} if layout.PUBLISHED else {TRAIN: train + test}
    planned = cases.plan(seed, counts, layout.SHARES, laterals=layout.LATERALS, published=layout.PUBLISHED)
    with phantom.whole_or_not_at_all(root) as unfinished:
        states = _states(form, planned)
        films = [_write_film(unfinished, layout, case, states.get(case, "whole"), image_size) for case in planned]
        for path, data in layout.tables(films).items():
            _save(unfinished / path, data)
        _save(unfinished / TRUTH, json.dumps(_truth(form, layout, films)).encode())


def _layout(form: Generated) -> Layout:
    if form in _IN_DICOM and find_spec("pydicom") is None:
        raise DataError(f"format {form} is DICOM, which needs pydicom: pip install 'pneumo-batch[dicom]'")
    name = _MODULES.get(form, form)
    return cast(Layout, importlib.import_module(f"pneumo_batch.core.data.phantom.layouts.{name}"))


def _states(form: Generated, planned: Sequence[Case]) -> dict[Case, State]:
    """Published sets name films that are not there; whoever writes a list names those they have."""
    frontal = [case for case in planned if case.view != LATERAL and case.split == TRAIN]
    wanted = {k: state for k, state in _STATES.items() if k < len(frontal) and (form, state) != ("list", "missing")}
    return {frontal[k]: state for k, state in wanted.items()}


def _write_film(root: Path, layout: Layout, case: Case, state: State, image_size: int) -> Written:
    image_HW, shown = _drawn(layout, case, image_size)
    path = layout.path(case)
    if state != "missing":
        data = layout.encode(case, image_HW)
        _save(root / path, data[: len(data) // 2] if state == "broken" else data)
    height, width = image_HW.shape
    return Written(case, path, height, width, shown, state)


def _drawn(layout: Layout, case: Case, image_size: int) -> tuple[np.ndarray, dict[str, Shown]]:
    person_rng, film_rng = case.generators()
    if case.view == LATERAL:
        return _framed(layout, case, lateral.render(person_rng, film_rng, image_size)), {}
    film = findings.render(person_rng, film_rng, image_size, case.findings)
    parts = {name: [_framed(layout, case, part_HW) for part_HW in parts] for name, parts in film.parts.items()}
    return _framed(layout, case, film.image_HW), {name: _shown(masks) for name, masks in parts.items()}


def _framed(layout: Layout, case: Case, image_HW: np.ndarray) -> np.ndarray:
    """As large as the set's films are, or with some rows cut off above and below."""
    if layout.SIDE:
        how = Image.Resampling.NEAREST if image_HW.dtype == bool else Image.Resampling.BICUBIC
        return np.asarray(Image.fromarray(image_HW).resize((layout.SIDE, layout.SIDE), how))
    above, below = np.round(case.framing().uniform(0, [0.06, 0.08]) * len(image_HW)).astype(int)
    return image_HW[above : len(image_HW) - below] if layout.CROPPED else image_HW


def _shown(masks: Sequence[np.ndarray]) -> Shown:
    return Shown(
        [runs.box(mask_HW) for mask_HW in masks],
        [runs.counted(mask_HW) for mask_HW in masks],
        runs.counted(np.any(masks, axis=0)),
    )


def _save(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _truth(form: Generated, layout: Layout, films: Sequence[Written]) -> dict[str, object]:
    """`findings` by the generator's names: boxes (x, y, width, height) and masks as uncompressed COCO run lengths."""
    return {"format": form, "names": dict(layout.NAMES), "films": [_film_truth(layout, film) for film in films]}


def _film_truth(layout: Layout, film: Written) -> dict[str, object]:
    case = film.case
    return {
        "path": film.path,
        "state": film.state,
        "split": case.split if layout.PUBLISHED else None,
        "person": case.person,
        "study": case.study,
        "view": case.view,
        "sex": case.sex,
        "age": case.age,
        "labels": layout.labels(case),
        "findings": list(case.findings),
        "shown": {name: _shown_truth(film, shown) for name, shown in film.shown.items()},
    }


def _shown_truth(film: Written, shown: Shown) -> Mapping[str, object]:
    return {"boxes": shown.boxes, "mask": {"size": [film.height, film.width], "counts": shown.whole}}
