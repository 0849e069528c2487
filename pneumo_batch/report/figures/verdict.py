"""Figures of the verdict section.

Shapes: N images, V variants, K kinds.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pneumo_batch.core.similarity import pairs
from pneumo_batch.core.similarity.per_image import Cell
from pneumo_batch.core.statistics.pointing import Localisation
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report.figures.base import (
    FULL,
    HALF,
    INK,
    KINDS,
    MARKERS,
    RANDOM,
    TRUE,
    annotated,
    canvas,
    class_colour,
    legend_above,
    metric_name,
    picture,
)
from pneumo_batch.report.parts import Picture, number, slug
from pneumo_batch.report.source import Mean, Source


def ladder(source: Source, method: str) -> Picture:
    """Mean similarity of every kind of pair with its interval, in the primary cell."""
    cell = source.primary(method)
    figure, axes = canvas(HALF, 2.9)
    found = _draw_ladder(axes[0, 0], source, cell)
    axes[0, 0].set_xlabel(f"mean similarity ({metric_name(cell.metric)})\n{cell.view} view, {cell.scale} scale")
    values = "; ".join(f"{KINDS[kind][0]} {number(row.mean)}" for kind, row in found.items())
    return picture(
        figure,
        f"similarity_{slug(method)}",
        f"{method_name(method)}: mean similarity by kind of pair: {values}.",
        f"{method_name(method)}: mean similarity of the maps of two models by kind of pair, with 95 % intervals over"
        " patients. Hollow: the two maps are of films of different patients.",
    )


def every_ladder(source: Source, method: str) -> Picture:
    """The same in every cell: a panel for each view and scale, a band for each metric."""
    cells = [cell for cell in source.similarities.cells if cell.method == method]
    groups = sorted({(cell.view, cell.scale) for cell in cells})
    metrics = [name for name in source.job.compare.metrics if any(cell.metric == name for cell in cells)]
    figure, axes = canvas(FULL, 1.3 + 0.95 * len(metrics), 1, len(groups), sharey=True)
    for ax, (view, scale) in zip(axes.flat, groups, strict=True):
        means = [source.means_of(Cell(method, view, scale, metric)) for metric in metrics]
        _draw_means(ax, means, [(i - (len(KINDS) - 1) / 2) / (len(KINDS) + 2) for i in range(len(KINDS))])
        ax.set_title(f"{view} view, {scale} scale", fontsize=8.5)
        ax.set_xlabel("mean similarity")
        ax.axvline(0, color="#8a9099", lw=0.8)
        ax.grid(False, axis="y")
        for edge in range(1, len(metrics)):
            ax.axhline(edge - 0.5, color="#d9dce1", lw=0.8)
    axes[0, 0].set_yticks(range(len(metrics)), [metric_name(metric) for metric in metrics])
    axes[0, 0].set_ylim(len(metrics) - 0.5, -0.5)
    handles = [
        Line2D([], [], marker="o", ls="", color=colour, mfc=_face(kind), label=f"{words} ({short})")
        for kind, (short, words, colour) in KINDS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return picture(
        figure,
        f"similarity_all_{slug(method)}",
        f"{method_name(method)}: mean similarity by kind of pair in every view, scale and metric; the table below"
        " holds the tests, and the summary table the values.",
        "Mean similarity by kind of pair in every view, scale and metric, with 95 % intervals over patients. Within a"
        " band the kinds stand in the order of the legend, column by column.",
        wide=True,
    )


def _draw_means(ax: Axes, means: Sequence[Mapping[str, Mean]], shift: Sequence[float]) -> None:
    """A point and its interval for each kind: those of the i-th of `means` at i, moved by the kind's `shift`."""
    for (kind, (_, _, colour)), by in zip(KINDS.items(), shift, strict=True):
        there = [(place + by, found[kind]) for place, found in enumerate(means) if kind in found]
        if there:
            mean_low_high = np.array([row for _, row in there]).T
            mean, error = mean_low_high[0], np.abs(mean_low_high[1:] - mean_low_high[0])
            places = [place for place, _ in there]
            ax.errorbar(mean, places, xerr=error, fmt="o", color=colour, mfc=_face(kind), ms=4.5, capsize=2)


def _face(kind: str) -> str | None:
    """Hollow, or filled in the colour of the mark."""
    return "white" if kind in pairs.CROSS_KINDS else None


