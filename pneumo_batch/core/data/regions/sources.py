"""Where the regions of a job come from: its set, a file of one of three kinds, or a folder of masks."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from pneumo_batch.core.data.formats import folders, walking
from pneumo_batch.core.data.formats.label_files import Download
from pneumo_batch.core.data.regions import box_list, chexlocalize, coco, mask_folder, published
from pneumo_batch.core.data.regions.outlines import Found, Outline, by_key, by_path
from pneumo_batch.core.data.roots import Root, Roots
from pneumo_batch.errors import DataError


class Source(Protocol):
    """`place` names it in errors."""

    @property
    def place(self) -> str: ...

    def digest(self) -> str:
        """SHA-256 of what it holds, hexadecimal: what of it goes into the fingerprint."""

    def found(self, image_ids: Sequence[str]) -> Found:
        """Its regions, and which images of these they are on. Raises DataError."""


@dataclass(frozen=True)
class OfSet:
    """What a published set comes with."""

    form: str
    download: Download

    @property
    def place(self) -> str:
        return ", ".join(published.files(self.form, self.download))

    def digest(self) -> str:
        digest = hashlib.sha256()
        for path in published.files(self.form, self.download):
            digest.update(self.download.read(path))
        return digest.hexdigest()

    def found(self, image_ids: Sequence[str]) -> Found:
        names = by_key(image_ids, published.SETS[self.form].film)
        return Found(published.outlines(self.form, self.download), names)


@dataclass(frozen=True)
class OfFile:
    """A CSV file of boxes, a COCO file, or one of CheXlocalize, by its content."""

    place: str
    data: bytes

    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def found(self, image_ids: Sequence[str]) -> Found:
        if not self.place.lower().endswith(".json"):
            return Found(box_list.read(self.data, self.place), by_path(image_ids))
        if self._is_of_chexlocalize():
            return Found(chexlocalize.read(self.data, self.place), by_key(image_ids, chexlocalize.film))
        return Found(coco.read(self.data, self.place), by_path(image_ids))

    def _is_of_chexlocalize(self) -> bool:
        try:
            return chexlocalize.is_one(json.loads(self.data))
        except ValueError:
            return False  # the reader says what is wrong with it


@dataclass(frozen=True)
class OfFolder:
    """Masks that are named as the films are; `sizes` in bytes by path below the folder."""

    place: str
    folder: Root
    sizes: Mapping[str, int]

    @classmethod
    def of(cls, place: str, folder: Root) -> "OfFolder":
        images, _, _ = walking.walk(folder)
        return cls(place, folder, {"/".join(parts): size for parts, size in images.items()})

    def digest(self) -> str:
        """Of names and sizes, as of the images."""
        return hashlib.sha256(repr(sorted(self.sizes.items())).encode()).hexdigest()

    def found(self, image_ids: Sequence[str]) -> Found:
        names = mask_folder.stems(image_ids)
        return Found(self._outlines(names), names)

    def _outlines(self, names: Mapping[str, str]) -> Iterator[Outline]:
        if not self.sizes:
            raise DataError(f"data.regions: {self.place}: no image file in it")
        yield from mask_folder.read(self.sizes, Roots({"": self.folder}), names, self.place)


def in_set(form: str, download: Download) -> OfSet | None:
    """The regions of a published set; None where it has none, or they are not there."""
    return OfSet(form, download) if published.files(form, download) else None


def masks_beside(root: Root) -> OfFolder:
    """Those of generated films."""
    return OfFolder.of(folders.MASKS, root._replace(path=str(PurePosixPath(root.path) / folders.MASKS)))
