"""A CSV or Parquet file that names images, instead of folders: `path`, `label`, `split`, and if known `patient_id`.

`path` is relative to the data root (with several roots it begins with the name of one), `label` the name of a class,
`split` train, val or test; `subtype` may be there too. Other columns are not read.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.formats.folders import ImageFile, check_roots, resolve_classes
from pneumo_batch.core.data.options import SPLITS
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import DataError

_NEEDED = ("path", "label", "split")
_KNOWN = (*_NEEDED, "patient_id", "subtype")


class _Row(NamedTuple):
    place: str  # in errors: "images.csv line 3"
    values: dict[str, str]  # "" where there is none


def read(data: bytes, name: str, roots: Roots, classes: Sequence[str] | None) -> tuple[pa.Table, list[str]]:
    """The listing (schema manifest.LISTING) of the images a manifest names, and the classes, as `manifest.discover`.

    `name` stands in errors. Raises DataError, which names the line, for columns that are missing, values that cannot
    be, images named twice or absent, and paths that are absolute or leave the root.
    """
    rows = _parquet_rows(data, name) if data.startswith(b"PAR1") else _csv_rows(data, name)
    files: dict[str, ImageFile] = {}
    places: dict[str, str] = {}
    for row in rows:
        file = _image_file(row)
        if file.image_id in files:
            raise DataError(f"{row.place}: {file.image_id} is named twice, first in {places[file.image_id]}")
        files[file.image_id], places[file.image_id] = file, row.place
    if not files:
        raise DataError(f"{name}: names no images")
    sizes = _sizes(places, roots)
    found = sorted(file._replace(size=sizes[image_id]) for image_id, file in files.items())
    try:
        names = resolve_classes(found, set(), classes)
        check_roots(found, roots.by_name, names)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return manifest.listing(found, names), names


def _csv_rows(data: bytes, name: str) -> Iterator[_Row]:
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), restval="", strict=True)
        columns = _columns(reader.fieldnames or (), name)
        for row in reader:
            values = {column: row[column].strip() for column in columns}
            if any(values.values()):  # a blank line at the end is none
                yield _Row(f"{name} line {reader.line_num}", values)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name}: not a CSV file in UTF-8: {error}") from error


def _parquet_rows(data: bytes, name: str) -> Iterator[_Row]:
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            columns = _columns(file.schema_arrow.names, name)
            table = file.read(columns=columns)
        texts = [table[column].cast(pa.string()).to_pylist() for column in columns]
    except pa.ArrowException as error:
        raise DataError(f"{name}: not a Parquet file of texts: {str(error).splitlines()[0]}") from error
    for number, row in enumerate(zip(*texts, strict=True), start=1):
        values = dict(zip(columns, ((text or "").strip() for text in row), strict=True))
        yield _Row(f"{name} row {number}", values)


def _columns(found: Sequence[str], name: str) -> list[str]:
    """Those that are read. Raises DataError where one is missing."""
    for needed in _NEEDED:
        if needed not in found:
            raise DataError(f"{name}: no column {needed!r}; it has: {', '.join(found) or 'none'}")
    return [column for column in _KNOWN if column in found]


def _image_file(row: _Row) -> ImageFile:
    """Without its size. Raises DataError."""
    place, values = row
    if values["split"] not in SPLITS:
        raise DataError(f"{place}: split {values['split']!r}: must be one of {', '.join(SPLITS)}")
    if not values["label"]:
        raise DataError(f"{place}: label is empty")
    patient, subtype = values.get("patient_id") or None, values.get("subtype") or None
    return ImageFile(_image_id(values["path"], place), values["split"], values["label"], 0, patient, subtype)


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
