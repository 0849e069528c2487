"""The first figure: what two true models agree on about a film, split into what the labels own and what the film does.

Bars are h = TT - TTx; the part of the labels is L h = h - k, that of the film alone k = TN - TNx.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pneumo_batch.core.statistics.estimates import Estimate
from pneumo_batch.core.statistics.results import MethodResult
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report import estimates
from pneumo_batch.report.figures.base import EVERYWHERE, FILM, GREY, INK, TRUE, VERDICTS, metric_name, picture, svg
from pneumo_batch.report.parts import Picture, number, shortened
from pneumo_batch.report.source import Source

NAME = "decomposition"


@dataclass(frozen=True)
class _Layout:
    """Inches of the figure: of a method's band, which is the higher the fewer there are, and of what stands in it.

    `names` is the height of the words above a bar. `every` is the height of a band of the second panel; None where that
    stands beside the first and has the same bands.
    """

    width: float
    bands: tuple[float, float, float]  # the least, the most, and what all have together in between
    rest: float
    names: float
    every: float | None
    columns: int
    characters: int

    def band(self, count: int) -> float:
        least, most, together = self.bands
        return min(most, max(least, together / count))

    def bar(self, count: int) -> tuple[float, float, float]:
        """Where within a band the first line of words stands, the bar's centre, and its height, from 0 to 1."""
        band = self.band(count)
        height = min(0.34, band - self.names - 0.1)
        top = (band - self.names - height) / 2
        return (top + 0.08) / band, (top + self.names + height / 2) / band, height / band


_LINE = 0.17  # between two lines of words
_WIDE = _Layout(8.3, (0.52, 1.05, 2.0), 1.4, 0.21, None, 2, 30)
_NARROW = _Layout(3.75, (0.8, 0.8, 0.8), 2.5, 0.37, 0.42, 1, 28)


@dataclass(frozen=True)
class Band:
    """What is drawn of one method, and the whiskers of L on its bar's own axis: where the two parts may meet."""

    method: str
    verdict: str
    headroom: float
    remainder: float
    everywhere: Estimate
    share: Estimate

    @property
    def of_labels(self) -> float:
        return self.headroom - self.remainder

    @property
    def whiskers(self) -> tuple[float, float] | None:
        found = estimates.ends(self.share) if self.share.value is not None else None
        return (found.low * self.headroom, found.high * self.headroom) if found else None


def bands(methods: Mapping[str, MethodResult]) -> list[Band]:
    """Those of the methods that have a headroom, which takes two true models and a random one."""
    found = []
    for method, one in methods.items():
        test = one.numbers
        h, k = test.headroom.value, test.remainder.value
        if h is not None and k is not None and test.everywhere.value is not None:
            found.append(Band(method, one.verdict, h, k, test.everywhere, test.share))
    return found


def draw(source: Source) -> Picture | None:
    """All methods under one another; None of a run whose similarities cannot be split."""
    return of_methods({method: source.results.methods[method] for method in source.methods})


def of_methods(methods: Mapping[str, MethodResult]) -> Picture | None:
    """As `draw`, of methods that were judged alike."""
    found = bands(methods)
    if not found:
        return None
    wide, narrow = (_figure(found, *_scale(methods), layout) for layout in (_WIDE, _NARROW))
    alt = "What two true models agree on about a film (h), and how much of it is owed to the labels."
    alt = f"{alt} {' '.join(map(said, found))}"
    return picture(wide, NAME, alt, narrow=svg(narrow))


def figure(methods: Mapping[str, MethodResult]) -> Figure | None:
    """The wide picture of `of_methods` before it is written."""
    found = bands(methods)
    return _figure(found, *_scale(methods), _WIDE) if found else None


def _scale(methods: Mapping[str, MethodResult]) -> tuple[str, float]:
    """What the axis says, and the threshold: those of a run are one for all methods."""
    one = next(iter(methods.values()))
    return f"{metric_name(one.primary.metric)}, {one.primary.view} view, {one.primary.scale} scale", one.threshold


def said(band: Band) -> str:
    """The band in words."""
    share = "h is not above 0, so there is no label share"
    if band.share.value is not None:
        share = f"label share {estimates.written(band.share, 2)}"
    return (
        f"{method_name(band.method)}: h {number(band.headroom)}, owed to the labels {number(band.of_labels)}, to the"
        f" film alone {number(band.remainder)}; {share}; {band.verdict}. On every film alike, labels change"
        f" {estimates.written(band.everywhere, 2)}."
    )


