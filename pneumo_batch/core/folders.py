"""Finds the data set below a root folder: <split>/<class>/<image>, on any file system that pyarrow opens."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from pyarrow import fs as pafs

SPLITS = ("train", "val", "test")
EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".tif", ".tiff", ".webp"})


class DataError(ValueError):
    """The data set cannot be used; one line that names the folder or class and says what to do."""


class ImageFile(NamedTuple):
    """An image as listed: `image_id` is its path below the root, `folder` its class folder, `size` in bytes."""

    image_id: str
    split: str
    folder: str
    size: int


def list_dataset(fs: pafs.FileSystem, root: str, splits: Sequence[str]) -> tuple[list[ImageFile], set[tuple[str, str]]]:
    """The images of the data set nearest to `root`, sorted, and its (split, class) folders, empty ones included.

    Hidden files, `__MACOSX` and files without a known image extension are passed over. Raises DataError.
    """
    sizes, folders, ignored = _walk(fs, root)
    prefixes = {prefix for prefix in map(_prefix, sizes) if prefix is not None}
    if not prefixes:
        raise DataError(
            f"{root}: no images found under train/<class>/, val/<class>/ or test/<class>/"
            f" ({len(sizes)} images elsewhere, {ignored} files of other types)"
        )
    nearest = min(len(prefix) for prefix in prefixes)
    prefix, *others = sorted(prefix for prefix in prefixes if len(prefix) == nearest)
    if others:
        raise DataError(
            f"{root} holds several data sets ({_join('/'.join(p) for p in [prefix, *others])}): name one as data.root"
        )
    files = [
        ImageFile("/".join(parts), parts[nearest], parts[nearest + 1], size)
        for parts, size in sizes.items()
        if _prefix(parts) == prefix and parts[nearest] in splits
    ]
    pairs = {(p[-2], p[-1]) for p in folders if p[:-2] == prefix and p[-2:-1] and p[-2] in splits}
    return sorted(files), pairs


def _walk(fs: pafs.FileSystem, root: str) -> tuple[dict[tuple[str, ...], int], list[tuple[str, ...]], int]:
    """Path parts below `root`: images with their sizes, folders, and how many other files there are."""
    if fs.get_file_info(root).type != pafs.FileType.Directory:
        raise DataError(f"{root}: no such folder; set data.root to the folder that holds train/ and test/")
    depth = len(_parts(root))
    sizes: dict[tuple[str, ...], int] = {}
    folders = []
    ignored = 0
    for info in fs.get_file_info(pafs.FileSelector(root, recursive=True)):
        parts = _parts(info.path)[depth:]
        if any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        if info.type == pafs.FileType.Directory:
            folders.append(parts)
        elif f".{info.extension.lower()}" in EXTENSIONS:
            sizes[parts] = info.size
        else:
            ignored += 1
    return sizes, folders, ignored


def _parts(path: str) -> tuple[str, ...]:
    """Without a leading slash, which some file systems add to what they list."""
    return PurePosixPath(path.lstrip("/")).parts


def _prefix(parts: tuple[str, ...]) -> tuple[str, ...] | None:
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
        raise DataError(f"found the class folder {_join(names)} only: at least two classes are needed")
    present = sorted({split for split, _ in found}, key=SPLITS.index)
    missing = [f"{split}/{name}" for split in present for name in names if (split, name) not in found]
    if missing:
        raise DataError(
            f"classes differ between splits: no images in {_join(missing)};"
            " fix the folders, or name the classes to use in data.classes"
        )
    return names


def _join(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
