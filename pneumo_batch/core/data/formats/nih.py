"""NIH ChestX-ray14: findings of a film joined by `|`, published lists of training and test films, boxes of some."""

import csv

import pandas as pd

from pneumo_batch.core.data import paths
from pneumo_batch.core.data.formats import films
from pneumo_batch.core.data.formats.films import Films
from pneumo_batch.core.data.formats.label_files import Download, LabelFile
from pneumo_batch.errors import DataError

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)
NO_FINDING = "No Finding"
_FILM, _LABELS, _PATIENT, _VIEW = "Image Index", "Finding Labels", "Patient ID", "View Position"
_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
BOXES = "BBox_List_2017.csv"
SIDE = 1024  # of the films that were outlined, pixels
_IN_BOXES = {"Infiltrate": "Infiltration"}


def read(download: Download) -> Films:
    """`Data_Entry_2017*.csv`, and the two lists where they are there. Raises DataError."""
    columns = [_FILM, _LABELS, _PATIENT, _VIEW, "Patient Age", "Patient Gender"]
    file = download.table(download.need("Data_Entry_2017*.csv"), columns)
    file.refuse_repeats(_FILM)
    rows = file.rows
    file.refuse(~rows[_PATIENT].str.fullmatch(r"\d+"), _PATIENT, "must be a number")
    table = films.films(
        _labels(file),
        film=rows[_FILM],
        patient_id=rows[_PATIENT].str.zfill(8),  # as in the names of the films
        view=rows[_VIEW].where(rows[_VIEW].isin(["PA", "AP"])),
        sex=rows["Patient Gender"].where(rows["Patient Gender"].isin(["M", "F"])),
        age=pd.to_numeric(rows["Patient Age"].str.extract(r"^(\d+)Y?$")[0]),  # 058Y in the first edition
        split=_splits(download, rows[_FILM]),
    )
    return Films(table, FINDINGS, NO_FINDING, key=paths.name, files=(file.name,))


def _labels(file: LabelFile) -> pd.DataFrame:
    texts = file.rows[_LABELS]
    lists = {text: text.split("|") for text in texts.unique()}
    known = {*FINDINGS, NO_FINDING}
    strange = [text for text, found in lists.items() if not known.issuperset(found)]
    file.refuse(texts.isin(strange), _LABELS, f"must be {NO_FINDING} or of {', '.join(FINDINGS)}, joined by |")
    torn = [text for text, found in lists.items() if NO_FINDING in found and len(found) > 1]
    file.refuse(texts.isin(torn), _LABELS, "contradicts itself")
    return films.indicators(texts, lambda text: lists[text], [*FINDINGS, NO_FINDING])


def _splits(download: Download, names: pd.Series) -> pd.Series:
    """By the published lists; without them all films are of train."""
    paths = {name: download.find(name) for name in _LISTS}
    if not any(paths.values()):
        return pd.Series("train", names.index)
    split_of: dict[str, str] = {}
    for name, split in _LISTS.items():
        if (path := paths[name]) is None:
            raise DataError(f"no {name} below data.root, though the other list is there: both or neither are needed")
        listed = download.read(path).decode("utf-8", "replace").split()
        if twice := split_of.keys() & set(listed):
            raise DataError(f"{path}: {min(twice)} is in the other list too")
        split_of |= dict.fromkeys(listed, split)
    return names.map(split_of)


def boxes(download: Download) -> pd.DataFrame:
    """The boxes of `BBox_List_2017.csv`, pixels of films of SIDE x SIDE: film, finding, x, y, width, height.

    Its header has more cells than its rows. Empty where the file is not there. Raises DataError.
    """
    fields = ["film", "finding", "x", "y", "width", "height"]
    path = download.find(BOXES)
    lines = list(csv.reader(download.read(path).decode("utf-8-sig").splitlines()))[1:] if path else []
    rows = pd.DataFrame([line[: len(fields)] for line in lines if any(line)], columns=fields, dtype=object).fillna("")
    file = LabelFile(path or "", rows.set_axis(range(1, len(rows) + 1)))
    finding = rows["finding"].replace(_IN_BOXES).set_axis(file.rows.index)
    file.refuse(~finding.isin(FINDINGS), "finding", "no such finding")
    return file.rows.assign(finding=finding, **file.numbers(fields[2:]))
