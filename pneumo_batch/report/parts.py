"""What the report is made of: blocks that the template renders by their `block` name, and how numbers are written."""

import base64
import csv
import dataclasses
import html
import io
import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pneumo_batch.core.statistics.digits import fixed, small

MISSING = "–"
_NEGATIVE = re.compile(r"(?:(?<=[ (])|^)-(?=\d)")
_MARKUP = re.compile(r"[\\`*\[\]!|#~]|(?<![^\W_])_|_(?![^\W_])")
_TYPES = {"svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg"}


@dataclass(frozen=True)
class Heading:
    block: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; `role` is "", "note" or "lead"."""

    block: ClassVar[str] = "text"
    text: str
    role: str = ""


@dataclass(frozen=True)
class Items:
    """A list; `role` is "", "warning", "error" or "references"."""

    block: ClassVar[str] = "items"
    items: Sequence[str]
    role: str = ""
    title: str = ""


@dataclass(frozen=True)
class Code:
    block: ClassVar[str] = "code"
    text: str
    label: str


@dataclass(frozen=True)
class Picture:
    """An image of the page and of `report/figures/`; `name` is its file's, `alt` says what it shows.

    `narrow` is the same as SVG for a small window, where a `wide` one has to be panned.
    """

    block: ClassVar[str] = "picture"
    name: str
    data: bytes
    alt: str
    caption: str = ""
    suffix: str = "svg"
    wide: bool = False
    narrow: bytes = b""

    @property
    def uri(self) -> str:
        return f"data:{_TYPES[self.suffix]};base64,{base64.b64encode(self.data).decode()}"

    @property
    def narrow_uri(self) -> str:
        return f"data:{_TYPES['svg']};base64,{base64.b64encode(self.narrow).decode()}"


@dataclass(frozen=True)
class Table:
    """A table of the page, and its CSV beside it.

    The first column names the row. Columns named in `filters` can be narrowed down, to `chosen` at first.
    """

    block: ClassVar[str] = "table"
    name: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    filters: Sequence[str] = ()
    chosen: dict[str, str] = field(default_factory=dict)

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers, and so stand right."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.header)
        return [any(isinstance(value, int | float) for value in column) for column in columns]

    @property
    def csv(self) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(self.rows)
        return text.getvalue().encode()


@dataclass(frozen=True)
class Side:
    """Blocks beside each other where there is room: two, or `columns`; `uneven` where the first is the wider one."""

    block: ClassVar[str] = "side"
    blocks: Sequence["Block"]
    columns: int = 2
    uneven: bool = False


@dataclass(frozen=True)
class Fold:
    """Blocks behind a line that opens them."""

    block: ClassVar[str] = "fold"
    summary: str
    blocks: Sequence["Block"]


@dataclass(frozen=True)
class Finding:
    """The verdict of one method: of how many films, why, what to read where views and scales disagree, and what happens
    on every film.
    """

    block: ClassVar[str] = "finding"
    method: str
    verdict: str
    for_these_models: str | None
    over: str
    reasons: Sequence[str]
    read: str | None
    on_every_film: str | None


@dataclass(frozen=True)
class Stack:
    """Blocks under one another, as one of several beside each other."""

    block: ClassVar[str] = "stack"
    blocks: Sequence["Block"]


@dataclass(frozen=True)
class Section:
    anchor: str
    title: str
    blocks: Sequence["Block"]


_Named = Picture | Table
Block = Heading | Text | Items | Code | Picture | Table | Side | Fold | Finding | Stack


def walk(blocks: Sequence[Block]) -> list[Block]:
    """Blocks and those inside them, in order."""
    return [inner for block in blocks for inner in (block, *walk(getattr(block, "blocks", ())))]


def renamed(blocks: Sequence[Block], suffix: str) -> list[Block]:
    """The same blocks with another end to the names of their pictures and tables: those of one more target."""

    def ended(name: str) -> str:
        return name if name.endswith(f"_{suffix}") else f"{name}_{suffix}"  # a name may say its target itself

    return _changed(blocks, lambda block: dataclasses.replace(block, name=ended(block.name)))


def distinct(sections: Sequence[Section]) -> list[Section]:
    """The same sections, in which no two pictures have one name, nor two tables: each would overwrite the other's file.

    Names are alike where those of classes, findings or targets differ only in what files do not show: "A b" and "a_b".
    The first of a name keeps it, the next is called `name_2`.
    """
    blocks = [block for section in sections for block in walk(section.blocks)]
    taken = {(block.block, block.name) for block in blocks if isinstance(block, Picture | Table)}
    met = set()

    def numbered(block: _Named) -> _Named:
        kind, name = block.block, block.name
        if (kind, name) in met:
            name = next(other for n in itertools.count(2) if (kind, other := f"{name}_{n}") not in taken)
            taken.add((kind, name))
        met.add((kind, name))
        return dataclasses.replace(block, name=name)

    return [dataclasses.replace(section, blocks=_changed(section.blocks, numbered)) for section in sections]


def _changed(blocks: Sequence[Block], change: Callable[[_Named], _Named]) -> list[Block]:
    """Blocks with their pictures and tables changed, in order, and those inside them, too."""
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, Picture | Table):
            found.append(change(block))
        elif isinstance(block, Side | Fold | Stack):
            found.append(dataclasses.replace(block, blocks=_changed(block.blocks, change)))
        else:
            found.append(block)
    return found


class Small(float):
    """Above 0 and perhaps very small, as a p value: where it would read 0, `number` writes "< 0.001" instead."""


class Rate(float):
    """Of no common size, as a learning rate: `number` writes the digits that it has instead of so many decimals."""


def number(value: object, digits: int = 3) -> str:
    """A number for people: "–" where there is none, whole numbers as they are, others with `digits` decimals."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if not isinstance(value, float):
        return str(value)
    text = f"{value:.6g}" if isinstance(value, Rate) else fixed(value, digits)
    text = small(value, digits) if isinstance(value, Small) else text
    return text.replace("-", "−")


def signs(text: str) -> str:
    """Sentences that the terminal shows too, with the minus sign of figures and tables: `-0.2` as `−0.2`."""
    return _NEGATIVE.sub("−", text)


def numbers(values: float | Sequence[float]) -> str:
    """One number, or several: "0.485 / 0.456 / 0.406"."""
    return " / ".join(number(value) for value in (values if isinstance(values, list | tuple) else [values]))


def interval(low: float | None, high: float | None) -> str:
    """`0.1 to 0.2`, or "–"."""
    return MISSING if low is None or high is None else f"{number(low)} to {number(high)}"


def span(values: Iterable[float | None]) -> str:
    """The least and the largest of those there are: `0.1 to 0.2`, one number where they are alike, or "–"."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return MISSING
    low, high = number(known[0]), number(known[-1])
    return low if low == high else f"{low} to {high}"


def markdown(text: str) -> str:
    """Text as a line of a Markdown file, in which nothing of it is markup: no tag, link, image, heading or emphasis.

    An underscore inside a word is none to Markdown either, and stays: `true_0`.
    """
    return _MARKUP.sub(r"\\\g<0>", html.escape(" ".join(text.split()), quote=False))


def slug(text: str) -> str:
    """A name fit for files: letters and digits of any language, in lower case. Names that differ may have one."""
    return re.sub(r"[\W_]+", "_", text.lower()).strip("_")


def shortened(text: str, most: int) -> str:
    """At most so many characters, the middle left out: of `module:function` both ends tell."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"
