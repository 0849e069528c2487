"""The label files of a published set: found by name below the root, read as texts, errors that name row and column."""

import csv
import io
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, NamedTuple, NoReturn

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from pneumo_batch.core.data.formats import walking
from pneumo_batch.core.data.roots import Root
from pneumo_batch.errors import DataError

# 1.0, 0.0, -1.0 and nothing, as CheXpert's labeler writes them
THREE_VALUED: Mapping[str, int | None] = {"1.0": 1, "1": 1, "0.0": 0, "0": 0, "-1.0": -1, "-1": -1, "": None}

_SHOWN = 60  # characters of a value, in errors


class LabelFile(NamedTuple):
    """A table of texts: `rows` has the columns asked for, stripped, and counts rows from 1, below the header."""

    name: str
    rows: pd.DataFrame

    def refuse(self, bad: "pd.Series[bool]", column: str, why: str) -> None:
        """Raise DataError for the first row where `bad` holds, if there is one."""
        if bad.any():
            row = bad.idxmax()
            value = str(self.rows.at[row, column])  # run lengths go on for pages
            shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
            raise DataError(f"{self.name} row {row}: {column} {shown!r}: {why}")

    def refuse_repeats(self, column: str) -> None:
        """Raise DataError where two rows name the same film."""
        self.refuse(self.rows[column].duplicated(), column, "is named twice")
        self.refuse(self.rows[column] == "", column, "must not be empty")

    def values(self, column: str, known: Mapping[str, Any]) -> pd.Series:
        """A column's texts by what they mean. Raises DataError for one that means nothing."""
        texts = self.rows[column]
        shown = ", ".join(repr(text) for text in known)
        self.refuse(~texts.isin(known), column, f"must be one of {shown}")
        return texts.map(dict(known))

    def numbers(self, columns: Sequence[str]) -> pd.DataFrame:
        """Columns as floating-point numbers, NaN where they are empty. Raises DataError for what is none."""
        found = {name: pd.to_numeric(self.rows[name], errors="coerce") for name in columns}
        for name, values in found.items():
            self.refuse(values.isna() & (self.rows[name] != ""), name, "must be a number")
        return pd.DataFrame(found)


class Download(NamedTuple):
    """A published set as it lies on disk: sizes in bytes of its images, and its other files, by path below the root."""

    root: Root
    images: dict[str, int]
    others: tuple[str, ...]

    @classmethod
    def of(cls, root: Root) -> "Download":
        images, _, others = walking.walk(root)
        sizes = {"/".join(parts): size for parts, size in images.items()}
        return cls(root, sizes, tuple("/".join(parts) for parts in others))

    def find(self, *patterns: str) -> str | None:
        """The path of the file with such a name, or that with .gz, nearest to the root; None where there is none."""
        wanted = [name for pattern in patterns for name in (pattern, f"{pattern}.gz")]
        found = [path for path in self.others if any(fnmatchcase(PurePosixPath(path).name, name) for name in wanted)]
        nearest = min((path.count("/") for path in found), default=0)
        found = sorted(path for path in found if path.count("/") == nearest)
        if len(found) > 1:
            raise DataError(f"{found[0]} and {found[1]}: keep one of them below data.root")
        return found[0] if found else None

    def need(self, *patterns: str) -> str:
        """As `find`. Raises DataError where there is no such file."""
        if (path := self.find(*patterns)) is None:
            raise DataError(f"no {' or '.join(patterns)} (.gz) below {self.root.path}: set data.root to the download")
        return path

    def read(self, path: str) -> bytes:
        """One file, decompressed. Raises DataError where it cannot be."""
        try:
            with self.root.fs.open_input_stream(str(PurePosixPath(self.root.path) / path)) as stream:
                return stream.read()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error

    def columns(self, path: str) -> list[str]:
        """The names in the header of a CSV file."""
        return header(self.read(path), path)

    def table(self, path: str, columns: Sequence[str], renamed: Mapping[str, str] | None = None) -> LabelFile:
        """As `table`, of a file below the root."""
        return table(self.read(path), path, columns, renamed)


def table(data: bytes, path: str, columns: Sequence[str], renamed: Mapping[str, str] | None = None) -> LabelFile:
    """Columns of a CSV file as texts. `renamed` are other names of them. Raises DataError where one is missing."""
    names = [(renamed or {}).get(name, name) for name in header(data, path)]
    for name in columns:
        if names.count(name) != 1:
            raise DataError(f"{path}: {'no' if name not in names else 'more than one'} column {name!r}")
    return LabelFile(path, _texts(data, path, names, columns))


def header(data: bytes, path: str) -> list[str]:
    """The names in the first line of a CSV file. Raises DataError."""
    try:
        line = data.partition(b"\n")[0].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: {error}") from error
    return [name.strip() for name in next(csv.reader([line]), [])]


def _texts(data: bytes, path: str, names: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Arrow reads 160,000 reports of several lines each in a second; without threads it counts rows in errors."""
    numbered = [name if name in columns else f"{k} {name}" for k, name in enumerate(names)]
    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(data),
            pyarrow.csv.ReadOptions(use_threads=False, column_names=numbered, skip_rows=1),
            pyarrow.csv.ParseOptions(newlines_in_values=True),
            pyarrow.csv.ConvertOptions(
                include_columns=list(columns), column_types={name: pa.string() for name in columns}
            ),
        )
    except pa.ArrowInvalid as error:
        _not_csv(path, str(error).splitlines()[0])
    texts = {name: table[name].to_pandas().str.strip() for name in columns}
    return pd.DataFrame(texts).set_axis(range(1, table.num_rows + 1))


def _not_csv(path: str, why: str) -> NoReturn:
    """Arrow goes on with the row itself, which may name a person."""
    head, found, rest = why.removeprefix("CSV parse error: ").partition(" columns, got ")
    raise DataError(f"{path}: not a CSV file: {head}{found}{rest.partition(':')[0]}")
