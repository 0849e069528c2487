"""How figures look, and the way from a matplotlib figure to a picture of the page."""

import io
import re
from typing import Any, Literal, TypedDict, Unpack

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from pneumo_batch.report.parts import Picture, number, shortened

# Inches of a figure with a neighbour and of one that has all of the width: what is in them is read on a telephone too.
HALF, FULL = 4.7, 9.2
_LEGEND_ROW = 0.19  # inches
LABEL = 24  # characters of a name at an axis or in a legend
Dash = str | tuple[float, tuple[float, ...]]

# Okabe and Ito's colours: told apart with any colour vision.
TRUE, RANDOM, GREY, INK = "#0072B2", "#D55E00", "#5f6670", "#1c1f23"
FILM, EVERYWHERE = "#b4bac3", "#E69F00"  # what the film alone owns of a map, and what labels change on every film
VERDICTS = {"sensitive": "#0b6e4f", "insensitive": "#a83f00", "inconclusive": "#555c66", "invalid": INK}
SPECIFIC = {"specific": "#0b6e4f", "unspecific": "#a83f00", "inconclusive": "#555c66", "invalid": INK}
CLASSES = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#0072B2", "#D55E00")
MARKERS = ("o", "^", "s", "D", "v", "P")
DASHES: tuple[Dash, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (9, 2)))
KINDS = {
    "true_true": ("TT", "true – true", TRUE),
    "true_random": ("TN", "true – random", RANDOM),
    "random_random": ("NN", "random – random", "#CC79A7"),
    "true_true_cross": ("TTx", "true – true, other film", TRUE),  # the hue of its kind, but hollow or dashed
    "true_random_cross": ("TNx", "true – random, other film", RANDOM),
    "random_random_cross": ("NNx", "random – random, other film", "#CC79A7"),
    "edge": ("edge", "true – edges", GREY),
    "random_map": ("noise", "true – smooth noise", "#868d97"),
}

_METRICS = {"spearman": "Spearman", "pearson": "Pearson", "ssim": "SSIM", "hog": "HOG", "top10": "top 10 %"}

_DRAWN = re.compile(rb"<(?:path|use)\b[^>]*>")  # and no text, whose digits are somebody's number
_DECIMALS = re.compile(rb"(?<=\.\d\d)\d+")
_INDENTED = re.compile(rb"\s*\n\s*")

STYLE: dict[Any, Any] = {  # the keys have a type of their own
    "savefig.dpi": 160,  # of what is drawn as pixels inside an SVG
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": "#8a9099",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e6ea",
    "grid.linewidth": 0.6,
    "xtick.color": "#4a5058",
    "ytick.color": "#4a5058",
    "text.color": "#1c1f23",
    "axes.labelcolor": "#1c1f23",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.4,
    "text.parse_math": False,  # a dollar sign in a class name is a dollar sign
    "svg.fonttype": "none",  # text stays text: sharp, small, and editable in a paper
    "svg.hashsalt": "pneumo-batch",  # the same run gives the same file
}


class Shared(TypedDict, total=False):
    """Which panels of a figure have an axis in common."""

    sharex: bool | Literal["col"]
    sharey: bool | Literal["row"]


class Shape(TypedDict, total=False):
    """Further fields of a picture."""

    wide: bool
    narrow: bytes


def canvas(
    width: float, height: float, rows: int = 1, columns: int = 1, **shared: Unpack[Shared]
) -> tuple[Figure, np.ndarray]:
    """A figure in inches and its axes (rows, columns)."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes every time; coordinates to a hundredth of a point, which nobody can see."""
    buffer = io.BytesIO()
    figure.set_dpi(STYLE["savefig.dpi"])
    # not savefig, which draws everything a first time to lay it out and then once more
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": "pneumo-batch"})
    return _DRAWN.sub(lambda tag: _DECIMALS.sub(b"", tag[0]), _INDENTED.sub(b"\n", buffer.getvalue()))


def picture(figure: Figure, name: str, alt: str, caption: str = "", **shape: Unpack[Shape]) -> Picture:
    """The figure as SVG, with its words."""
    return Picture(name, svg(figure), alt, caption, **shape)


def shades(names: list[str], is_true: bool) -> dict[str, tuple[str, Dash]]:
    """Colour and dash of each variant of one kind: the kind is the hue, dashes tell its members apart."""
    return {name: (TRUE if is_true else RANDOM, DASHES[i % len(DASHES)]) for i, name in enumerate(names)}


def metric_name(metric: str) -> str:
    """As papers write it; a function of the user's keeps its name."""
    return _METRICS.get(metric, metric)


def class_colour(position: int) -> str:
    return CLASSES[position % len(CLASSES)]


def annotated(
    ax: Axes, table: np.ndarray, digits: int, cmap: str, limits: tuple[float, float], *, written: bool = True
) -> AxesImage:
    """A matrix as colours with its values written in, with so many decimals; returns the image for a colour bar.

    Where cells are too small for values, they are not `written`.
    """
    image = ax.imshow(table, cmap=cmap, vmin=limits[0], vmax=limits[1])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    colours = matplotlib.colormaps[cmap]
    for (row, column), value in np.ndenumerate(table):
        if np.isnan(value) or not written:
            continue
        shade = (value - limits[0]) / ((limits[1] - limits[0]) or 1)
        ink = "white" if np.dot(colours(float(np.clip(shade, 0, 1)))[:3], (0.299, 0.587, 0.114)) < 0.5 else "#1c1f23"
        ax.text(column, row, number(float(value), digits), ha="center", va="center", color=ink, fontsize=8)
    return image


def legend_above(figure: Figure, ax: Axes) -> None:
    """Above the axes: inside, it would cover what is drawn. The figure grows by what a long one takes."""
    handles, names = ax.get_legend_handles_labels()
    labels = [shortened(name, LABEL) for name in names]
    columns = max(1, min(len(labels), 3, 58 // (6 + max(map(len, labels), default=1))))
    figure.set_figheight(figure.get_figheight() + legend_height(len(labels), columns))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, markerscale=1.5)


def legend_height(names: int, columns: int) -> float:
    """Inches that a legend takes beyond two rows, for which figures have room."""
    return _LEGEND_ROW * max(0, -(-names // columns) - 2)


def columns_of(count: int, most: int = 3) -> tuple[int, int]:
    """Rows and columns for `count` panels."""
    columns = min(most, count)
    return -(-count // columns), columns
