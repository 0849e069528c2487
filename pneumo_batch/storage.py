"""Files below one place, local or any URI that pyarrow opens, written so that no reader ever sees half a file."""

import json
import os
import shutil
import urllib.parse
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet as pq

from pneumo_batch.config import JobError
from pneumo_batch.core.roots import DataError, Root, Roots

WHOLE = "_whole"  # in the folder of a table on an object store, where a folder does not appear at once


def open_filesystem(location: str | os.PathLike[str]) -> tuple[pa.fs.FileSystem, str]:
    """The filesystem of a path or URI and the path inside it. Raises JobError for a URI nothing opens."""
    text = os.fspath(location)
    if "://" not in text:
        return pa.fs.LocalFileSystem(), str(Path(text).expanduser().absolute())
    address = urllib.parse.urlsplit(text)
    if address.password or "secret_key" in address.query:
        shown = f"{address.scheme}://{address.hostname or ''}{address.path}"
        raise JobError(f"{shown}: credentials in a URI would get into records: give them by the environment instead")
    try:
        filesystem, path = pa.fs.FileSystem.from_uri(text)
    except (pa.ArrowInvalid, OSError) as error:
        raise JobError(f"{text}: {reason(error)}") from error
    return filesystem, path


def read_location(location: str) -> bytes:
    """One file, by path or URI. Raises OSError, or ValueError for a URI nothing opens."""
    filesystem, path = open_filesystem(location)
    with filesystem.open_input_stream(path, compression=None) as stream:
        return stream.read()


def open_roots(location: str | list[str]) -> Roots:
    """The place of a job's images: one folder or URI, or several. Raises DataError."""
    try:
        if isinstance(location, str):
            return Roots.one(*open_filesystem(location))
        return Roots.several({one: Root(*open_filesystem(one)) for one in location})
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"data.root: {error}") from error


def reason(error: BaseException) -> str:
    """Why a file system refused something, in one line and without the request's number."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.partition(" (Request ID")[0].rstrip(".")


def absolute(location: str) -> str:
    """A path as any process finds it; a URI as it is."""
    return location if "://" in location else str(Path(location).expanduser().absolute())


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the content of one Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


class Store:
    """Named files below one root. Names are POSIX paths relative to it."""

    def __init__(self, location: str | os.PathLike[str]):
        self.location = os.fspath(location)
        self.fs, self.root = open_filesystem(location)

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

    def size(self, name: str) -> int:
        """Bytes of a file; 0 where there is none."""
        return int(self.fs.get_file_info(self.path(name)).size or 0)

    def files(self, folder: str, suffix: str = "") -> list[str]:
        """Names of the visible files directly in a folder, sorted; empty when there is no such folder."""
        selector = pa.fs.FileSelector(self.path(folder), allow_not_found=True)
        infos = [info for info in self.fs.get_file_info(selector) if info.is_file]
        names = sorted(info.base_name for info in infos if info.base_name.endswith(suffix))
        return [f"{folder}/{name}" for name in names if not name.startswith((".", "_"))]

    def read_bytes(self, name: str) -> bytes:
        with self.fs.open_input_stream(self.path(name)) as stream:
            return stream.read()

    def read_json(self, name: str) -> Any:
        return json.loads(self.read_bytes(name))

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a whole file or nothing: readers see the old content or the new."""
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

    def write_json(self, name: str, value: Any) -> None:
        self.write_bytes(name, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())

    def write_table(self, name: str, table: pa.Table) -> None:
        """One Parquet file, whole or not at all."""
        self.write_bytes(name, parquet_bytes(table))

    def read_table(self, name: str, columns: list[str] | None = None, schema: pa.Schema | None = None) -> pa.Table:
        """A Parquet file, or every file of a folder."""
        parts = [name] if name.endswith(".parquet") else self.files(name, ".parquet")
        paths = [self.path(part) for part in parts]
        dataset = pa.dataset.dataset(paths, filesystem=self.fs, format="parquet", schema=schema)
        return dataset.to_table(columns=columns)

    def move(self, source: str, target: str, last: str = "") -> None:
        """Rename a folder, replacing what is there. At once on a local disk; elsewhere file by file, `last` at last."""
        if self.is_local:
            self.remove(target)
            Path(self.path(target)).parent.mkdir(parents=True, exist_ok=True)
            Path(self.path(source)).rename(self.path(target))
            return
        selector = pa.fs.FileSelector(self.path(source), recursive=True, allow_not_found=True)
        paths = sorted(info.path for info in self.fs.get_file_info(selector) if info.is_file)
        for path in sorted(paths, key=lambda path: path.endswith(f"/{last}")):
            self.fs.move(path, self.path(target) + path.removeprefix(self.path(source)))
        self.remove(source)

    # -------------------------------------------------------------------------------------------------------- tables

    def has(self, name: str) -> bool:
        """Whether a file is there, or a table, whole."""
        if self.is_local or "." in name.rpartition("/")[2]:
            return self.exists(name)
        return self.exists(f"{name}/{WHOLE}")

    def extend(self, table: str, source: str, prefix: str, replaced: Mapping[str, pa.Table]) -> None:
        """Make the files below `source` part of a table, and put others in place of some that it has.

        Their names get `prefix`. On a local disk the new table takes the place of the old one as a folder, and
        `recover` ends what a crash left undone. Elsewhere `has` says no while files move; call it again after a crash.
        """
        if not self.is_local:
            self.remove(f"{table}/{WHOLE}")
            for name, content in replaced.items():
                self.write_table(name, content)
            for name in self.files(source):
                self.fs.move(self.path(name), self.path(f"{table}/{prefix}{name.rpartition('/')[2]}"))
            self.write_bytes(f"{table}/{WHOLE}", b"")
            self.remove(source)
            return
        begun, ready = (Path(self.path(f"{source}.{word}")) for word in ("begun", "ready"))
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir(parents=True)
        arriving = {f"{table}/{prefix}{name.rpartition('/')[2]}" for name in self.files(source)}
        for name in set(self.files(table)) - set(replaced) - arriving:
            _link(Path(self.path(name)), begun / Path(name).name)
        for name in self.files(source):
            _link(Path(self.path(name)), begun / f"{prefix}{Path(name).name}")
        for name, content in replaced.items():
            (begun / Path(name).name).write_bytes(parquet_bytes(content))
        begun.rename(ready)
        self.recover(table, source)

    def recover(self, table: str, source: str) -> None:
        """Put the table that `extend` has made ready in the place of the old one. Does nothing without one."""
        ready, old = Path(self.path(f"{source}.ready")), Path(self.path(f"{source}.old"))
        if not self.is_local or not ready.exists():
            return
        place = Path(self.path(table))
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            shutil.rmtree(old, ignore_errors=True)
            place.rename(old)
        ready.rename(place)
        shutil.rmtree(old, ignore_errors=True)
        self.remove(source)

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


def _link(source: Path, target: Path) -> None:
    """The same file under another name, a copy where the disk has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
