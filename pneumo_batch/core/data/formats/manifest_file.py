"""A CSV or Parquet file that names images, instead of folders: `path`, `label`, `split`, and if known `patient_id`.

`path` is relative to the data root (with several roots it begins with the name of one), `label` the name of a class,
`split` train, val or test; `subtype`, `view`, `sex`, `age` and `site` may be there too. With findings there is a column
of each instead of `label` (1, 0, -1 for uncertain, nothing where it is not mentioned), and if known `No Finding`; then
views choose films. Other columns are not read.
"""

import csv
import io
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pneumo_batch.core.data import manifest, paths
from pneumo_batch.core.data.formats import films
from pneumo_batch.core.data.formats.films import Choice, Films, Selected
from pneumo_batch.core.data.formats.folders import About, ImageFile, check_roots, resolve_classes
from pneumo_batch.core.data.formats.label_files import THREE_VALUED
from pneumo_batch.core.data.options import SPLITS
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import DataError

if TYPE_CHECKING:
    import _csv

_PLACE = ("path", "split")
_NO_FINDING = "No Finding"
_VIEW = "view"
_OTHER_SEPARATORS = (";", "\t", "|")  # of tables that are called CSV
_ABOUT = ("sex", "age", "site")


class _Columns(NamedTuple):
    """Those of a list that are read: which must be there, `path` first, which may, and which a job has as findings."""

    needed: tuple[str, ...]
    others: tuple[str, ...]
    findings: tuple[str, ...] = ()


_BY_CLASS = _Columns(("path", "label", "split"), ("patient_id", "subtype", _VIEW, *_ABOUT))


class _Rows:
    """The rows of a list, by column: as objects of their own a million of them take more than a gigabyte."""

    def __init__(self, where: str, columns: Iterable[str]):
        self._where = where
        self._numbers = array("q")  # of lines, which errors name
        self.image_ids: list[str] = []
        self.columns: dict[str, list[str]] = {column: [] for column in columns}

    def __len__(self) -> int:
        return len(self.image_ids)

    def add(self, image_id: str, number: int, values: Iterable[str]) -> None:
        self.image_ids.append(image_id)
        self._numbers.append(number)
        for texts, text in zip(self.columns.values(), values, strict=True):
            texts.append(text)

    def place(self, row: int) -> str:
        """Of a row, in errors: "images.csv line 3"."""
        return f"{self._where} {self._numbers[row]}"

    def texts(self, column: str) -> Sequence[str]:
        """Of one column, "" where there is none."""
        return self.columns.get(column) or [""] * len(self)

    def known(self, column: str) -> list[str | None]:
        return [text or None for text in self.texts(column)]


def read(data: bytes, name: str, roots: Roots, classes: Sequence[str] | None) -> tuple[pa.Table, list[str]]:
    """The listing (schema manifest.LISTING) of the images a manifest names, and the classes, as `manifest.discover`.

    `name` stands in errors. Raises DataError, which names the line, for columns that are missing, values that cannot
    be, images named twice or absent, and paths that are absolute or leave the root.
    """
    rows = _by_image(data, name, _BY_CLASS)
    files = list(_image_files(rows))
    sizes = _sizes(rows, roots)
    found = sorted(file._replace(size=sizes[file.image_id]) for file in files)
    try:
        names = resolve_classes(found, set(), classes)
        check_roots(found, roots.by_name, names)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return manifest.listing(found, names), names


def select(data: bytes, name: str, roots: Roots, choice: Choice) -> Selected:
    """The images that a manifest labels by finding.

    Raises DataError as `read` does, and as `films.select`; JobError for a finding without a column.
    """
    columns = _Columns(_PLACE, ("patient_id", _VIEW, *_ABOUT, _NO_FINDING), tuple(choice.findings))
    rows = _by_image(data, name, columns)
    listed = _films(rows, name, choice.findings)
    sizes = _sizes(rows, roots)
    try:
        return films.select(listed, sizes, choice)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _films(rows: _Rows, file: str, findings: Sequence[str]) -> Films:
    no_finding = _NO_FINDING if _NO_FINDING in rows.columns else None
    labels = {name: _labels(rows, name) for name in [*findings, *filter(None, [no_finding])]}
    table = films.films(
        pd.DataFrame(labels, dtype="Int8"),
        film=rows.image_ids,
        patient_id=rows.known("patient_id"),
        view=_views(rows),
        split=[_split(text, rows, row) for row, text in enumerate(rows.texts("split"))],
        sex=rows.known("sex"),
        age=[_age(text) for text in rows.texts("age")],
        site=rows.known("site"),
    )
    return Films(table, tuple(findings), no_finding, key=str, files=(file,))


def _labels(rows: _Rows, name: str) -> list[int | None]:
    for row, text in enumerate(rows.texts(name)):
        if text not in THREE_VALUED:
            raise DataError(f"{rows.place(row)}: {name} {text!r}: must be 1, 0, -1 (uncertain) or empty")
    return [THREE_VALUED[text] for text in rows.texts(name)]


def _views(rows: _Rows) -> list[str | None]:
    views = rows.known(_VIEW)
    for row, view in enumerate(views):
        if view is not None and view not in films.VIEWS:
            raise DataError(f"{rows.place(row)}: view {view!r}: must be one of {', '.join(films.VIEWS)}, or empty")
    return views


def _age(text: str) -> float | None:
    """Years; a text that is no number tells none, as it only describes the film."""
    try:
        age = float(text or "nan")
    except ValueError:
        return None
    return age if math.isfinite(age) else None


