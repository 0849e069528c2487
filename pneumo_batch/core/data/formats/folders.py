"""Finds the data set below a root folder: <split>/<class>/<image>, on any file system that pyarrow opens."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import NamedTuple

from pneumo_batch.core.data.formats import walking
from pneumo_batch.core.data.formats.walking import Parts
from pneumo_batch.core.data.options import SPLITS
from pneumo_batch.core.data.roots import Root, Roots
from pneumo_batch.errors import DataError, did_you_mean

MASKS = "masks"  # beside the splits of generated films: no films
_HEAD = 132  # bytes that tell what a file is
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"GIF8", b"BM", b"\0\0\0\x0cjP  ")
_READERS = 16  # a question to an object store takes long and costs nothing meanwhile


class About(NamedTuple):
    """What a list or a published set tells of a film beside its labels, None where it does not; `age` in years."""

    view: str | None = None
    sex: str | None = None
    age: float | None = None
    site: str | None = None


class ImageFile(NamedTuple):
    """An image as listed: `image_id` is its path below the root, `folder` its class, `size` in bytes.

    `patient` and `subtype` are None unless something other than its path tells them; `between` are the folders from the
    one of its class down to the file. `labels` are one a finding, where there are several: 1, 0, -1 or None.
    """

    image_id: str
    split: str
    folder: str
    size: int
    patient: str | None = None
    subtype: str | None = None
    between: Parts = ()
    about: About = About()
    labels: tuple[int | None, ...] = ()


class Listed(NamedTuple):
    """The images of a data set, sorted, its (split, class) folders, empty ones included, and the files passed over.

    `passed_over` counts them by kind: the ending of their name, or why they are left out.
    """

    files: list[ImageFile]
    folders: set[tuple[str, str]]
    passed_over: Counter[str]


def list_datasets(roots: Roots, splits: Sequence[str]) -> Listed:
    """The images of every root. Raises DataError."""
    every = Listed([], set(), Counter())
    for name, root in roots.by_name.items():
        found = list_dataset(root, splits)
        renamed = [file._replace(image_id=f"{name}/{file.image_id}") for file in found.files] if name else found.files
        every.files.extend(renamed)
        every.folders.update(found.folders)
        every.passed_over.update(found.passed_over)
    return every._replace(files=sorted(every.files))


def list_dataset(root: Root, splits: Sequence[str]) -> Listed:
    """The images of the data set nearest to `root`. Raises DataError.

    A file is an image by its ending, a DICOM film by its content too. Hidden files and `__MACOSX` are nothing.
    """
    sizes, folders, others = walking.walk(root)
    kinds = _kinds(root, [parts for parts in others if _prefix(parts, walking.EVERY_SPLIT) is not None])
    sizes |= {parts: others[parts] for parts, kind in kinds.items() if kind == _DICOM}
    prefix = _nearest(root, sizes, len(others))
    depth, files, elsewhere = len(prefix) + 2, [], []
    for parts, size in sizes.items():
        if not ((found := _below(prefix, parts)) and found.inside):
            elsewhere.append(parts)
        elif found.split in splits:
            files.append(ImageFile("/".join(parts), found.split, found.folder, size, between=parts[depth:-1]))
    pairs = {
        (found.split, found.folder)
        for parts in folders
        if (found := _below(prefix, parts)) and found.split in splits and not found.inside
    }
    passed_over = Counter(kind for parts, kind in kinds.items() if kind != _DICOM and _below(prefix, parts))
    passed_over.update(_elsewhere(prefix, elsewhere))
    return Listed(sorted(files), pairs, passed_over)


class _Place(NamedTuple):
    """Where something lies in a data set: in or below the folder of a class, or, not `inside`, as that folder."""

    split: str
    folder: str
    inside: bool


def _below(prefix: Parts, parts: Parts) -> _Place | None:
    """None where it is neither a class folder nor below one."""
    depth = len(prefix)
    if parts[:depth] != prefix or len(parts) < depth + 2 or (split := walking.split_of(parts[depth])) is None:
        return None
    return _Place(split, parts[depth + 1], len(parts) > depth + 2)


def _elsewhere(prefix: Parts, images: Iterable[Parts]) -> Iterator[str]:
    """Why images are not of the data set. The masks of generated films are none."""
    for parts in images:
        if parts[: len(prefix) + 1] != (*prefix, MASKS):
            copied = _prefix(parts, walking.SPLIT_OF) not in (None, prefix)
            yield "image in another data set" if copied else "image outside of <split>/<class>/"


def _nearest(root: Root, images: Iterable[Parts], others: int) -> Parts:
    """What comes before <split>/ in the data set nearest to the root. Raises DataError unless there is one."""
    images = list(images)
    for names in (walking.SPLIT_OF, walking.ALIASES):
        prefixes = {prefix for parts in images if (prefix := _prefix(parts, names)) is not None}
        if prefixes:
            break
    else:
        raise DataError(
            f"{root.path}: no images found under train/<class>/, val/<class>/ or test/<class>/"
            f" ({len(images)} images elsewhere, {others} files of other types)"
        )
    nearest = min(map(len, prefixes))
    prefix, *more = sorted(prefix for prefix in prefixes if len(prefix) == nearest)
    if more:
        raise DataError(
            f"{root.path} holds several data sets ({_join('/'.join(p) for p in [prefix, *more])}):"
            " name one as data.root"
        )
    return prefix


_DICOM = "DICOM"


def _kinds(root: Root, others: Sequence[Parts]) -> dict[Parts, str]:
    """What files without the ending of an image are."""
    with ThreadPoolExecutor(_READERS) as pool:
        heads = pool.map(lambda parts: root.head("/".join(parts), _HEAD), others)
        return {parts: _kind(parts[-1], head) for parts, head in zip(others, heads, strict=True)}


def _kind(name: str, head: bytes) -> str:
    if head[128:] == b"DICM":
        return _DICOM
    suffix = PurePosixPath(name).suffix.lower()
    ending = suffix if any(map(str.isalpha, suffix)) else "without an ending"  # the numbers of a UID are none
    return f"{ending} (an image by its content: rename it)" if head.startswith(_BEGINNINGS) else ending


def _prefix(parts: Parts, names: Iterable[str]) -> Parts | None:
    """What comes before <split>/<class>/.../<file>; None if an image lies elsewhere."""
    for k, part in enumerate(parts[:-2]):
        if part.lower() in names:
            return parts[:k]
    return None


def resolve_classes(
    files: Sequence[ImageFile], folders: set[tuple[str, str]], classes: Sequence[str] | None
) -> list[str]:
    """The class names in label order; every split that has images must have all of them. Raises DataError."""
    found = {(file.split, file.folder) for file in files}
    there = sorted({name for _, name in found | folders})
    names = there if classes is None else list(classes)
    if len(names) < 2:
        raise DataError(f"found the class {_join(names)} only: at least two classes are needed")
    if strange := [name for name in names if name not in there]:
        hint = did_you_mean(strange[0], there)
        raise DataError(f"data.classes: no image is of class {strange[0]}{hint}; there are {_join(there)}")
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
