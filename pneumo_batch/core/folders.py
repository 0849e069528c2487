"""Finds the data set below a root folder: <split>/<class>/<image>, on any file system that pyarrow opens."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pyarrow import fs as pafs

from pneumo_batch.core.roots import DataError, Root, Roots, leaves

SPLITS = ("train", "val", "test")
EXTENSIONS = frozenset({".bmp", ".dcm", ".dicom", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".tif", ".tiff", ".webp"})

Parts = tuple[str, ...]  # of a path below the root


class ImageFile(NamedTuple):
    """An image as listed: `image_id` is its path below the root, `folder` its class, `size` in bytes.

    `patient` and `subtype` are None unless something other than its path tells them; `between` are the folders from the
    one of its class down to the file.
    """

    image_id: str
    split: str
    folder: str
    size: int
    patient: str | None = None
    subtype: str | None = None
    between: Parts = ()


def list_datasets(roots: Roots, splits: Sequence[str]) -> tuple[list[ImageFile], set[tuple[str, str]]]:
    """The images of every root, sorted, and all (split, class) folders. Raises DataError."""
    files: list[ImageFile] = []
    folders: set[tuple[str, str]] = set()
    for name, root in roots.by_name.items():
        found, pairs = list_dataset(root, splits)
        files += [file._replace(image_id=f"{name}/{file.image_id}") for file in found] if name else found
        folders |= pairs
    return sorted(files), folders


def list_dataset(root: Root, splits: Sequence[str]) -> tuple[list[ImageFile], set[tuple[str, str]]]:
    """The images of the data set nearest to `root`, sorted, and its (split, class) folders, empty ones included.

    Hidden files, `__MACOSX` and files without a known image extension are passed over. Raises DataError.
    """
    sizes, folders, ignored = _walk(root)
    prefixes = {prefix for prefix in map(_prefix, sizes) if prefix is not None}
    if not prefixes:
        raise DataError(
            f"{root.path}: no images found under train/<class>/, val/<class>/ or test/<class>/"
            f" ({len(sizes)} images elsewhere, {ignored} files of other types)"
        )
    nearest = min(len(prefix) for prefix in prefixes)
    prefix, *others = sorted(prefix for prefix in prefixes if len(prefix) == nearest)
    if others:
        raise DataError(
            f"{root.path} holds several data sets ({_join('/'.join(p) for p in [prefix, *others])}):"
            " name one as data.root"
        )
    files = [
        ImageFile("/".join(parts), parts[nearest], parts[nearest + 1], size, between=parts[nearest + 2 : -1])
        for parts, size in sizes.items()
        if _prefix(parts) == prefix and parts[nearest] in splits
    ]
    pairs = {(p[-2], p[-1]) for p in folders if p[:-2] == prefix and p[-2:-1] and p[-2] in splits}
    return sorted(files), pairs


def _walk(root: Root) -> tuple[dict[Parts, int], list[Parts], int]:
    """Path parts below `root`: images with their sizes, folders, and how many other files there are."""
    if root.fs.get_file_info(root.path).type != pafs.FileType.Directory:
        raise DataError(f"{root.path}: no such folder; set data.root to the folder that holds train/ and test/")
    local = root.local()
    sizes: dict[Parts, int] = {}
    folders = []
    ignored = 0
    for parts, size in _local_entries(local) if local else _entries(root):
        if size is None:
            folders.append(parts)
        elif PurePosixPath(parts[-1]).suffix.lower() in EXTENSIONS or size == _LINK:
            sizes[parts] = size
        else:
            ignored += 1
    return sizes, folders, ignored


_LINK = -1  # as a size: a folder that lies elsewhere


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

    A link to a folder outside is listed as one image, whose reading is refused. Raises DataError where it should have
    been a whole split or class.
    """
    folder = root.joinpath(*parts)
    above = above | {os.path.realpath(folder)}
    with os.scandir(folder) as entries:
        visible = (entry for entry in entries if not _is_clutter(entry.name) and not _leads_nowhere(entry))
        found = sorted(visible, key=lambda entry: entry.name)
    for entry in found:
        inner = (*parts, entry.name)
        if entry.is_file():
            yield inner, entry.stat().st_size
        elif entry.is_dir() and not (entry.is_symlink() and os.path.realpath(entry.path) in above):
            if entry.is_symlink() and leaves(root, "/".join(inner)):
                _refuse_split_or_class(root, inner)
                yield inner, _LINK
            else:
                yield inner, None
                yield from _local_entries(root, inner, above)


def _refuse_split_or_class(root: Path, parts: Parts) -> None:
    if parts[-1] in SPLITS or (parts[-2:-1] and parts[-2] in SPLITS):
        raise DataError(f"{root}: {'/'.join(parts)} is a link that leaves the data root: put the images below the root")


def _leads_nowhere(entry: "os.DirEntry[str]") -> bool:
    """A link to itself, or to others that end there."""
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


def _prefix(parts: Parts) -> Parts | None:
    """What comes before <split>/<class>/.../<file>; None if an image lies elsewhere."""
    for k, part in enumerate(parts[:-2]):
        if part in SPLITS:
            return parts[:k]
    return None


def resolve_classes(
    files: Sequence[ImageFile], folders: set[tuple[str, str]], classes: Sequence[str] | None
) -> list[str]:
    """The class names in label order; every split that has images must have all of them. Raises DataError."""
    found = {(file.split, file.folder) for file in files}
    names = list(classes) if classes is not None else sorted({name for _, name in found | folders})
    if len(names) < 2:
        raise DataError(f"found the class {_join(names)} only: at least two classes are needed")
    present = sorted({split for split, _ in found}, key=SPLITS.index)
    missing = [f"{split}/{name}" for split in present for name in names if (split, name) not in found]
    if missing:
        raise DataError(
            f"classes differ between splits: no images in {_join(missing)};"
            " fix the folders, or name the classes to use in data.classes"
        )
    return names


def check_roots(files: Sequence[ImageFile], roots: Mapping[str, Root], names: Sequence[str]) -> None:
    """Every one of several roots must have images of every class: else the class is where an image comes from.

    Raises DataError.
    """
    found = {(file.image_id.partition("/")[0], file.folder) for file in files}
    missing = [f"{root} ({name})" for root in roots if root for name in names if (root, name) not in found]
    if missing:
        raise DataError(
            f"classes differ between data roots: no images in {_join(missing)}; a network would learn the source of an"
            " image instead of its class"
        )


def _join(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
