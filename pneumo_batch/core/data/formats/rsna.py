"""RSNA Pneumonia Detection Challenge: a row a box; `patientId` names a film, which comes from NIH ChestX-ray14."""

import pandas as pd

from pneumo_batch.core.data import paths
from pneumo_batch.core.data.formats import films
from pneumo_batch.core.data.formats.films import Films
from pneumo_batch.core.data.formats.label_files import Download, LabelFile
from pneumo_batch.errors import DataError

LABELS = "stage_2_train_labels.csv"
FINDING = "Lung Opacity"
SIDE = 1024  # of the films that were outlined, pixels
NO_FINDING = "Normal"
_CLASSES = (NO_FINDING, "No Lung Opacity / Not Normal", FINDING)
_FILM, _TARGET = "patientId", "Target"
_BOX = ["x", "y", "width", "height"]


def read(download: Download) -> Films:
    """`stage_2_train_labels.csv`, and `stage_2_detailed_class_info.csv` where it is there. Raises DataError."""
    file = _file(download)
    target = file.rows.groupby(_FILM)[_TARGET]
    labels = (target.first() == "1").astype("int8").to_frame(FINDING)
    classes = _classes(download, labels)
    if classes is not None:
        labels[NO_FINDING] = (classes.reindex(labels.index) == NO_FINDING).astype("int8")
    table = films.films(labels, film=labels.index.to_series(), split="train").reset_index(drop=True)
    remarks = ("no patient is named (patientId names a film): every film counts as one, or as its DICOM header says",)
    no_finding = None if classes is None else NO_FINDING
    return Films(table, (FINDING,), no_finding, key=paths.stem, files=(file.name,), remarks=remarks)


def boxes(download: Download) -> pd.DataFrame:
    """The boxes, pixels of films of SIDE x SIDE: film, finding, x, y, width, height. Raises DataError."""
    file = _file(download)
    corners = file.numbers(_BOX).dropna()
    return corners.assign(film=file.rows[_FILM], finding=FINDING)[["film", "finding", *_BOX]]


def _file(download: Download) -> LabelFile:
    file = download.table(download.need(LABELS), [_FILM, *_BOX, _TARGET])
    rows = file.rows
    file.refuse(rows[_FILM] == "", _FILM, "must not be empty")
    file.refuse(~rows[_TARGET].isin(["0", "1"]), _TARGET, "must be 0 or 1")
    first = rows.groupby(_FILM)[_TARGET].transform("first")
    file.refuse(rows[_TARGET] != first, _TARGET, "is another one in an earlier row of the film")
    bare = (rows[_BOX] == "").any(axis=1)
    file.refuse(bare != (rows[_TARGET] == "0"), _TARGET, "1 has a box, 0 has none")
    return file


def _classes(download: Download, labels: pd.DataFrame) -> "pd.Series | None":
    """The class of each film by the second file; None where there is none."""
    if (path := download.find("stage_2_detailed_class_info.csv")) is None:
        return None
    file = download.table(path, [_FILM, "class"])
    file.refuse(~file.rows["class"].isin(_CLASSES), "class", f"must be one of {', '.join(_CLASSES)}")
    label = file.rows[_FILM].map(labels[FINDING])
    file.refuse(label.notna() & (label != (file.rows["class"] == FINDING)), "class", "contradicts Target of the film")
    classes = file.rows.groupby(_FILM)["class"].first()
    if missing := sorted(set(labels.index) - set(classes.index)):
        raise DataError(f"{path}: no row for {missing[0]}, which has labels")
    return classes
