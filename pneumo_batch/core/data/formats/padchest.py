"""PadChest: labels as a printed Python list, most of them by a network, films of all sides."""

import ast

import pandas as pd

from pneumo_batch.core.data import paths
from pneumo_batch.core.data.formats import films
from pneumo_batch.core.data.formats.films import Films
from pneumo_batch.core.data.formats.label_files import Download, LabelFile

NO_FINDING = "normal"
_FILM, _LABELS = "ImageID", "Labels"
_VIEWS = {"PA": "PA", "AP": "AP", "AP_horizontal": "AP", "L": "LATERAL"}
_UNLABELLED = ("", "nan", "None")


def read(download: Download) -> Films:
    """`PADCHEST_chest_x_ray_images_labels_160K_*.csv`. Raises DataError."""
    born, taken, sex = "PatientBirth", "StudyDate_DICOM", "PatientSex_DICOM"
    columns = [_FILM, "PatientID", "Projection", "MethodLabel", _LABELS, born, taken, sex]
    file = download.table(download.need("PADCHEST_chest_x_ray_images_labels_160K_*.csv"), columns)
    file.refuse_repeats(_FILM)
    rows = file.rows
    labelled = ~rows[_LABELS].isin(_UNLABELLED)
    labels = _labels(LabelFile(file.name, rows[labelled]))
    table = films.films(
        labels.astype("Int8").reindex(rows.index),
        labelled=labelled,
        film=rows[_FILM],
        patient_id=rows["PatientID"],
        view=rows["Projection"].map(_VIEWS),
        sex=rows[sex].where(rows[sex].isin(["M", "F"])),
        age=pd.to_numeric(rows[taken].str[:4], errors="coerce") - pd.to_numeric(rows[born], errors="coerce"),
        split="train",
    )
    by_hand = int((rows["MethodLabel"] == "Physician").sum())
    remarks = (f"{by_hand} of {len(rows)} films are labelled by a physician, the others by a network from the report",)
    findings = tuple(str(name) for name in labels if name != NO_FINDING)
    return Films(table, findings, NO_FINDING, key=paths.name, files=(file.name,), remarks=remarks)


def _labels(file: LabelFile) -> pd.DataFrame:
    """A column for every name that stands in a list."""
    texts = file.rows[_LABELS]
    lists = {text: _names(text) for text in texts.unique()}
    file.refuse(texts.map(lists).isna(), _LABELS, "must be a list of names, such as ['pneumonia', ' cardiomegaly']")
    names = sorted({name for found in lists.values() for name in found or ()} | {NO_FINDING})
    return films.indicators(texts, lambda text: lists[text] or frozenset(), names)


def _names(text: str) -> frozenset[str] | None:
    """The names in a printed list, without the spaces around them; None where it is none."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        return None
    return frozenset(name.strip() for name in found) - {""}
