"""SIIM-ACR Pneumothorax: masks as run lengths, several of a film, or -1; DICOM in nested folders."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from pneumo_batch.core.data import paths
from pneumo_batch.core.data.formats import films
from pneumo_batch.core.data.formats.films import Films
from pneumo_batch.core.data.formats.label_files import Download, LabelFile

LABELS = ("train-rle.csv", "stage_2_train.csv")  # one of them
FINDING = "Pneumothorax"
SIDE = 1024  # of film and mask, pixels
_FILM, _RUNS = "ImageId", "EncodedPixels"
_NONE = "-1"


def read(download: Download) -> Films:
    """`train-rle.csv`. Raises DataError."""
    file = _file(download)
    rows = file.rows
    labels = (rows.groupby(_FILM)[_RUNS].first() != _NONE).astype("int8").to_frame(FINDING)
    table = films.films(labels, film=labels.index.to_series(), split="train").reset_index(drop=True)
    remarks = ("no patient is named: every film counts as one, or as its DICOM header says",)
    return Films(table, (FINDING,), None, key=paths.stem, files=(file.name,), remarks=remarks)


def masks(download: Download) -> pd.DataFrame:
    """The masks, several of some films: film, runs (`joined` reads them). Raises DataError."""
    rows = _file(download).rows
    return rows[rows[_RUNS] != _NONE].set_axis(["film", "runs"], axis=1)


def joined(texts: Iterable[str]) -> np.ndarray:
    """Masks as published, as one of SIDE x SIDE: pairs of a gap and a length, one after the other, down the columns."""
    pixels = np.zeros(SIDE * SIDE, bool)
    for text in texts:
        ends = np.cumsum(np.array(text.split(), int))
        for start, end in ends.reshape(-1, 2):
            pixels[start:end] = True
    return pixels.reshape(SIDE, SIDE).T


def _file(download: Download) -> LabelFile:
    file = download.table(download.need(*LABELS), [_FILM, _RUNS])
    rows = file.rows
    file.refuse(rows[_FILM] == "", _FILM, "must not be empty")
    file.refuse((rows[_RUNS] != _NONE) & ~rows[_RUNS].map(_fits), _RUNS, f"no pairs within {SIDE} x {SIDE}, nor -1")
    without = rows[_RUNS] == _NONE
    clash = without.groupby(rows[_FILM]).transform("nunique") > 1
    file.refuse(clash, _RUNS, "the film has a mask in one row and -1 in another")
    return file


def _fits(text: str) -> bool:
    parts = text.split()
    if not parts or len(parts) % 2 or not all(map(str.isdigit, parts)):
        return False
    return sum(map(int, parts)) <= SIDE * SIDE
