"""The label share of a method in every view, scale and metric, against the threshold."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from pneumo_batch.core.statistics.results import CellResult
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report import estimates
from pneumo_batch.report.figures.base import GREY, HALF, INK, VERDICTS, canvas, metric_name, picture
from pneumo_batch.report.parts import Picture, shortened, slug
from pneumo_batch.report.source import Source

_REACH = (-1.0, 2.0)  # of a small h the share is anything: beyond this an arrow says enough
_MARKS = {"sensitive": "o", "insensitive": "s", "inconclusive": "o", "invalid": "X"}  # the second last is hollow


def draw(source: Source, method: str) -> Picture | None:
    """A row for each cell that has a headroom; None where none has."""
    found = source.results.methods[method]
    cells = {name: one for name, one in found.cells.items() if one.headroom.value is not None}
    if not cells:
        return None
    primary = found.primary.key
    figure, axes = canvas(HALF, 1.3 + 0.2 * len(cells))
    ax = axes[0, 0]
    ax.set_xlim(*_limits(cells))
    ax.axvline(found.threshold, color=INK, lw=1.1, ls=(0, (3, 2)))
    for at in (0, 1):
        ax.axvline(at, color="#c2c7ce", lw=0.8)
    for place, one in enumerate(cells.values()):
        _draw_cell(ax, place, one)
    ax.set_yticks(range(len(cells)), [_words(name) for name in cells], fontsize=8)
    for label, name in zip(ax.get_yticklabels(), cells, strict=True):
        label.set_fontweight("bold" if name == primary else "normal")
    ax.set_ylim(len(cells) - 0.4, -0.6)
    ax.grid(False, axis="y")
    ax.set_xlabel("label share L\n0: the film alone; 1: the labels")
    figure.legend(handles=_keys(cells, found.threshold), loc="outside lower center", ncols=3)
    values = "; ".join(f"{name.replace('/', ' ')} {_said(one)}" for name, one in cells.items())
    return picture(
        figure,
        f"share_{slug(method)}",
        f"{method_name(method)}: label share in every view, scale and metric; {primary} is primary. {values}.",
        "The label share in every view, scale and metric, with 95 % intervals, the primary one bold; an arrow leads"
        " beyond the axis. Right of"
        " the dashed threshold most of what true models agree on about a film is owed to the labels.",
    )


def _words(cell: str) -> str:
    view, scale, metric = cell.split("/", 2)
    return f"{view}, {scale}, {shortened(metric_name(metric), 24)}"


def _limits(cells: Mapping[str, CellResult]) -> tuple[float, float]:
    found = [estimates.ends(one.share) for one in cells.values() if one.share.value is not None]
    low = min([0.0, *(ends.low for ends in found if ends)])
    high = max([1.0, *(ends.high for ends in found if ends)])
    return max(low, _REACH[0]) - 0.05, min(high, _REACH[1]) + 0.05


def _draw_cell(ax: Axes, place: int, one: CellResult) -> None:
    left, right = ax.get_xlim()
    share, colour = one.share, VERDICTS[one.verdict]
    if share.value is None:
        ax.text(left, place, "  h is not above 0: nothing to divide", va="center", fontsize=8, color=GREY)
        return
    if ends := estimates.ends(share):
        low, high = np.clip([ends.low, ends.high], left, right)
        ax.plot([low, high], [place, place], color=colour, lw=1.3)
        for at, cut, mark in ((low, ends.low < left, "<"), (high, ends.high > right, ">")):
            ax.plot(at, place, mark if cut else "|", color=colour, ms=6, clip_on=False)
    if left <= share.value <= right:
        ax.plot(share.value, place, **_look(one.verdict))


def _look(verdict: str) -> dict[str, Any]:
    """A verdict's mark: a shape beside its colour."""
    colour = VERDICTS[verdict]
    face = "white" if verdict == "inconclusive" else colour
    return {"marker": _MARKS[verdict], "color": colour, "mfc": face, "ms": 5.5}


def _said(one: CellResult) -> str:
    return f"L {estimates.written(one.share, 2)}, {one.verdict}" if one.share.value is not None else "none"


def _keys(cells: Mapping[str, CellResult], threshold: float) -> list[Line2D]:
    there = {one.verdict for one in cells.values()}
    keys = [Line2D([], [], label=name, **_look(name)) for name in VERDICTS if name in there]
    return [*keys, Line2D([], [], color=INK, lw=1.1, ls=(0, (3, 2)), label=f"threshold {threshold:g}")]
