"""Files below one place, local or any URI that pyarrow opens, written so that no reader ever sees half a file."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet as pq

from pneumo_batch.errors import DamagedError
from pneumo_batch.rundir.integrity import PARQUET, parquet_bytes, parquet_format, reading, sealed_name, sha256
from pneumo_batch.rundir.layout import BACKUP
from pneumo_batch.rundir.locations import open_filesystem

Problem = Literal["damaged", "missing"]

_T = TypeVar("_T")
_CHUNK_BYTES = 4 * 2**20
WHOLE = "_whole"  # in the folder of a table on an object store, where a folder does not appear at once


def json_bytes(value: object) -> bytes:
    """A value as the content of a JSON file. Raises ValueError for numbers that JSON has not."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


class Store:
    """Named files below one root. Names are POSIX paths relative to it."""

    def __init__(self, location: str | os.PathLike[str]):
        self.location = os.fspath(location)
        self.fs, self.root = open_filesystem(location)
        self.is_lost = False  # whether the lease on it has gone to somebody else (see `lease`)
        self._digests: dict[str, str] = {}  # of what this process has written

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, pa.fs.LocalFileSystem)

    @property
    def is_object_store(self) -> bool:
        """Where folders are but a part of names."""
        return self.fs.type_name in ("s3", "gcs", "abfs")

    def path(self, name: str = "") -> str:
        """The path of a name inside `fs`."""
        return f"{self.root}/{name}" if name else self.root

    def exists(self, name: str = "") -> bool:
        return self.fs.get_file_info(self.path(name)).type != pa.fs.FileType.NotFound

    def is_file(self) -> bool:
        """Whether the root is a file."""
        return bool(self.fs.get_file_info(self.root).is_file)

    def names(self) -> list[str]:
        """Names of all that is directly in the root, sorted, hidden or not; empty where there is no such folder."""
        if self.is_local:  # whose names need not be UTF-8
            folder = Path(self.root)
            return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        found = self.fs.get_file_info(pa.fs.FileSelector(self.root, allow_not_found=True))
        return sorted(info.base_name for info in found)

    def size(self, name: str) -> int:
        """Bytes of a file; 0 where there is none."""
        return int(self.fs.get_file_info(self.path(name)).size or 0)

    def files(self, folder: str, suffix: str = "") -> list[str]:
        """Names of the visible files directly in a folder, sorted; empty when there is no such folder."""
        selector = pa.fs.FileSelector(self.path(folder), allow_not_found=True)
        infos = [info for info in self.fs.get_file_info(selector) if info.is_file]
        names = sorted(info.base_name for info in infos if info.base_name.endswith(suffix))
        return [f"{folder}/{name}" for name in names if not name.startswith((".", "_"))]

    def walk(self, name: str) -> list[str]:
        """Names of all visible files below a folder, sorted; of a file, its own."""
        if self.fs.get_file_info(self.path(name)).is_file:
            return [name]
        selector = pa.fs.FileSelector(self.path(name), recursive=True, allow_not_found=True)
        infos = [info for info in self.fs.get_file_info(selector) if info.is_file]
        return sorted(
            info.path.removeprefix(f"{self.root}/") for info in infos if not info.base_name.startswith((".", "_"))
        )

    def read_bytes(self, name: str) -> bytes:
        # as it is, whatever its suffix says
        with self.fs.open_input_stream(self.path(name), compression=None) as stream:
            return stream.read()

    def read_json(self, name: str) -> Any:
        """Raises DamagedError for what is no JSON."""
        try:
            return json.loads(self.read_bytes(name))
        except ValueError as error:
            raise DamagedError(f"{self.location}/{name}: damaged: not JSON: {error}") from error

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """SHA-256 of files, read piece by piece; those that are not there are left out."""
        names = list(names)
        with ThreadPoolExecutor() as pool:
            found = zip(names, pool.map(self._digest, names), strict=True)
            return {name: digest for name, digest in found if digest is not None}

    def _digest(self, name: str) -> str | None:
        found = hashlib.sha256()
        try:
            with self.fs.open_input_stream(self.path(name), compression=None) as stream:
                while piece := stream.read(_CHUNK_BYTES):
                    found.update(piece)
        except FileNotFoundError:
            return None
        return found.hexdigest()

    def take_digests(self) -> dict[str, str]:
        """SHA-256 by name of what this process has written since it was last asked."""
        taken, self._digests = self._digests, {}
        return taken

    def renamed(self, names: Mapping[str, str]) -> None:
        """Files that this process has written are about to have other names: new by old."""
        self._digests |= {new: self._digests[old] for old, new in names.items() if old in self._digests}

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a whole file or nothing: readers see the old content or the new."""
        self._write(name, data)
        self._digests[name] = sha256(data)

    def _write(self, name: str, data: bytes) -> None:
        path = self.path(name)
        folder, _, base = path.rpartition("/")
        if not self.is_object_store:
            self.fs.create_dir(folder, recursive=True)
        if not self.is_local:
            with self.fs.open_output_stream(path) as stream:  # an object appears when it is closed
                stream.write(data)
            return
        partial = Path(folder) / f".{base}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def write_json(self, name: str, value: object) -> None:
        self.write_bytes(name, json_bytes(value))

    def write_twice(self, name: str, data: bytes) -> None:
        """A file that nothing else could tell again, and before it its copy."""
        self.write_bytes(f"{BACKUP}/{name}", data)
        self.write_bytes(name, data)

    def exists_twice(self, name: str) -> bool:
        """Whether a file is there of which two copies are kept, or only the second of them."""
        return self.exists(name) or self.exists(f"{BACKUP}/{name}")

    def read_twice(self, name: str, parse: Callable[[bytes], _T]) -> _T:
        """What `parse` makes of a file, or of its copy where it is missing or `parse` raises DamagedError.

        Raises what the file itself gave rise to where there is no copy, and DamagedError where that is damaged.
        """
        try:
            return parse(self.read_bytes(name))
        except (DamagedError, FileNotFoundError):
            if not self.exists(f"{BACKUP}/{name}"):
                raise
            return parse(self.read_bytes(f"{BACKUP}/{name}"))

    def check_twice(self, name: str, parse: Callable[[bytes], object]) -> dict[str, Problem]:
        """What is wrong with a file of which two copies are kept and with its copy, by the name of each."""
        found: dict[str, Problem] = {}
        for place in (name, f"{BACKUP}/{name}"):
            try:
                parse(self.read_bytes(place))
            except FileNotFoundError:
                found[place] = "missing"
            except DamagedError:
                found[place] = "damaged"
        return found

    def heal(self, name: str, parse: Callable[[bytes], object]) -> dict[str, Problem]:
        """Put the one of two copies that is whole in the place of the other where that is not, and say what it was.

        Raises DamagedError where neither is.
        """
        problems = self.check_twice(name, parse)
        if problems:
            self.read_twice(name, parse)  # raises
            whole = self.read_bytes(f"{BACKUP}/{name}" if name in problems else name)
            for place in problems:
                self.write_bytes(place, whole)
        return problems

    def write_table(self, name: str, table: pa.Table) -> None:
        """One Parquet file, whole or not at all."""
        self.write_bytes(name, parquet_bytes(table))

    def write_sealed(self, stem: str, table: pa.Table, dictionary: Sequence[str] | None = None) -> None:
        """One Parquet file whose name ends with its SHA-256."""
        data = parquet_bytes(table, True if dictionary is None else dictionary)
        self.write_bytes(sealed_name(stem, data), data)

    def dataset(
        self, name: str, schema: pa.Schema | None = None, form: pa.dataset.ParquetFileFormat = PARQUET
    ) -> pa.dataset.Dataset:
        """A Parquet file, or every file of a folder, whose checksums are verified where it is read."""
        parts = [name] if name.endswith(".parquet") else self.files(name, ".parquet")
        with reading(f"{self.location}/{name}"):
            paths = [self.path(part) for part in parts]
            return pa.dataset.dataset(paths, filesystem=self.fs, format=form, schema=schema)

    def read_table(
        self,
        name: str,
        columns: list[str] | None = None,
        schema: pa.Schema | None = None,
        filter: pa.compute.Expression | None = None,
    ) -> pa.Table:
        """A Parquet file, or every file of a folder. Raises DamagedError."""
        with reading(f"{self.location}/{name}"):
            return self.dataset(name, schema).to_table(columns=columns, filter=filter)

    def read_images(
        self,
        folder: str,
        image_ids: Iterable[str],
        columns: list[str] | None = None,
        schema: pa.Schema | None = None,
        filter: pa.compute.Expression | None = None,
    ) -> pa.Table:
        """As `read_table`, the rows of some images: of files without any nothing is read but their ids."""
        wanted = pa.array(list(image_ids), pa.string())
        chosen = pa.compute.field("image_id").isin(wanted)
        chosen = chosen if filter is None else chosen & filter
        parts = [
            self.read_table(name, columns, schema, chosen)
            for name in self.files(folder, ".parquet")
            if self._names_one_of(name, wanted)
        ]
        return pa.concat_tables(parts) if parts else self.read_table(folder, columns, schema, pa.compute.scalar(False))

    def _names_one_of(self, name: str, image_ids: pa.Array) -> bool:
        different = pa.compute.unique(self.read_texts(name, "image_id"))
        return bool(pa.compute.any(pa.compute.is_in(different, image_ids)).as_py())

    def read_texts(self, name: str, column: str) -> pa.ChunkedArray:
        """A column of texts of one Parquet file, encoded as in the file: each text once. Raises DamagedError.

        A scan of the file, which makes a text of every row, takes several times as long.
        """
        with reading(f"{self.location}/{name}"), self.fs.open_input_file(self.path(name)) as file:
            parquet = pq.ParquetFile(file, read_dictionary=[column], page_checksum_verification=True)
            return parquet.read([column], use_threads=False)[column]

    def read_batches(self, name: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The same in parts, for what is too large to be held at once. Raises DamagedError.

        Columns of texts that the schema has as dictionaries stay encoded as they are in the files.
        """
        encoded = parquet_format([field.name for field in schema if pa.types.is_dictionary(field.type)])
        with reading(f"{self.location}/{name}"):
            # a scan of them all reads hundreds of MB before they are asked for
            for part in [name] if name.endswith(".parquet") else self.files(name, ".parquet"):
                yield from self.dataset(part, schema, encoded).to_batches(batch_readahead=1, fragment_readahead=1)

    def has(self, name: str) -> bool:
        """Whether a file is there, or a table, whole."""
        if self.is_local or "." in name.rpartition("/")[2]:
            return self.exists(name)
        return self.exists(f"{name}/{WHOLE}")

    def remove(self, name: str) -> None:
        """Delete a file or a folder; nothing there is fine."""
        kind = self.fs.get_file_info(self.path(name)).type
        if kind == pa.fs.FileType.Directory:
            if self.is_local:
                shutil.rmtree(self.path(name))
            else:
                self.fs.delete_dir(self.path(name))
        elif kind == pa.fs.FileType.File:
            self.fs.delete_file(self.path(name))
