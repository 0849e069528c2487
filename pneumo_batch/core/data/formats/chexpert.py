"""CheXpert: four-valued labels, a file a split, paths that begin with a folder of several names."""

from collections.abc import Mapping
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from pneumo_batch.core.data.formats import films
from pneumo_batch.core.data.formats.films import Films
from pneumo_batch.core.data.formats.label_files import THREE_VALUED, Download, LabelFile
from pneumo_batch.errors import DataError

NO_FINDING = "No Finding"
FINDINGS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
_FILES: Mapping[str, tuple[str, ...]] = {
    "train": ("train.csv",),
    "val": ("valid.csv",),
    "test": ("test.csv", "test_labels.csv"),
}
_RENAMED = {"Airspace Opacity": "Lung Opacity"}  # in the test labels of CheXlocalize
_DEMOGRAPHY = ["Sex", "Age", "Frontal/Lateral", "AP/PA"]
_DEPTH = 4  # train/patient00001/study1/view1_frontal.jpg
_PATH = r"(?:.*/)?(?:train|valid|val|test)/patient\d+/study\d+/view\d+_(frontal|lateral)\.\w+"


def read(download: Download) -> Films:
    """`train.csv`, `valid.csv` and a test file, those that are there. Raises DataError."""
    files = {path: split for split, names in _FILES.items() if (path := download.find(*names)) is not None}
    if not files:
        raise DataError(
            f"no train.csv, valid.csv or test.csv below {download.root.path}: set data.root to the download"
        )
    table = pd.concat([_split(download, path, split) for path, split in files.items()], ignore_index=True)
    return Films(table, FINDINGS, NO_FINDING, key=_key, files=tuple(files))


def labels(file: LabelFile) -> pd.DataFrame:
    """The labels of a file that CheXpert's labeler wrote."""
    return pd.DataFrame({name: file.values(name, THREE_VALUED) for name in [*FINDINGS, NO_FINDING]})


def _split(download: Download, path: str, split: str) -> pd.DataFrame:
    named = download.columns(path)
    # the test labels of CheXlocalize have none of these
    given = [name for name in _DEMOGRAPHY if name in named]
    file = download.table(path, ["Path", *FINDINGS, NO_FINDING, *given], _RENAMED)
    file.refuse_repeats("Path")
    rows = file.rows.reindex(columns=["Path", *_DEMOGRAPHY], fill_value="")
    file.refuse(~rows["Path"].str.fullmatch(_PATH), "Path", "must be <split>/patient<n>/study<n>/view<n>_<kind>.jpg")
    return films.films(
        labels(file),
        film=rows["Path"].map(_key),
        patient_id=rows["Path"].str.extract(r"(patient\d+)/study")[0],
        view=_views(rows),
        sex=rows["Sex"].map({"Male": "M", "Female": "F"}),
        age=pd.to_numeric(rows["Age"], errors="coerce"),
        split=split,
    )


def _views(rows: pd.DataFrame) -> pd.Series:
    """A few frontal films are said to be taken from the side: all that is known is that they are frontal."""
    told = rows["Frontal/Lateral"].where(rows["Frontal/Lateral"] != "", rows["Path"].str.extract(_PATH)[0])
    frontal = rows["AP/PA"].where(rows["AP/PA"].isin(["AP", "PA"]), "FRONTAL")
    return pd.Series(np.where(told.str.lower() == "lateral", "LATERAL", frontal), rows.index)


def _key(path: str) -> str:
    """The end of a path, from the folder of the split on."""
    return "/".join(PurePosixPath(path).parts[-_DEPTH:])
