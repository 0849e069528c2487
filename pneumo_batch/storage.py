"""Files below one place, local or any URI that pyarrow opens, written so that no reader ever sees half a file."""

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet as pq


def open_filesystem(location: str | os.PathLike[str]) -> tuple[pa.fs.FileSystem, str]:
    """The filesystem of a path or URI and the path inside it. Raises ValueError for a URI nothing opens."""
    text = os.fspath(location)
    if "://" not in text:
        return pa.fs.LocalFileSystem(), str(Path(text).expanduser().absolute())
    try:
        filesystem, path = pa.fs.FileSystem.from_uri(text)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{text}: {str(error).splitlines()[0]}") from error
    return filesystem, path


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

    def path(self, name: str = "") -> str:
        """The path of a name inside `fs`."""
        return f"{self.root}/{name}" if name else self.root

    def exists(self, name: str = "") -> bool:
        return self.fs.get_file_info(self.path(name)).type != pa.fs.FileType.NotFound

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

    def move(self, source: str, target: str) -> None:
        """Rename a file or a folder, replacing what is there. Atomic on a local disk; file by file elsewhere."""
        if self.is_local:
            self.remove(target)
            Path(self.path(target)).parent.mkdir(parents=True, exist_ok=True)
            Path(self.path(source)).rename(self.path(target))
            return
        for info in self.fs.get_file_info(pa.fs.FileSelector(self.path(source), recursive=True)):
            if info.is_file:
                self.fs.move(info.path, self.path(target) + info.path.removeprefix(self.path(source)))
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
