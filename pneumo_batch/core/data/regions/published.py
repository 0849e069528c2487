"""The boxes and masks that published sets come with."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

import pandas as pd

from pneumo_batch.core.data.formats import nih, rsna, siim, vindr
from pneumo_batch.core.data.formats.label_files import Download
from pneumo_batch.core.data.regions import chexlocalize
from pneumo_batch.core.data.regions.outlines import Box, Outline, checked


def outlines(form: str, download: Download) -> Iterator[Outline]:
    """The regions of a set; none where it has none, or they are not there. Raises DataError."""
    found = files(form, download)
    return SETS[form].read(download, found[0]) if found else iter(())


def files(form: str, download: Download) -> list[str]:
    """Paths of the files that hold the regions of a set."""
    names = SETS[form].files if form in SETS else ()
    return [path for name in names if (path := download.find(name)) is not None]


def _nih(download: Download, path: str) -> Iterator[Outline]:
    return _boxes(nih.boxes(download), path, (nih.SIDE, nih.SIDE))


def _rsna(download: Download, path: str) -> Iterator[Outline]:
    return _boxes(rsna.boxes(download), path, (rsna.SIDE, rsna.SIDE))


def _vindr(download: Download, path: str) -> Iterator[Outline]:
    """Pixels of the DICOM films, each of a size of its own, which no file of the set has but the film."""
    return _boxes(vindr.boxes(download), path)


def _siim(download: Download, path: str) -> Iterator[Outline]:
    """A row a mask; those of one film are joined where its truth is made."""
    rows = siim.masks(download)
    for row, film, runs in zip(rows.index, rows["film"], rows["runs"], strict=True):
        yield Outline(f"{path} row {row}", film, siim.FINDING, mask=partial(siim.joined, [runs]))


def _chexlocalize(download: Download, _path: str) -> Iterator[Outline]:
    return chexlocalize.of_download(download)


def _boxes(rows: pd.DataFrame, file: str, size: tuple[int, int] | None = None) -> Iterator[Outline]:
    readers = rows["reader"] if "reader" in rows else [None] * len(rows)
    columns = (rows[name] for name in ("film", "finding", *Box._fields))
    for row, reader, film, finding, *sides in zip(rows.index, readers, *columns, strict=True):
        place = f"{file} row {row}"
        yield Outline(place, film, finding, checked(Box(*map(float, sides)), place), reader=reader, size=size)


def _name(path: str) -> str:
    return PurePosixPath(path).name


def _stem(path: str) -> str:
    return PurePosixPath(path).stem


@dataclass(frozen=True)
class Set:
    """The names of the files that hold a set's regions, what reads these, and what a film is called there."""

    files: tuple[str, ...]
    read: Callable[[Download, str], Iterator[Outline]]
    film: Callable[[str], str]


SETS = {
    "nih": Set((nih.BOXES,), _nih, _name),
    "rsna": Set((rsna.LABELS,), _rsna, _stem),
    "vindr": Set((vindr.LABELS,), _vindr, _stem),
    "siim": Set(siim.LABELS, _siim, _stem),
    "chexpert": Set(chexlocalize.FILES, _chexlocalize, chexlocalize.film),
}
