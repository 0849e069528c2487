"""Images -> manifest rows: classes from folders, patients and subtypes from names."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.data import images, paths, patients
from pneumo_batch.core.data.decoding import MAX_PIXELS
from pneumo_batch.core.data.formats.account import Account
from pneumo_batch.core.data.formats.folders import About, ImageFile, check_roots, list_datasets, resolve_classes
from pneumo_batch.core.data.formats.walking import UNNAMED
from pneumo_batch.core.data.options import BY_SUBTYPE, OF_SEVERAL, SPLITS
from pneumo_batch.core.data.patients import parse_name
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.core.tables import MANIFEST, QUARANTINE
from pneumo_batch.errors import DataError, RejectedImage, unread

if TYPE_CHECKING:
    from pneumo_batch.core.data.regions.sources import Source

_ROWS_AT_ONCE = 4096
_MOST_BYTES = 16 * MAX_PIXELS  # no film of so many pixels has more; a file may be larger than the memory of its reader
_FROM_FILE = ("width", "height", "mode", "sha256", "gray_low", "gray_high", "cells", "hash")
# What is known of an image before its file is read. A patient who was given stands against what the file says; the rule
# is the one of patients.py that told who it is else.
LISTING = pa.schema(
    [
        *(field for field in MANIFEST if field.name not in _FROM_FILE),
        pa.field("patient_given", pa.bool_(), nullable=False),
        pa.field("patient_rule", pa.string(), nullable=False),
    ]
)


class Inventory(NamedTuple):
    """The images of a data set: the table (schema LISTING, sorted by `image_id`) and the classes in label order.

    `passed_over` counts the files that are not among them, by kind; `account` says what reading a published set cost,
    `regions` has the boxes or masks that it comes with.
    """

    listing: pa.Table
    classes: list[str]
    passed_over: Mapping[str, int]
    account: Account | None = None
    regions: "Source | None" = None


def discover(roots: Roots, classes: Sequence[str] | None, splits: Sequence[str] = SPLITS) -> tuple[pa.Table, list[str]]:
    """The listing and the classes of `inventory`."""
    found = inventory(roots, classes, splits)
    return found.listing, found.classes


def inventory(roots: Roots, classes: Sequence[str] | None, splits: Sequence[str] = SPLITS) -> Inventory:
    """Lists the images under <root>/<split>/<class>/ without reading them.

    Of several data sets under a root (the published Kaggle archive holds a second copy of itself) the one nearest to
    it is taken. `classes` selects and orders class folders; None takes all, sorted; "subtype" splits the folders
    whose names carry a subtype (BACTERIA, NORMAL, VIRUS). Which splits exist is for the caller to check
    (`require_splits`). Raises DataError.
    """
    files, folders, passed_over = list_datasets(roots, splits)
    if classes == BY_SUBTYPE:
        files, folders, classes = _by_subtype(files), set(), None
    names = resolve_classes(files, folders, classes)
    check_roots(files, roots.by_name, names)
    return Inventory(listing(files, names), names, passed_over)


def listing(files: Iterable[ImageFile], names: Sequence[str], findings: Sequence[str] = ()) -> pa.Table:
    """The table (schema LISTING) of the files whose class is one of `names`.

    `findings` are those that the files have labels of, where there are several.
    """
    index = {name: label for label, name in enumerate(names)}
    schema = tables.with_labels(LISTING, findings)
    chosen, parts = (file for file in files if file.folder in index), [schema.empty_table()]
    # as objects of Python all of them at once would take a kB each
    while some := list(itertools.islice(chosen, _ROWS_AT_ONCE)):
        parts.append(_listing_of(some, index, schema))
    return pa.concat_tables(parts).combine_chunks()


def class_names(rows: pa.Table) -> list[str]:
    """Class names in label order."""
    if table_columns.findings_of(rows):
        return list(OF_SEVERAL)  # not every set has a film without a finding
    pairs = rows.select(["label", "class_name"]).group_by(["label", "class_name"]).aggregate([]).sort_by("label")
    return pairs["class_name"].to_pylist()


def require_splits(listing: pa.Table, splits: Sequence[str], *, file: str | None = None) -> None:
    """DataError unless every one of `splits` has images; `file` is the list that names them, if there is one."""
    found = set(listing["split"].unique().to_pylist())
    missing = [split for split in splits if split not in found]
    if not missing:
        return
    there = f"(found: {', '.join(sorted(found)) or 'none'})"
    if file:
        raise DataError(f"{file}: names no images of split {' and '.join(missing)} in its column split {there}")
    folders = " and ".join(f"{split}/" for split in missing)
    raise DataError(f"no images in {folders} {there}: add the folder to the data root")


def listing_digest(listing: pa.Table) -> str:
    """SHA-256 over names and sizes, hexadecimal: what of the data goes into the fingerprint."""
    digest = hashlib.sha256()
    for rows in _in_parts(listing, ("image_id", "bytes")):
        digest.update("".join(f"{image_id}\n{size}\n" for image_id, size in rows).encode())
    return digest.hexdigest()


def assignment_digest(listing: pa.Table) -> str:
    """SHA-256 over what a manifest says of each image, hexadecimal; folders say it by the images' names."""
    digest = hashlib.sha256()
    known = (
        "image_id",
        "split",
        "class_name",
        "patient_id",
        "subtype",
        *table_columns.label_columns(listing.column_names),
    )
    for rows in _in_parts(listing, known):
        digest.update("".join(map(repr, rows)).encode())
    return digest.hexdigest()


