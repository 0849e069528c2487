"""MIMIC-CXR-JPG: labels of a study, views and splits of a film, each in a file of its own."""

from pathlib import PurePosixPath

import pandas as pd

from pneumo_batch.core.data.formats import chexpert, films
from pneumo_batch.core.data.formats.films import Films
from pneumo_batch.core.data.formats.label_files import Download, LabelFile

_STUDY = ["subject_id", "study_id"]
_FILM = "dicom_id"
_VIEWS = {"AP": "AP", "PA": "PA", "LATERAL": "LATERAL", "LL": "LATERAL", "XTABLE LATERAL": "LATERAL"}
_SPLITS = {"train": "train", "validate": "val", "test": "test"}


def read(download: Download) -> Films:
    """The files `-chexpert`, `-metadata` and `-split`. Raises DataError."""
    names = [*chexpert.FINDINGS, chexpert.NO_FINDING]
    studies = download.table(download.need("mimic-cxr-*-chexpert.csv"), [*_STUDY, *names])
    studies.refuse(studies.rows.duplicated(_STUDY), "study_id", "is named twice")
    metadata = download.table(download.need("mimic-cxr-*-metadata.csv"), [_FILM, *_STUDY, "ViewPosition"])
    metadata.refuse_repeats(_FILM)
    labels = pd.concat([studies.rows[_STUDY], chexpert.labels(studies)], axis=1)
    rows = metadata.rows.merge(labels, how="left", on=_STUDY, indicator="labelled")
    table = films.films(
        rows[names],
        labelled=rows["labelled"] == "both",
        film=rows[_FILM],
        patient_id="p" + rows["subject_id"],  # as in the names of the folders
        view=rows["ViewPosition"].map(_VIEWS),
        split=rows[_FILM].map(_splits(download)),
    )
    remarks = ("labels are of a study: all its films have them",)
    return Films(table, chexpert.FINDINGS, chexpert.NO_FINDING, key=_key, files=(studies.name,), remarks=remarks)


def _splits(download: Download) -> pd.Series:
    file: LabelFile = download.table(download.need("mimic-cxr-*-split.csv"), [_FILM, "split"])
    file.refuse_repeats(_FILM)
    return file.values("split", _SPLITS).set_axis(file.rows[_FILM])


def _key(path: str) -> str:
    return PurePosixPath(path).stem
