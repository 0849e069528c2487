"""How published sets lay out their films and write down their labels: one module a format, each a Layout."""

import gzip
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from PIL import Image

from pneumo_batch.core.data.phantom.cases import Case

Box = tuple[int, int, int, int]  # x, y, width, height in pixels


@dataclass(frozen=True)
class Shown:
    """Where a film shows a finding: `boxes` and `parts` (run lengths, runs.counted), one for each lung, or one of the
    heart; `whole` are the run lengths of the parts together.
    """

    boxes: list[Box]
    parts: list[list[int]]
    whole: list[int]


State = Literal["whole", "missing", "broken", "unlisted"]


@dataclass(frozen=True)
class Written:
    """A film of the set; `state` says what is wrong with it: no file, a damaged file, a file that no table names."""

    case: Case
    path: str
    height: int
    width: int
    shown: Mapping[str, Shown]  # by finding of the generator
    state: State


Row = Mapping[str, object] | Mapping[int, object]  # of a table, by the name of the column or its place


class Layout(Protocol):
    """`NAMES` are the set's words for findings of the generator, `SHARES` how many studies have each."""

    NAMES: Mapping[str, str]
    SHARES: Mapping[str, float]
    LATERALS: bool  # beside frontal films
    PUBLISHED: bool  # the split comes with the set
    SIDE: int | None  # of every film, in pixels; else the side asked for
    CROPPED: bool  # films are not square

    def path(self, case: Case) -> str:
        """Below the root, with forward slashes."""

    def encode(self, case: Case, image_HW: np.ndarray) -> bytes:
        """The file of a film, uint8."""

    def labels(self, case: Case) -> dict[str, int | None]:
        """What the tables say by finding of the set: 1, 0, -1 (uncertain), None (not mentioned)."""

    def tables(self, films: Sequence[Written]) -> dict[str, bytes]:
        """The set's other files by path; none names a film that is "unlisted"."""


SHARES = {"opacity": 0.35, "effusion": 0.3, "pneumothorax": 0.15, "enlarged heart": 0.3}


def outlined(box: Box, film: Written, side: int) -> list[float]:
    """A box in pixels of a copy of the film with `side` x `side` of them, as sets have it that were outlined so."""
    size = (film.width, film.height, film.width, film.height)
    return [value * side / pixels for value, pixels in zip(box, size, strict=True)]


def listed(films: Sequence[Written]) -> list[Written]:
    return [film for film in films if film.state != "unlisted"]


def named(case: Case, names: Mapping[str, str], others: Sequence[str]) -> list[str]:
    """The findings of a film in the words of its set.

    Every second study that has findings has one of the set's others as well, in turn: nothing in the film shows it.
    """
    found = [names[finding] for finding in case.findings if finding in names]
    if case.other is not None and case.other % 2 == 0 and others:
        found.append(others[case.other // 2 % len(others)])
    return found


def png(image: np.ndarray | Image.Image) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, "PNG")
    return stream.getvalue()


def jpeg(image_HW: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image_HW).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def csv(rows: Sequence[Row], header: str | None = None) -> bytes:
    """A table; `header` replaces a first line that has more or fewer cells than the rows."""
    text = pd.DataFrame(rows).to_csv(index=False, header=header is None, lineterminator="\n")
    return (text if header is None else f"{header}\n{text}").encode()


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)
