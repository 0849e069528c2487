"""How well maps point at a finding, as intervals, and some films with the finding outlined and their maps.

Shapes: H x W pixels.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pneumo_batch.core.statistics.pointing import CROSS_IMAGE, EDGE, MEAN_MASK, MEASURES, Means, OfFinding
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report.figures import overlays
from pneumo_batch.report.figures.base import FULL, GREY, INK, RANDOM, TRUE, canvas, picture
from pneumo_batch.report.parts import Picture, number, slug

TITLES = {
    "hit": "highest value inside",
    "auprc": "AUPRC",
    "iou": "IoU",
    "positive_share": "positive share inside",
}
NAMES = {
    "true": "true models",
    "random": "random models",
    CROSS_IMAGE: "true models, another film",
    MEAN_MASK: "mean mask",
    EDGE: "edges of the film",
}
_UNITS = {
    "hit": "share of films",
    "auprc": "mean over films, 0 to 1",
    "iou": "mean over films, 0 to 1",
    "positive_share": "share of the map",
}
_CHANCE = ("auprc", "positive_share")  # where a map that knows nothing reaches the share of pixels inside
_OUTLINE = "#00e5a8"  # on a gray film and on red and blue maps alike


class Line(NamedTuple):
    """A row of the figure and of the table: whose maps, and their means."""

    words: str
    means: Means
    colour: str
    marker: str


def lines(found: OfFinding) -> Iterator[Line]:
    """Of each method its true and random models, and their maps of another film; then the maps of no model."""
    looks = {"true": (TRUE, "o"), "random": (RANDOM, "s"), CROSS_IMAGE: ("#56B4E9", "D")}
    for method, by_name in found.methods.items():
        every = {**found.kinds.get(method, {}), **{name: by_name[name] for name in by_name if name == CROSS_IMAGE}}
        for name, means in every.items():
            colour, marker = looks.get(name, (INK, "o"))
            yield Line(f"{method_name(method)}, {NAMES.get(name, name)}", means, colour, marker)
    for name, means in found.baselines.items():
        yield Line(NAMES.get(name, name), means, GREY, "^")


def measures(finding: str, found: OfFinding) -> Picture:
    """A panel a measure, a line a kind of models or a baseline, with intervals over patients."""
    rows = list(lines(found))
    figure, axes = canvas(FULL, 1.1 + 0.25 * len(rows), columns=len(MEASURES), sharey="row")
    for ax, measure in zip(axes[0], MEASURES, strict=True):
        for place, row in enumerate(rows):
            _draw(ax, place, row, measure)
        if measure in _CHANCE:
            ax.axvline(found.chance, color=INK, lw=0.9, dashes=(4, 3))
        ax.set_title(TITLES[measure], fontsize=8.5)
        ax.set_xlabel(_UNITS[measure], fontsize=8)
        ax.set_xlim(left=0)
        ax.grid(False, axis="y")
    axes[0, 0].set_yticks(range(len(rows)), [row.words for row in rows])
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    said = "; ".join(f"{row.words} {number(row.means['auprc'].mean, 2)}" for row in rows)
    return picture(
        figure,
        f"localisation_{slug(finding)}",
        f"How well maps point at {finding}, AUPRC: {said}. The table has the other measures.",
        "Means over films with 95 % intervals over patients; further right is better. AUPRC: average precision of the"
        " map's values for the pixels inside. IoU: overlap with what Otsu's threshold leaves of the positive map."
        " Dashed: what a map that knows nothing reaches. Circles are true models, squares random ones, diamonds true"
        " models' maps of another film, triangles maps of no model.",
        wide=True,
    )


def _draw(ax: Axes, place: int, row: Line, measure: str) -> None:
    one = row.means[measure]
    if one.mean is None:
        return
    if one.ci_low is not None and one.ci_high is not None:
        ax.plot([one.ci_low, one.ci_high], [place, place], color=row.colour, lw=1.3)
    ax.plot(one.mean, place, row.marker, color=row.colour, ms=5, clip_on=False, zorder=4)  # whole at 0, too


class Shown(NamedTuple):
    """A film of the picture: (H, W) uint8 and bool, and its maps by what stands above them."""

    film_HW: np.ndarray
    mask_HW: np.ndarray
    maps: Mapping[str, np.ndarray]


def films(finding: str, shown: Sequence[Shown]) -> Picture:
    """A row a film: the film, then the maps over it, the finding outlined in all."""
    titles = list(shown[0].maps)
    figure, axes = canvas(1.75 * (1 + len(titles)), 0.3 + 1.75 * len(shown), len(shown), 1 + len(titles))
    for row, one in zip(axes, shown, strict=True):
        _film(row[0], one.film_HW, one)
        for ax, title in zip(row[1:], titles, strict=True):
            map_HW = one.maps[title]
            _film(ax, np.asarray(overlays.blend(one.film_HW, map_HW, overlays.limit(map_HW))), one)
    for ax, title in zip(axes[0], ["film", *titles], strict=True):
        ax.set_title(title, fontsize=8)
    buffer = io.BytesIO()
    figure.set_dpi(110)
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    alt = f"{len(shown)} films with {finding} outlined, and their signed maps: {', '.join(titles)}."
    caption = (
        f"Green: {finding}, at the networks' resolution. Red speaks for it, blue against; each map has its own scale."
        " A seeded rule drew the films."
    )
    return Picture(f"localisation_films_{slug(finding)}", buffer.getvalue(), alt, caption, suffix="png", wide=True)


def _film(ax: Axes, picture_HW: np.ndarray, one: Shown) -> None:
    ax.imshow(picture_HW, cmap="gray", vmin=0, vmax=255)
    ax.contour(one.mask_HW, levels=[0.5], colors=_OUTLINE, linewidths=0.9)
    ax.set_axis_off()