def _in_parts(table: pa.Table, columns: Sequence[str]) -> Iterator[Iterator[tuple[object, ...]]]:
    """Rows of some columns, not all of them at once."""
    for start in range(0, table.num_rows, _ROWS_AT_ONCE):
        part = table.slice(start, _ROWS_AT_ONCE)
        yield zip(*(part[name].to_pylist() for name in columns), strict=True)


def strata_digest(listing: pa.Table, columns: Sequence[str]) -> str:
    """SHA-256 over the columns of a listing within which labels are permuted, hexadecimal."""
    return hashlib.sha256(repr([listing[name].to_pylist() for name in columns]).encode()).hexdigest()


def inspect_batch(
    listing: pa.Table, roots: Roots, before: Callable[[str], None] = lambda _image_id: None
) -> tuple[pa.Table, pa.Table]:
    """Reads and decodes each listed image once: (manifest rows, quarantine rows), together as many as were listed.

    `before` is called with each id and may raise RejectedImage.
    """
    good, bad = [], []
    for row in listing.to_pylist():
        try:
            before(row["image_id"])
            data = _read(roots, row["image_id"], row["bytes"])
            info = images.inspect(data)
        except RejectedImage as error:
            bad.append({**_quarantine_key(row), "reason": str(error)})
        else:
            sha256 = hashlib.sha256(data).hexdigest()
            patient = row["patient_id"] if row["patient_given"] else info.patient or row["patient_id"]
            good.append(row | _found(info) | {"sha256": sha256, "patient_id": patient})
    schema = table_columns.labelled_as(MANIFEST, listing)
    return pa.Table.from_pylist(good, schema=schema), pa.Table.from_pylist(bad, schema=QUARANTINE)


def _by_subtype(files: Iterable[ImageFile]) -> list[ImageFile]:
    """The same files with the subtype, in capitals, in place of its class folder."""
    subtypes = {file: parse_name(paths.name(file.image_id))[1] for file in files}
    mixed = {file.folder for file, subtype in subtypes.items() if subtype}
    for file, subtype in subtypes.items():
        if file.folder in mixed and not subtype:
            raise DataError(f'{file.image_id}: data.classes = "subtype" needs bacteria or virus in the name')
    return [file._replace(folder=subtype.upper()) if subtype else file for file, subtype in subtypes.items()]


def _listing_of(files: Sequence[ImageFile], index: Mapping[str, int], schema: pa.Schema) -> pa.Table:
    """Rows of the listing; `index` has the labels of the classes."""
    told = [patients.of_image(file.image_id, file.folder, file.between) for file in files]
    columns: dict[str, list[object]] = {
        "image_id": [file.image_id for file in files],
        "split": [file.split for file in files],
        "class_name": [file.folder for file in files],
        "label": [index[file.folder] for file in files],
        "patient_id": [file.patient or patient.id for file, patient in zip(files, told, strict=True)],
        "subtype": [file.subtype or parse_name(paths.name(file.image_id))[1] for file in files],
        "bytes": [file.size for file in files],
        "patient_given": [file.patient is not None for file in files],
        "patient_rule": [patient.rule for patient in told],
        **{name: [getattr(file.about, name) for file in files] for name in About._fields},
    }
    labels = zip(*(file.labels for file in files), strict=True)
    columns |= {
        name: list(of_finding)
        for name, of_finding in zip(table_columns.label_columns(schema.names), labels, strict=True)
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _found(info: images.ImageInfo) -> dict[str, object]:
    assert info.look is not None
    return {
        "width": info.width,
        "height": info.height,
        "mode": info.mode,
        "gray_low": info.look.low,
        "gray_high": info.look.high,
        "cells": info.look.cells,
        "hash": info.hash,
    }


def _quarantine_key(row: dict[str, str]) -> dict[str, str]:
    return {name: row[name] for name in ("image_id", "split", "class_name")} | {"stage": "index"}


def _read(roots: Roots, image_id: str, size: int) -> bytes:
    """The bytes of one image, as long as it is the file that was listed and lies within its root."""
    if size == UNNAMED:
        raise RejectedImage("name is not UTF-8: rename it")
    if size > _MOST_BYTES:
        raise RejectedImage(f"too large: {size} bytes")
    try:
        data = roots.read_bytes(image_id)
    except OSError as error:
        raise RejectedImage(unread(error)) from error
    if len(data) != size:
        raise RejectedImage(f"changed while it was indexed: {size} bytes listed, {len(data)} read")
    return data
