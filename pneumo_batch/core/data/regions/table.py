"""The regions table of a run: what a file says of its films, in pixels of the images.

Array names carry their shape: H rows, W columns of a film.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.data.regions import shapes
from pneumo_batch.core.data.regions.outlines import Box, Found, Outline
from pneumo_batch.errors import DataError

BOX, MASK = "box", "mask"
_SLACK = 1.0  # pixels that a box may pass the edge of its film: rounding


class UnfitError(DataError):
    """A region that cannot be of the image: it has another shape, or lies beyond it."""


class Built(NamedTuple):
    """The table (schema REGIONS), how many regions the file holds, on how many films, and the empty masks left out."""

    table: pa.Table
    listed: int
    films: int
    empty: int

    def lines(self) -> list[str]:
        """What there is, in words, and of which findings."""
        here = Count(self.table.num_rows, len(self.table["image_id"].unique()))
        total = f"{Count(self.listed, self.films)} in all, {here} here"
        empty = f", {self.empty} masks without a pixel" if self.empty else ""
        return [total + empty, *(f"{name}: {found}" for name, found in counted(self.table).items())]


class Count(NamedTuple):
    """Regions, and the films that they are on."""

    regions: int
    films: int

    def __str__(self) -> str:
        regions = "1 box or mask" if self.regions == 1 else f"{self.regions} boxes or masks"
        return f"{regions} on {self.films} film{'s' * (self.films != 1)}"


def counted(table: pa.Table) -> dict[str, Count]:
    """By finding, sorted."""
    films: dict[str, set[str]] = {}
    regions = Counter(table["finding"].to_pylist())
    for finding, image_id in zip(table["finding"].to_pylist(), table["image_id"].to_pylist(), strict=True):
        films.setdefault(finding, set()).add(image_id)
    return {finding: Count(regions[finding], len(films[finding])) for finding in sorted(regions)}


def build(found: Found, manifest: pa.Table) -> Built:
    """The regions of the images of a manifest, sorted by image and finding.

    Raises DataError, which names the place, for a mask of another shape than its film, a box beyond it, and what
    cannot be decoded.
    """
    columns = (manifest[name].to_pylist() for name in ("image_id", "width", "height", "class_name"))
    findings = table_columns.findings_of(manifest)
    films = {image_id: (width, height, folder) for image_id, width, height, folder in zip(*columns, strict=True)}
    rows, listed, named, empty = [], 0, set(), 0
    for outline in found.outlines:
        listed += 1
        named.add(outline.film)
        image_id = found.names.get(outline.film)
        if image_id not in films:
            continue
        width, height, folder = films[image_id]
        row = _row(outline, width, height)
        if row is None:
            empty += 1
            continue
        rows.append(
            {"image_id": image_id, "finding": _finding(outline, folder, findings), "reader": outline.reader, **row}
        )
    table = pa.Table.from_pylist(rows, schema=tables.REGIONS)
    order = [("image_id", "ascending"), ("finding", "ascending")]
    return Built(table.sort_by(order), listed, len(named), empty)


def _finding(outline: Outline, folder: str, findings: Sequence[str]) -> str:
    if outline.finding is None and findings:
        raise DataError(
            f"{outline.place}: names no finding: with several, put the masks of each into a folder of its own"
        )
    return folder if outline.finding is None else outline.finding


def _row(outline: Outline, width: int, height: int) -> dict[str, object] | None:
    """Shape and place of a region on a film of so many pixels; None of a mask without a pixel."""
    if outline.size is not None:
        _check_shape(outline.size, width, height, outline.place)
    if outline.box is not None:
        box = _scaled(outline.box, outline.size or (width, height), width, height)
        _check_inside(box, width, height, outline.place)
        return {"shape": BOX, **box._asdict()}
    assert outline.mask is not None
    try:
        mask_HW = outline.mask()
    except (OSError, ValueError) as error:
        raise DataError(f"{outline.place}: {str(error).splitlines()[0]}") from error
    _check_shape((mask_HW.shape[1], mask_HW.shape[0]), width, height, outline.place)
    return {"shape": MASK, "mask": shapes.png(mask_HW)} if mask_HW.any() else None


def _scaled(box: Box, size: tuple[int, int], width: int, height: int) -> Box:
    across, down = width / size[0], height / size[1]
    return Box(box.x * across, box.y * down, box.width * across, box.height * down)


def _check_shape(size: tuple[int, int], width: int, height: int, place: str) -> None:
    """A copy of the film in another size will do, to the pixel."""
    if abs(size[0] * height - size[1] * width) > max(*size, width, height):
        raise UnfitError(
            f"{place}: is of a film of {size[0]} x {size[1]} pixels, the image has {width} x {height}: another shape"
        )


def _check_inside(box: Box, width: int, height: int, place: str) -> None:
    for name, start, length, most in (("x", box.x, box.width, width), ("y", box.y, box.height, height)):
        if not (start >= -_SLACK and start + length <= most + _SLACK):
            raise UnfitError(
                f"{place}: the box goes from {name} {start:g} to {start + length:g}, the image has {width} x {height}"
                " pixels: boxes are in pixels of the image as it is"
            )