def _draw_ladder(ax: Axes, source: Source, cell: Cell) -> Mapping[str, Mean]:
    found = source.means_of(cell)
    places = {kind: place for place, kind in enumerate(found)}
    _draw_means(ax, [found], [places.get(kind, 0) for kind in KINDS])
    for kind, place in places.items():
        at = (found[kind].mean, place)
        ax.annotate(
            number(found[kind].mean, 2),
            at,
            (0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color="#4a5058",
        )
    ax.set_yticks(range(len(found)), [f"{KINDS[kind][1]} ({KINDS[kind][0]})" for kind in found], fontsize=8.5)
    ax.set_ylim(len(found) - 0.4, -0.7)
    ax.margins(x=0.09)
    ax.grid(False, axis="y")
    ax.axvline(0, color="#8a9099", lw=0.8, zorder=0)
    return found


def scatter(source: Source, method: str) -> Picture | None:
    """Each image's TT against its TN."""
    cell, data = source.primary(method), source.similarities
    ceiling_N, test_N = data.means(cell, "true_true"), data.means(cell, "true_random")
    both_N = ~np.isnan(ceiling_N) & ~np.isnan(test_N)
    if not both_N.any():
        return None
    figure, axes = canvas(HALF, 3.6)
    ax = axes[0, 0]
    for label, name in enumerate(source.classes):
        of_N = both_N & (data.labels_N == label)
        style = {"marker": MARKERS[label % len(MARKERS)], "color": class_colour(label)}
        ax.scatter(ceiling_N[of_N], test_N[of_N], s=20, alpha=0.7, lw=0, label=name, rasterized=True, **style)
    low = float(min(ceiling_N[both_N].min(), test_N[both_N].min()))
    high = float(max(ceiling_N[both_N].max(), test_N[both_N].max()))
    room = 0.04 * (high - low) or 0.04
    ends = (low - room, high + room)
    ax.plot(ends, ends, color="#8a9099", lw=0.8, dashes=(4, 3))
    ax.set(xlim=ends, ylim=ends, aspect="equal")  # so that the diagonal is one
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(f"two true models (TT), {metric_name(cell.metric)}")
    ax.set_ylabel(f"a true and a random model (TN), {metric_name(cell.metric)}")
    legend_above(figure, ax)
    below = int((test_N[both_N] < ceiling_N[both_N]).sum())
    text = f"{below} of {int(both_N.sum())} images lie below the diagonal: random labels made their maps less alike."
    alt = f"{method_name(method)}: TT against TN of every image. {text}"
    return picture(figure, f"images_{slug(method)}", alt, f"Each point is an image. {text}")


def histograms(source: Source, method: str) -> Picture:
    """How the images' similarities are distributed: a panel for each kind, since outlines would hide one another."""
    cell, data = source.primary(method), source.similarities
    drawn = []
    for kind in ("true_true", "true_random", "random_random", "true_true_cross", "true_random_cross"):
        values_N = data.means(cell, kind)
        values_N = values_N[~np.isnan(values_N)]
        if len(values_N):
            drawn.append((kind, values_N))
    figure, axes = canvas(HALF, 0.7 + 0.64 * max(1, len(drawn)), max(1, len(drawn)), 1, sharex=True, sharey=True)
    edges = np.histogram_bin_edges(np.concatenate([values for _, values in drawn]), 30) if drawn else [0, 1]
    for ax, (kind, values_N) in zip(axes.flat, drawn, strict=False):
        short, words, colour = KINDS[kind]
        face, mean = "none" if kind in pairs.CROSS_KINDS else f"{colour}55", float(values_N.mean())
        ax.hist(values_N, edges, histtype="stepfilled", edgecolor=colour, facecolor=face, lw=1)
        ax.axvline(mean, color=INK, lw=1, ls=(0, (2, 1.2)))
        ax.set_title(f"{words} ({short}), mean {number(mean, 2)}", fontsize=8, fontweight="normal", pad=2)
        ax.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    axes[-1, 0].set_xlabel(f"{metric_name(cell.metric)} of an image, {cell.view} view, {cell.scale} scale")
    figure.supylabel("images", fontsize=9)
    kinds = [f"{KINDS[kind][0]} {number(float(values_N.mean()), 2)}" for kind, values_N in drawn]
    return picture(
        figure,
        f"scores_{slug(method)}",
        f"{method_name(method)}: histograms of the images' similarity, with means: {', '.join(kinds)}.",
        "Similarity of single images, by kind of pair; dashed: the mean. Outlined only: the two maps are of films of"
        " different patients.",
    )


def models(source: Source, method: str) -> Picture:
    """Similarity of every two models on the same images."""
    cell = source.primary(method)
    names = [*source.true, *source.random]
    images_N = np.ones(len(source.similarities.labels_N), dtype=bool)
    table_VV = source.similarities.matrix(cell, pairs.WITHIN_KINDS, names, images_N)
    side = max(1.3 + 0.43 * len(names), 3.4)
    figure, axes = canvas(side + 0.8, side)
    ax = axes[0, 0]
    low = float(np.nanmin(table_VV, initial=0)) if not np.isnan(table_VV).all() else 0.0
    image = annotated(ax, table_VV, 2, "cividis", (min(0.0, low), 1.0))
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), names)
    split = len(source.true) - 0.5
    ax.axvline(split, color="white", lw=3)
    ax.axhline(split, color="white", lw=3)
    figure.colorbar(image, ax=ax, shrink=0.8, label=f"mean similarity ({metric_name(cell.metric)})")
    said = [
        f"{names[i]} and {names[j]} {number(float(table_VV[i, j]), 2)}"
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]
    return picture(
        figure,
        f"models_{slug(method)}",
        f"{method_name(method)}: similarity of every two models on the same images: {'; '.join(said[:15])}.",
        "Mean similarity of every two different models on the same images. True models that agree among themselves and"
        " not with the random ones stand out as a bright square at the upper left.",
    )


def localisation(source: Source, found: Localisation) -> Picture:
    """Positive share inside the opacity, by method and variant; `found` is of at least one image."""
    assert found.chance is not None
    figure, axes = canvas(HALF, 0.9 + 0.25 * len(found.methods) * len(source.variants))
    ax = axes[0, 0]
    labels: list[str] = []
    for method, variants in found.methods.items():
        for variant, located in variants.items():
            colour = TRUE if variant in source.true else RANDOM
            value, place = located.positive_share, len(labels)
            if value is not None:  # maps without a positive value have no share
                ax.plot([found.chance, value], [place, place], color=colour, lw=1.2)
                ax.plot(value, place, "o" if variant in source.true else "s", color=colour, ms=5)
            labels.append(f"{method_name(method)}, {variant}")
    ax.axvline(found.chance, color="#1c1f23", lw=0.9, dashes=(4, 3))
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.grid(False, axis="y")
    ax.set_xlabel("positive attribution inside the opacity")
    return picture(
        figure,
        "localisation",
        "Share of the positive attribution inside the opacity by method and variant; the values are in the table.",
        "Dashed: what a map that knows nothing reaches. Circles are true variants, squares random ones.",
    )
