"""A CSV file of boxes: `path`, `finding`, `x`, `y`, `width`, `height`, in pixels of the film; `reader` may be there."""

from collections.abc import Iterator

from pneumo_batch.core.data.formats import label_files
from pneumo_batch.core.data.regions.outlines import Box, Outline, checked

_NEEDED = ("path", "finding", *Box._fields)


def read(data: bytes, name: str) -> Iterator[Outline]:
    """A row a box. Raises DataError, which names file, row and column."""
    names = label_files.header(data, name)
    columns = [*_NEEDED, *(["reader"] if "reader" in names else [])]
    file = label_files.table(data, name, columns)
    for column in ("path", "finding", *Box._fields):
        file.refuse(file.rows[column] == "", column, "must not be empty")
    sides = file.numbers(Box._fields)
    readers = file.rows["reader"] if "reader" in names else [None] * len(sides)
    rows = zip(sides.index, file.rows["path"], file.rows["finding"], readers, *sides.T.to_numpy(), strict=True)
    for row, path, finding, reader, *numbers in rows:
        place = f"{name} row {row}"
        box = checked(Box(*map(float, numbers)), place)
        yield Outline(place, path, finding, box, reader=reader or None)