def _by_image(data: bytes, name: str, known: _Columns) -> _Rows:
    """The rows by what they name. Raises DataError where they name nothing, or something twice."""
    unit, read_rows = ("row", _parquet_rows) if data.startswith(b"PAR1") else ("line", _csv_rows)
    columns, values = read_rows(data, name, known)
    rows = _Rows(f"{name} {unit}", columns[1:])
    first: dict[str, int] = {}
    same: dict[str, str] = {}  # a text that many rows have is kept once
    for number, (path, *texts) in values:
        place = f"{name} {unit} {number}"
        image_id = _image_id(path, place)
        if (before := first.setdefault(image_id, len(rows))) < len(rows):
            raise DataError(f"{place}: {image_id} is named twice, first in {rows.place(before)}")
        rows.add(image_id, number, [same.setdefault(text, text) for text in texts])
    if not rows:
        raise DataError(f"{name}: names no images")
    return rows


_Values = Iterator[tuple[int, Sequence[str]]]  # of the columns that are read, with the number of the row


def _csv_rows(data: bytes, name: str, known: _Columns) -> tuple[list[str], _Values]:
    with _reading_csv(name):
        data.decode("utf-8-sig")  # all of it, so that an error names its place in the file
        reader = csv.reader(io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline=""), strict=True)
        header = next(reader, [])
    columns = _columns(header, name, known)
    last = {column: place for place, column in enumerate(header)}
    return columns, _csv_values(reader, [last[column] for column in columns], name)


def _csv_values(reader: "_csv.Reader", places: Sequence[int], name: str) -> _Values:
    with _reading_csv(name):
        for row in reader:
            values = [row[place].strip() if place < len(row) else "" for place in places]
            if any(values):  # a blank line at the end is none
                yield reader.line_num, values


@contextmanager
def _reading_csv(name: str) -> Iterator[None]:
    try:
        yield
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name}: not a CSV file in UTF-8: {error}") from error


def _parquet_rows(data: bytes, name: str, known: _Columns) -> tuple[list[str], _Values]:
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            columns = _columns(file.schema_arrow.names, name, known)
            table = file.read(columns=columns)
        texts = [table[column].cast(pa.string()).fill_null("") for column in columns]
    except pa.ArrowException as error:
        raise DataError(f"{name}: not a Parquet file of texts: {str(error).splitlines()[0]}") from error
    stripped = (map(str.strip, column.to_pylist()) for column in texts)
    return columns, enumerate(zip(*stripped, strict=True), start=1)


def _columns(found: Sequence[str], name: str, known: _Columns) -> list[str]:
    """Those that are read. Raises DataError where one is missing, JobError where it is a finding of the job's."""
    for needed in known.needed:
        if needed not in found:
            if len(found) == 1 and (other := next((sign for sign in _OTHER_SEPARATORS if sign in found[0]), None)):
                raise DataError(f"{name}: columns must be separated by commas, not {other!r}: {found[0]}")
            raise DataError(f"{name}: no column {needed!r}; it has: {', '.join(found) or 'none'}")
    for finding in known.findings:
        if finding not in found:
            others = [column for column in found if column not in (*known.needed, *known.others)]
            raise films.unknown_finding(finding, name, others)
    return [column for column in dict.fromkeys((*known.needed, *known.findings, *known.others)) if column in found]


def _image_files(rows: _Rows) -> Iterator[ImageFile]:
    """Without their sizes. Raises DataError."""
    about: dict[About, About] = {}  # the same of many films is kept once
    told = zip(*(rows.known(name) for name in (_VIEW, "sex", "site")), rows.texts("age"), strict=True)
    columns = zip(*map(rows.texts, ("split", "label")), *map(rows.known, ("patient_id", "subtype")), told, strict=True)
    for row, (split, label, patient, subtype, (view, sex, site, age)) in enumerate(columns):
        if not label:
            raise DataError(f"{rows.place(row)}: label is empty")
        one = About(view, sex, _age(age), site)
        split = _split(split, rows, row)
        yield ImageFile(rows.image_ids[row], split, label, 0, patient, subtype, about=about.setdefault(one, one))


def _split(split: str, rows: _Rows, row: int) -> str:
    if split not in SPLITS:
        raise DataError(f"{rows.place(row)}: split {split!r}: must be one of {', '.join(SPLITS)}")
    return split


def _image_id(path: str, place: str) -> str:
    if not path:
        raise DataError(f"{place}: path is empty")
    if path.startswith("/") or "://" in path or ((":" in path or "\\" in path) and PureWindowsPath(path).drive):
        raise DataError(f"{place}: {path!r} is absolute: paths are relative to data.root")
    if "\\" in path or not path.isprintable():
        raise DataError(f"{place}: {path!r}: write the path with / and printable characters")
    if paths.is_normal(path):
        return path
    if ".." in PurePosixPath(path).parts:
        raise DataError(f"{place}: {path!r} leaves data.root")
    return str(PurePosixPath(path))


def _sizes(rows: _Rows, roots: Roots) -> dict[str, int]:
    """Bytes of each image. Raises DataError for those that are not there."""
    for row, image_id in enumerate(rows.image_ids):
        if roots.name_of(image_id) not in roots.by_name:
            known = ", ".join(roots.by_name)
            raise DataError(f"{rows.place(row)}: {image_id!r} does not begin with the name of a data root ({known})")
    sizes = roots.sizes(rows.image_ids)
    for row, image_id in enumerate(rows.image_ids):
        if image_id not in sizes:
            raise DataError(f"{rows.place(row)}: no file {image_id} below data.root")
    return sizes