def _figure(found: Sequence[Band], axis: str, threshold: float, layout: _Layout) -> Figure:
    """What happens on every film is no part of a bar: it has a panel, and an axis, of its own."""
    bars = layout.band(len(found)) * len(found)
    every = layout.every * len(found) if layout.every else 0.0
    figure = Figure(figsize=(layout.width, bars + every + layout.rest), layout="constrained")
    if layout.every:
        ax, other = figure.subplots(2, 1, height_ratios=(bars, every))
    else:
        ax, other = figure.subplots(1, 2, width_ratios=(3, 1), sharey=True)
    ax.set_xlim(*_limits(found))
    ax.set_ylim(len(found), 0)
    other.set_ylim(len(found), 0)
    for top, band in enumerate(found):
        _draw_band(ax, top, band, threshold, layout.bar(len(found)))
        _write(ax, top, band, layout, len(found))
    _draw_everywhere(other, found, layout)
    for one in (ax, other):
        one.set_yticks([])
        one.tick_params(left=False)
        one.spines["left"].set_visible(False)
        one.axvline(0, color="#8a9099", lw=0.8, zorder=1 if one is other else 3)
    ax.set_title("About one film: h, what two true models agree on" if layout is _WIDE else "About one film: h")
    other.set_title("On every film alike")
    ax.set_xlabel(f"similarity beyond that of other patients' films\n({axis})", fontsize=8)
    gap = "\n" if layout is _WIDE else " "
    other.set_xlabel(f"similarity lost with{gap}random labels, TTx − TNx\n(no part of h or L)", fontsize=8)
    keys = _keys(found, threshold)
    figure.legend(handles=keys, loc="outside lower left", ncols=layout.columns, fontsize=8, borderaxespad=0.2)
    return figure


def _limits(found: Sequence[Band]) -> tuple[float, float]:
    """From the values; whiskers may reach half as far again, and are cut there with an arrow."""
    values = [value for band in found for value in (0.0, band.headroom, band.of_labels)]
    reach = max(abs(value) for value in values) or 1.0
    whiskers = [band.whiskers for band in found if band.whiskers]
    low = min([*values, *(max(one[0], -0.5 * reach) for one in whiskers)])
    high = max([*values, *(min(one[1], 1.5 * reach) for one in whiskers)])
    room = 0.02 * (high - low) or reach  # of one film alone all is 0
    return low - room * (low < 0), high + room


def _draw_band(ax: Axes, top: int, band: Band, threshold: float, at_bar: tuple[float, float, float]) -> None:
    place, height = top + at_bar[1], at_bar[2]
    if band.headroom <= 0:
        ax.barh(place, band.headroom, height, facecolor="white", edgecolor=GREY, lw=1, ls="--")
        return
    meet = min(max(band.of_labels, 0.0), band.headroom)
    strength = 0.4 if band.verdict == "invalid" else 1.0
    ax.barh(place, meet, height, color=TRUE, alpha=strength, lw=0)
    ax.barh(place, band.headroom - meet, height, left=meet, color=FILM, alpha=strength, lw=0)
    if band.of_labels != meet:  # k below 0, or above h: one part is more than the whole
        colour = TRUE if band.of_labels > meet else GREY
        rest = band.of_labels - band.headroom if band.of_labels > meet else band.of_labels
        start = band.headroom if band.of_labels > meet else 0.0
        ax.barh(place, rest, 0.7 * height, left=start, facecolor="white", edgecolor=colour, hatch="/////", lw=0.8)
    at = threshold * band.headroom
    ends = (place - 0.62 * height, place + 0.62 * height)
    ax.plot([at, at], ends, color="white", lw=2.6, zorder=4, solid_capstyle="butt")
    ax.plot([at, at], ends, color=INK, lw=1.2, ls=(0, (2, 1.2)), zorder=5)
    if band.whiskers:
        _draw_whiskers(ax, place, band.of_labels, band.whiskers)


