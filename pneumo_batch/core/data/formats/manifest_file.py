"""A CSV or Parquet file that names images, instead of folders: `path`, `label`, `split`, and if known `patient_id`.

`path` is relative to the data root (with several roots it begins with the name of one), `label` the name of a class,
`split` train, val or test; `subtype`, `view`, `sex`, `age` and `site` may be there too. With findings there is a column
of each instead of `label` (1, 0, -1 for uncertain, nothing where it is not mentioned), and if known `No Finding`; then
views choose films. Other columns are not read.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.formats import films
from pneumo_batch.core.data.formats.films import Choice, Films, Selected
from pneumo_batch.core.data.formats.folders import About, ImageFile, check_roots, resolve_classes
from pneumo_batch.core.data.formats.label_files import THREE_VALUED
from pneumo_batch.core.data.options import SPLITS
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import DataError

_PLACE = ("path", "split")
_NO_FINDING = "No Finding"
_VIEW = "view"
_ABOUT = ("sex", "age", "site")


class _Columns(NamedTuple):
    """Those of a list that are read: which must be there and which may."""

    needed: tuple[str, ...]
    others: tuple[str, ...]


_BY_CLASS = _Columns(("path", "label", "split"), ("patient_id", "subtype", _VIEW, *_ABOUT))


class _Row(NamedTuple):
    place: str  # in errors: "images.csv line 3"
    values: dict[str, str]  # "" where there is none


def read(data: bytes, name: str, roots: Roots, classes: Sequence[str] | None) -> tuple[pa.Table, list[str]]:
    """The listing (schema manifest.LISTING) of the images a manifest names, and the classes, as `manifest.discover`.

    `name` stands in errors. Raises DataError, which names the line, for columns that are missing, values that cannot
    be, images named twice or absent, and paths that are absolute or leave the root.
    """
    rows = _by_image(_rows(data, name, _BY_CLASS), name)
    files = [_image_file(image_id, row) for image_id, row in rows.items()]
    sizes = _sizes({image_id: row.place for image_id, row in rows.items()}, roots)
    found = sorted(file._replace(size=sizes[file.image_id]) for file in files)
    try:
        names = resolve_classes(found, set(), classes)
        check_roots(found, roots.by_name, names)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return manifest.listing(found, names), names


def select(data: bytes, name: str, roots: Roots, choice: Choice) -> Selected:
    """The images that a manifest labels by finding. Raises DataError as `read` does, and as `films.select`."""
    columns = _Columns((*_PLACE, *choice.findings), ("patient_id", _VIEW, _NO_FINDING, *_ABOUT))
    rows = _by_image(_rows(data, name, columns), name)
    listed = _films(rows, choice.findings)
    sizes = _sizes({image_id: row.place for image_id, row in rows.items()}, roots)
    try:
        return films.select(listed, sizes, choice)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _films(rows: dict[str, _Row], findings: Sequence[str]) -> Films:
    values = {image_id: row.values for image_id, row in rows.items()}
    known = {name for row in values.values() for name in row}
    labelled = [*findings, *([_NO_FINDING] if _NO_FINDING in known else [])]
    labels = {name: [_label(row, name) for row in rows.values()] for name in labelled}
    table = films.films(
        pd.DataFrame(labels, dtype="Int8"),
        film=list(values),
        patient_id=[row.get("patient_id") or None for row in values.values()],
        view=[_view(row) for row in rows.values()],
        split=[_split(row) for row in rows.values()],
        sex=[row.get("sex") or None for row in values.values()],
        age=[_age(row) for row in values.values()],
        site=[row.get("site") or None for row in values.values()],
    )
    no_finding = _NO_FINDING if _NO_FINDING in known else None
    return Films(table, tuple(findings), no_finding, key=str)


def _label(row: _Row, name: str) -> int | None:
    if row.values[name] not in THREE_VALUED:
        raise DataError(f"{row.place}: {name} {row.values[name]!r}: must be 1, 0, -1 (uncertain) or empty")
    return THREE_VALUED[row.values[name]]


def _view(row: _Row) -> str | None:
    view = row.values.get(_VIEW) or None
    if view is not None and view not in films.VIEWS:
        raise DataError(f"{row.place}: view {view!r}: must be one of {', '.join(films.VIEWS)}, or empty")
    return view


def _age(values: Mapping[str, str]) -> float | None:
    """Years; a text that is no number tells none, as it only describes the film."""
    try:
        age = float(values.get("age") or "nan")
    except ValueError:
        return None
    return age if math.isfinite(age) else None


def _by_image(rows: Iterable[_Row], name: str) -> dict[str, _Row]:
    """The rows by what they name. Raises DataError where they name nothing, or something twice."""
    found: dict[str, _Row] = {}
    for row in rows:
        image_id = _image_id(row.values["path"], row.place)
        if image_id in found:
            raise DataError(f"{row.place}: {image_id} is named twice, first in {found[image_id].place}")
        found[image_id] = row
    if not found:
        raise DataError(f"{name}: names no images")
    return found


def _rows(data: bytes, name: str, columns: _Columns) -> Iterator[_Row]:
    return _parquet_rows(data, name, columns) if data.startswith(b"PAR1") else _csv_rows(data, name, columns)


def _csv_rows(data: bytes, name: str, known: _Columns) -> Iterator[_Row]:
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), restval="", strict=True)
        columns = _columns(reader.fieldnames or (), name, known)
        for row in reader:
            values = {column: row[column].strip() for column in columns}
            if any(values.values()):  # a blank line at the end is none
                yield _Row(f"{name} line {reader.line_num}", values)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name}: not a CSV file in UTF-8: {error}") from error


def _parquet_rows(data: bytes, name: str, known: _Columns) -> Iterator[_Row]:
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            columns = _columns(file.schema_arrow.names, name, known)
            table = file.read(columns=columns)
        texts = [table[column].cast(pa.string()).to_pylist() for column in columns]
    except pa.ArrowException as error:
        raise DataError(f"{name}: not a Parquet file of texts: {str(error).splitlines()[0]}") from error
    for number, row in enumerate(zip(*texts, strict=True), start=1):
        values = dict(zip(columns, ((text or "").strip() for text in row), strict=True))
        yield _Row(f"{name} row {number}", values)


def _columns(found: Sequence[str], name: str, known: _Columns) -> list[str]:
    """Those that are read. Raises DataError where one is missing."""
    for needed in known.needed:
        if needed not in found:
            raise DataError(f"{name}: no column {needed!r}; it has: {', '.join(found) or 'none'}")
    return [column for column in (*known.needed, *known.others) if column in found]


def _image_file(image_id: str, row: _Row) -> ImageFile:
    """Without its size. Raises DataError."""
    values = row.values
    if not values["label"]:
        raise DataError(f"{row.place}: label is empty")
    patient, subtype = values.get("patient_id") or None, values.get("subtype") or None
    view, sex, site = (values.get(name) or None for name in (_VIEW, "sex", "site"))
    about = About(view, sex, _age(values), site)
    return ImageFile(image_id, _split(row), values["label"], 0, patient, subtype, about=about)


def _split(row: _Row) -> str:
    if (split := row.values["split"]) not in SPLITS:
        raise DataError(f"{row.place}: split {split!r}: must be one of {', '.join(SPLITS)}")
    return split


def _image_id(path: str, place: str) -> str:
    if not path:
        raise DataError(f"{place}: path is empty")
    if path.startswith("/") or "://" in path or PureWindowsPath(path).drive:
        raise DataError(f"{place}: {path!r} is absolute: paths are relative to data.root")
    if "\\" in path or not path.isprintable():
        raise DataError(f"{place}: {path!r}: write the path with / and printable characters")
    if ".." in PurePosixPath(path).parts:
        raise DataError(f"{place}: {path!r} leaves data.root")
    return str(PurePosixPath(path))


def _sizes(places: dict[str, str], roots: Roots) -> dict[str, int]:
    """Bytes of each image. Raises DataError for those that are not there."""
    for image_id, place in places.items():
        if roots.name_of(image_id) not in roots.by_name:
            known = ", ".join(roots.by_name)
            raise DataError(f"{place}: {image_id!r} begins with the name of no data root ({known})")
    sizes = roots.sizes(list(places))
    for image_id, place in places.items():
        if image_id not in sizes:
            raise DataError(f"{place}: no file {image_id} below data.root")
    return sizes
