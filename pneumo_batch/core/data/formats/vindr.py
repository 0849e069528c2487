"""VinDr-CXR as on Kaggle: a row a box and reader, three readers a film, who often disagree."""

import pandas as pd

from pneumo_batch.core.data import paths
from pneumo_batch.core.data.formats import films
from pneumo_batch.core.data.formats.films import Films
from pneumo_batch.core.data.formats.label_files import Download, LabelFile

LABELS = "train.csv"
NO_FINDING = "No finding"
_FILM, _NAME, _READER = "image_id", "class_name", "rad_id"
_CORNERS = ["x_min", "y_min", "x_max", "y_max"]


def read(download: Download) -> Films:
    """`train.csv`. A finding of most readers is one, of fewer it is uncertain. Raises DataError."""
    file = _file(download)
    rows = file.rows
    readers = rows.groupby(_FILM)[_READER].nunique()
    votes = rows.drop_duplicates([_FILM, _READER, _NAME]).groupby([_FILM, _NAME]).size().unstack(fill_value=0)
    share = votes.div(readers, axis=0)
    labels = (share > 0).astype("int8") * -1
    labels = labels.mask(share > 1 / 2, 1)
    table = films.films(labels, film=labels.index.to_series(), split="train").reset_index(drop=True)
    findings = tuple(sorted(str(name) for name in labels if name != NO_FINDING))
    remarks = (
        _agreement(votes[list(findings)], readers),
        "no patient is named: every film counts as one, or as its DICOM header says",
    )
    no_finding = NO_FINDING if NO_FINDING in labels else None
    return Films(table, findings, no_finding, key=paths.stem, files=(file.name,), remarks=remarks)


def _agreement(votes: pd.DataFrame, readers: pd.Series) -> str:
    abnormal = votes[votes.gt(0).any(axis=1)]
    split = abnormal.gt(0) & abnormal.lt(readers.loc[abnormal.index], axis=0)
    return f"readers disagree on {int(split.any(axis=1).sum())} of {len(abnormal)} films with a finding"


def boxes(download: Download) -> pd.DataFrame:
    """The boxes, pixels of the film: film, finding, reader, x, y, width, height. Raises DataError."""
    file = _file(download)
    corners = file.numbers(_CORNERS).dropna()
    found = file.rows.loc[corners.index, [_FILM, _NAME, _READER]].set_axis(["film", "finding", "reader"], axis=1)
    return found.assign(
        x=corners["x_min"],
        y=corners["y_min"],
        width=corners["x_max"] - corners["x_min"],
        height=corners["y_max"] - corners["y_min"],
    )


def _file(download: Download) -> LabelFile:
    file = download.table(download.need(LABELS), [_FILM, _NAME, _READER, *_CORNERS])
    for column in (_FILM, _NAME, _READER):
        file.refuse(file.rows[column] == "", column, "must not be empty")
    given = file.rows[_CORNERS] != ""
    nothing = file.rows[_NAME] == NO_FINDING
    file.refuse(~given.all(axis=1) & ~nothing, _NAME, "a finding needs the four corners of its box")
    file.refuse(given.any(axis=1) & nothing, _NAME, "has a box all the same")
    return file
