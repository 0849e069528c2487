"""Where images lie: one folder, or several whose images are told apart by the folder's own name.

An image id is a POSIX path below the root; with several roots it begins with the name of its root. Nothing outside of a
root is read: neither through `..` nor through links.
"""

import functools
import itertools
import os
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pyarrow import fs as pafs

from pneumo_batch.core.data import paths
from pneumo_batch.errors import DataError, RejectedImage

_AT_ONCE = 1 << 16  # files that a file system is asked about: what it says of each takes half a kB


class Root(NamedTuple):
    """A folder on any file system that pyarrow opens."""

    fs: pafs.FileSystem
    path: str

    def local(self) -> Path | None:
        """The folder on this machine's disks; None on other file systems, which have no links."""
        fs, path = self
        while isinstance(fs, pafs.SubTreeFileSystem):
            path, fs = fs.base_path + path, fs.base_fs
        return Path(path) if isinstance(fs, pafs.LocalFileSystem) else None

    def head(self, name: str, size: int) -> bytes:
        """The first bytes of a file below the folder; none where it cannot be read, or is a link out of it."""
        folder = self.local()
        try:
            if folder is not None and leaves(folder, name):
                return b""
            with self.fs.open_input_file(str(PurePosixPath(self.path) / name)) as file:
                return file.read(size)
        except OSError:
            return b""


@dataclass(frozen=True)
class Roots:
    """`by_name` holds the roots by the first part of their image ids; a single one may stand under ""."""

    by_name: Mapping[str, Root]

    @classmethod
    def one(cls, fs: pafs.FileSystem, path: str) -> "Roots":
        return cls({"": Root(fs, path)})

    @classmethod
    def several(cls, roots: Mapping[str, Root]) -> "Roots":
        """`roots` by location. Raises DataError where one has no name, or two have the same."""
        by_name: dict[str, Root] = {}
        places: dict[str, str] = {}
        for location, root in roots.items():
            name = posixpath.basename(posixpath.normpath(root.path))
            if not name:
                raise DataError(f"data.root: {location} has no folder name for the ids of its images to begin with")
            if name in by_name:
                raise DataError(
                    f"data.root: {places[name]} and {location} are both called {name!r}, so the ids of their images"
                    " would begin alike: rename one"
                )
            by_name[name], places[name] = root, location
        return cls(by_name)

    def locate(self, image_id: str) -> tuple[Root, str]:
        """The root of an image and its path below it. Raises FileNotFoundError where no root has that name."""
        name = self.name_of(image_id)
        if name not in self.by_name:
            raise FileNotFoundError(f"{image_id}: no data root is called {name!r}")
        return self.by_name[name], image_id.removeprefix(f"{name}/") if name else image_id

    def name_of(self, image_id: str) -> str:
        """The name of an image's root, whether there is such a root or not."""
        return "" if "" in self.by_name else image_id.partition("/")[0]

    def sizes(self, image_ids: Iterable[str]) -> dict[str, int]:
        """Bytes of the images that are there; few questions to each file system."""
        found: dict[str, int] = {}
        for name, of_root in itertools.groupby(sorted(image_ids), self.name_of):
            root = self.by_name[name]
            folder, prefix = str(PurePosixPath(root.path)), f"{name}/" if name else ""
            while wanted := list(itertools.islice(of_root, _AT_ONCE)):
                infos = root.fs.get_file_info([paths.below(folder, one.removeprefix(prefix)) for one in wanted])
                found |= {image_id: info.size for image_id, info in zip(wanted, infos, strict=True) if info.is_file}
        return found

    def read_bytes(self, image_id: str) -> bytes:
        """Raises OSError where there is no such file and RejectedImage for a link that leaves the root."""
        root, name = self.locate(image_id)
        folder = root.local()
        if folder is not None:
            if leaves(folder, name):
                raise RejectedImage("a link that leaves the data root")
            return (folder / name).read_bytes()  # Arrow takes longer to open a file
        with root.fs.open_input_stream(str(PurePosixPath(root.path) / name), compression=None) as stream:
            return stream.read()

    def exists(self, image_id: str) -> bool:
        if self.name_of(image_id) not in self.by_name:
            return False
        root, name = self.locate(image_id)
        return root.fs.get_file_info(str(PurePosixPath(root.path) / name)).type != pafs.FileType.NotFound

    def missing(self) -> list[str]:
        """Paths of the roots that are not there."""
        infos = [root.fs.get_file_info(root.path) for root in self.by_name.values()]
        return [info.path for info in infos if info.type != pafs.FileType.Directory]


def leaves(folder: Path, name: str) -> bool:
    """Whether a path below a local folder passes through links to somewhere outside of it."""
    return not os.path.realpath(folder / name).startswith(_with_slash(folder))


@functools.lru_cache  # asked for every image
def _with_slash(folder: Path) -> str:
    return os.path.join(os.path.realpath(folder), "")  # noqa: PTH118 - a path without it would take its neighbour's name
