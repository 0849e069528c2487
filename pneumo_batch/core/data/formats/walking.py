"""Every file below a root folder, on any file system that pyarrow opens: which are images, and which are not."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pyarrow import fs as pafs

from pneumo_batch.core.data import paths
from pneumo_batch.core.data.options import SPLITS
from pneumo_batch.core.data.roots import Root, leaves
from pneumo_batch.errors import DataError

SPLIT_OF = {name: name for name in SPLITS}
# Other names of a split, where the folder lies beside one that is called as above or nothing is.
ALIASES = {"validation": "val", "valid": "val", "dev": "val"}
EVERY_SPLIT = SPLIT_OF | ALIASES
EXTENSIONS = frozenset({".bmp", ".dcm", ".dicom", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".tif", ".tiff", ".webp"})

UNNAMED = -2  # as a size: what has a name that no table can hold
_LINK = -1  # as a size: a folder that lies elsewhere

Parts = tuple[str, ...]  # of a path below the root


def split_of(folder: str) -> str | None:
    """The split that a folder's name means, in any case."""
    return EVERY_SPLIT.get(folder.lower())


def walk(root: Root) -> tuple[dict[Parts, int], list[Parts], dict[Parts, int]]:
    """Path parts below `root`: images with their sizes, folders, and other files with theirs."""
    if root.fs.get_file_info(root.path).type != pafs.FileType.Directory:
        raise DataError(f"{root.path}: no such folder; set data.root to the folder that holds train/ and test/")
    local = root.local()
    images: dict[Parts, int] = {}
    others: dict[Parts, int] = {}
    folders = []
    for parts, size in _local_entries(local) if local else _entries(root):
        if size is None:
            folders.append(parts)
        elif paths.suffix(parts[-1]).lower() in EXTENSIONS or size < 0:
            images[parts] = size
        else:
            others[parts] = size
    return images, folders, others


def _entries(root: Root) -> Iterator[tuple[Parts, int | None]]:
    """Visible files with their sizes, and folders with None."""
    depth = len(_parts(root.path))
    for info in root.fs.get_file_info(pafs.FileSelector(root.path, recursive=True)):
        parts = _parts(info.path)[depth:]
        if not any(map(_is_clutter, parts)):
            yield parts, None if info.type == pafs.FileType.Directory else info.size


def _local_entries(
    root: Path, parts: Parts = (), above: frozenset[str] = frozenset()
) -> Iterator[tuple[Parts, int | None]]:
    """As `_entries`. Links are followed but for those to a folder above, which would never end, and out of the root.

    A link to a folder outside is listed as one image, whose reading is refused, and so is a name that is not UTF-8.
    Raises DataError where either should have been a whole split or class.
    """
    folder = root.joinpath(*parts)
    above = above | {os.path.realpath(folder)}
    with os.scandir(folder) as entries:
        visible = (entry for entry in entries if not _is_clutter(entry.name) and not _leads_nowhere(entry))
        found = sorted(visible, key=lambda entry: entry.name)
    for entry in found:
        inner = (*parts, _utf8(entry.name))
        if inner[-1] != entry.name:
            if entry.is_dir():
                _refuse_split_or_class(root, inner, "has a name that is not UTF-8: rename it")
            yield inner, UNNAMED
        elif entry.is_file():
            yield inner, entry.stat().st_size
        elif entry.is_dir() and not (entry.is_symlink() and os.path.realpath(entry.path) in above):
            if entry.is_symlink() and leaves(root, "/".join(inner)):
                _refuse_split_or_class(
                    root, inner, "is a link that leaves the data root: put the images below the root"
                )
                yield inner, _LINK
            else:
                yield inner, None
                yield from _local_entries(root, inner, above)


def _refuse_split_or_class(root: Path, parts: Parts, why: str) -> None:
    if split_of(parts[-1]) or (parts[-2:-1] and split_of(parts[-2])):
        raise DataError(f"{root}: {'/'.join(parts)} {why}")


def _utf8(name: str) -> str:
    """The name, with bytes that are no UTF-8 written out: as ids in tables have to be."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _leads_nowhere(entry: "os.DirEntry[str]") -> bool:
    """A link to itself, or to others that end there."""
    if not entry.is_symlink():  # told without a question to the disk
        return False
    try:
        entry.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _parts(path: str) -> Parts:
    """Without a leading slash, which some file systems add to what they list."""
    return PurePosixPath(path.lstrip("/")).parts