def _draw_whiskers(ax: Axes, place: float, meet: float, whiskers: tuple[float, float]) -> None:
    """An interval with a rim, to be seen on any part of the bar, and a point where the two parts meet."""
    for colour, extra in (("white", 2.2), (INK, 0.0)):
        _draw_interval(ax, place, whiskers, colour, 1.5 + extra)
        ax.plot(meet, place, "o", color=colour, ms=4 + extra, zorder=6, clip_on=False)


def _draw_interval(ax: Axes, place: float, ends: tuple[float, float], colour: str, width: float) -> None:
    """A line with caps, and an arrow instead of a cap where the axis ends before it."""
    left, right = ax.get_xlim()
    low, high = np.clip(ends, left, right)
    ax.plot([low, high], [place, place], color=colour, lw=width, zorder=6, solid_capstyle="butt")
    for at, cut, mark in ((low, ends[0] < left, "<"), (high, ends[1] > right, ">")):
        size = (4.5 if cut else 5.5) + width
        ax.plot(at, place, mark if cut else "|", color=colour, ms=size, mew=width, zorder=6)


def _draw_everywhere(ax: Axes, found: Sequence[Band], layout: _Layout) -> None:
    """A point for each method, its interval, and both in figures above."""
    values = [(band.everywhere.value or 0.0, estimates.ends(band.everywhere)) for band in found]
    reach = max(abs(one) for value, ends in values for one in (value, *(ends[:2] if ends else ())))
    reach = 1.12 * min(reach or 1.0, 1.0)  # similarities are hardly further apart
    ax.set_xlim(-reach, reach)
    line, place, _ = layout.bar(len(found)) if layout.every is None else (0.28, 0.7, 0.0)
    for top, (band, (value, ends)) in enumerate(zip(found, values, strict=True)):
        if ends:
            _draw_interval(ax, top + place, (ends.low, ends.high), INK, 1.3)
        ax.plot(value, top + place, "D", color=EVERYWHERE, mec=INK, mew=0.8, ms=6, zorder=7)
        words = estimates.written(band.everywhere, 2).replace(", these models only", "")  # which L says already
        if layout.every is None:
            _text(ax, 0.5, top + line, words, ha="center", fontsize=8.5)
        else:
            name = shortened(method_name(band.method), layout.characters)
            _text(ax, 0, top + line, f"{name}  {words}", ha="left", fontsize=8.5)


def _text(ax: Axes, across: float, place: float, words: str, **style: Any) -> None:
    """Words in a band, `across` of the axis to the right; no line of the grid runs through them."""
    rim = {"facecolor": "white", "lw": 0, "pad": 0.8}
    ax.text(across, place, words, transform=ax.get_yaxis_transform(), va="center", bbox=rim, zorder=8, **style)


def _write(ax: Axes, top: int, band: Band, layout: _Layout, count: int) -> None:
    """The name, the label share in figures, and the verdict in its colour."""
    place = top + layout.bar(count)[0]
    name = shortened(method_name(band.method), layout.characters)
    _text(ax, 0, place, name, ha="left", fontsize=9.5, fontweight="bold")
    _text(ax, 1, place, band.verdict, ha="right", fontsize=9, fontweight="bold", color=VERDICTS[band.verdict])
    share = "h is not above 0: nothing to divide"
    if band.share.value is not None:
        share = f"L = {estimates.written(band.share, 2)}"
    if layout is _WIDE:
        _text(ax, 0.83, place, share, ha="right", fontsize=9)
    else:
        _text(ax, 0, place + _LINE / layout.band(count), share, ha="left", fontsize=9)


def _keys(found: Sequence[Band], threshold: float) -> list[Artist]:
    keys: list[Artist] = [
        Patch(color=TRUE, label="owed to the labels (h − k)"),
        Patch(color=FILM, label="there without them: the film alone (k)"),
    ]
    if any(band.whiskers for band in found):
        words = "95 % interval of L, as a share of its bar"
        keys.append(Line2D([], [], color=INK, marker="|", ms=7, mew=1.5, label=words))
    keys.append(Line2D([], [], color=INK, lw=1.2, ls=(0, (2, 1.2)), label=f"threshold of L, {threshold:g}"))
    if any(band.headroom > 0 and not 0 <= band.of_labels <= band.headroom for band in found):
        keys.append(Patch(facecolor="white", edgecolor=GREY, hatch="/////", label="beyond the whole (k < 0 or k > h)"))
    return keys
