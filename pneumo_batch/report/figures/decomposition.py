"""The first figure: what two true models agree on about a film, split into what the labels own and what the film does.

Bars are h = TT - TTx; the part of the labels is L h = h - k, that of the film alone k = TN - TNx.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pneumo_batch.core.statistics.estimates import Estimate
from pneumo_batch.core.statistics.results import MethodResult
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report import estimates
from pneumo_batch.report.figures.base import EVERYWHERE, FILM, GREY, INK, TRUE, VERDICTS, canvas, picture, svg
from pneumo_batch.report.parts import Picture, number, shortened
from pneumo_batch.report.source import Source

NAME = "decomposition"


@dataclass(frozen=True)
class _Layout:
    """Inches of the figure and of a method's band, and where within a band things stand, from 0 at its top to 1."""

    width: float
    band: float
    rest: float
    texts: tuple[float, float]  # the name, and the label share
    bar: tuple[float, float]  # centre and height
    thin: tuple[float, float]
    columns: int
    characters: int


_WIDE = _Layout(8.3, 0.5, 0.88, (0.16, 0.16), (0.48, 0.32), (0.76, 0.11), 3, 60)
_NARROW = _Layout(3.75, 0.7, 1.75, (0.12, 0.33), (0.58, 0.26), (0.81, 0.09), 1, 28)


@dataclass(frozen=True)
class Band:
    """What is drawn of one method, and the whiskers of L on its bar's own axis: where the two parts may meet."""

    method: str
    verdict: str
    headroom: float
    remainder: float
    everywhere: float
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
        h, k, everywhere = test.headroom.value, test.remainder.value, test.everywhere.value
        if h is not None and k is not None and everywhere is not None:
            found.append(Band(method, one.verdict, h, k, everywhere, test.share))
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
    return f"{one.primary.metric}, {one.primary.view} view, {one.primary.scale} scale", one.threshold


def said(band: Band) -> str:
    """The band in words."""
    share = "h is not above 0, so there is no label share"
    if band.share.value is not None:
        share = f"label share {estimates.written(band.share, 2)}"
    return (
        f"{method_name(band.method)}: h {number(band.headroom)}, owed to the labels {number(band.of_labels)}, to the"
        f" film alone {number(band.remainder)}; {share}; everywhere {number(band.everywhere)}; {band.verdict}."
    )


def _figure(found: Sequence[Band], axis: str, threshold: float, layout: _Layout) -> Figure:
    figure, axes = canvas(layout.width, layout.band * len(found) + layout.rest)
    ax = axes[0, 0]
    ax.set_xlim(*_limits(found))
    ax.set_ylim(len(found), 0)
    for top, band in enumerate(found):
        _draw_band(ax, top, band, threshold, layout)
        _write(ax, top, band, layout)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.axvline(0, color="#8a9099", lw=0.8, zorder=3)
    ax.set_xlabel(f"agreement beyond films of other patients ({axis})" if layout is _WIDE else axis, fontsize=8)
    keys = _keys(found, threshold)
    figure.legend(handles=keys, loc="outside lower left", ncols=layout.columns, fontsize=8, borderaxespad=0.2)
    return figure


def _limits(found: Sequence[Band]) -> tuple[float, float]:
    """From the values; whiskers may reach half as far again, and are cut there with an arrow."""
    values = [value for band in found for value in (0.0, band.headroom, band.of_labels, band.everywhere)]
    reach = max(abs(value) for value in values) or 1.0
    whiskers = [band.whiskers for band in found if band.whiskers]
    low = min([*values, *(max(one[0], -0.5 * reach) for one in whiskers)])
    high = max([*values, *(min(one[1], 1.5 * reach) for one in whiskers)])
    room = 0.02 * (high - low)
    return low - room * (low < 0), high + room


def _draw_band(ax: Axes, top: int, band: Band, threshold: float, layout: _Layout) -> None:
    place, height = top + layout.bar[0], layout.bar[1]
    thin, slight = top + layout.thin[0], layout.thin[1]
    ax.barh(thin, band.everywhere, slight, color=EVERYWHERE, lw=0)
    text, tip = f"everywhere {number(band.everywhere, 2)}", (max(band.everywhere, 0.0), thin)
    ax.annotate(text, tip, (4, 0), textcoords="offset points", va="center", fontsize=7.5, color=GREY, zorder=7)
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
    """A line with caps, and an arrow instead of a cap where the axis ends before it."""
    left, right = ax.get_xlim()
    low, high = max(whiskers[0], left), min(whiskers[1], right)
    for colour, extra in (("white", 2.2), (INK, 0.0)):  # a rim, to be seen on any part of the bar
        ax.plot([low, high], [place, place], color=colour, lw=1.5 + extra, zorder=6, solid_capstyle="butt")
        for at, cut, mark in ((low, whiskers[0] < left, "<"), (high, whiskers[1] > right, ">")):
            size = 6 if cut else 7
            ax.plot(at, place, mark if cut else "|", color=colour, ms=size + extra, mew=1.5 + extra, zorder=6)
        ax.plot(meet, place, "o", color=colour, ms=4 + extra, zorder=6, clip_on=False)


def _write(ax: Axes, top: int, band: Band, layout: _Layout) -> None:
    """The name, the label share in figures, and the verdict in its colour."""
    across = ax.get_yaxis_transform()
    rim = {"facecolor": "white", "lw": 0, "pad": 0.8}  # no line of the grid runs through a word
    write = functools.partial(ax.text, transform=across, va="center", bbox=rim, zorder=7)
    name = shortened(method_name(band.method), layout.characters)
    write(0, top + layout.texts[0], name, ha="left", fontsize=9.5, fontweight="bold")
    colour = VERDICTS[band.verdict]
    write(1, top + layout.texts[0], band.verdict, ha="right", fontsize=9, fontweight="bold", color=colour)
    share = "h is not above 0: nothing to divide"
    if band.share.value is not None:
        share = f"L = {estimates.written(band.share, 2)}"
    place = (0.86, "right") if layout is _WIDE else (0, "left")
    write(place[0], top + layout.texts[1], share, ha=place[1], fontsize=9)


def _keys(found: Sequence[Band], threshold: float) -> list[Artist]:
    keys: list[Artist] = [
        Patch(color=TRUE, label="owed to the labels (h − k)"),
        Patch(color=FILM, label="there without them: the film alone (k)"),
        Patch(color=EVERYWHERE, label="thin: what labels change on every film (TTx − TNx)"),
    ]
    if any(band.whiskers for band in found):
        keys.append(Line2D([], [], color=INK, marker="|", ms=7, mew=1.5, label="95 % interval of L, on its bar"))
    keys.append(Line2D([], [], color=INK, lw=1.2, ls=(0, (2, 1.2)), label=f"threshold of L, {threshold:g}"))
    if any(band.headroom > 0 and not 0 <= band.of_labels <= band.headroom for band in found):
        keys.append(Patch(facecolor="white", edgecolor=GREY, hatch="/////", label="beyond the whole (k < 0 or k > h)"))
    return keys
