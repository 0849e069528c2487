"""Figures of the verdict section.

Shapes: N images, V variants, K kinds.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from pneumo_batch.core.similarity import pairs
from pneumo_batch.core.similarity.per_image import Cell
from pneumo_batch.core.statistics.pointing import Localisation
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report.figures.base import KINDS, MARKERS, RANDOM, TRUE, annotated, canvas, class_colour, picture
from pneumo_batch.report.parts import Picture, number, slug
from pneumo_batch.report.source import Mean, Source


def ladder(source: Source, method: str) -> Picture:
    """Mean similarity of every kind of pair with its interval, in the primary cell."""
    cell = source.primary(method)
    figure, axes = canvas(5.4, 2.9)
    found = _draw_ladder(axes[0, 0], source, cell)
    axes[0, 0].set_xlabel(f"mean {cell.metric}, {cell.view} view, {cell.scale} scale")
    values = "; ".join(f"{KINDS[kind][0]} {number(row.mean)}" for kind, row in found.items())
    return picture(
        figure,
        f"similarity_{slug(method)}",
        f"{method_name(method)}: mean similarity by kind of pair: {values}.",
        f"{method_name(method)}: mean similarity by kind of pair, with 95 % intervals over patients.",
    )


def every_ladder(source: Source, method: str) -> Picture:
    """The same in every cell: a panel for each view and scale, a band for each metric."""
    cells = [cell for cell in source.similarities.cells if cell.method == method]
    groups = sorted({(cell.view, cell.scale) for cell in cells})
    metrics = [name for name in source.job.compare.metrics if any(cell.metric == name for cell in cells)]
    figure, axes = canvas(10.5, 1.0 + 0.95 * len(metrics), 1, len(groups), sharey=True)
    for ax, (view, scale) in zip(axes.flat, groups, strict=True):
        means = [source.means_of(Cell(method, view, scale, metric)) for metric in metrics]
        _draw_means(ax, means, [(i - (len(KINDS) - 1) / 2) / (len(KINDS) + 2) for i in range(len(KINDS))])
        ax.set_title(f"{view}, {scale}")
        ax.axvline(0, color="#8a9099", lw=0.8)
        ax.grid(False, axis="y")
        for edge in range(1, len(metrics)):
            ax.axhline(edge - 0.5, color="#d9dce1", lw=0.8)
    axes[0, 0].set_yticks(range(len(metrics)), metrics)
    axes[0, 0].set_ylim(len(metrics) - 0.5, -0.5)
    handles = [Line2D([], [], marker="o", ls="", color=colour, label=short) for short, _, colour in KINDS.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(KINDS))
    return picture(
        figure,
        f"similarity_all_{slug(method)}",
        f"{method_name(method)}: mean similarity by kind of pair in every view, scale and metric; the table below"
        " holds the tests, and the summary table the values.",
        "Within a band the kinds stand in the order of the legend.",
        wide=True,
    )


def _draw_means(ax: Axes, means: Sequence[Mapping[str, Mean]], shift: Sequence[float]) -> None:
    """A point and its interval for each kind: those of the i-th of `means` at i, moved by the kind's `shift`."""
    for (kind, (_, _, colour)), by in zip(KINDS.items(), shift, strict=True):
        there = [(place + by, found[kind]) for place, found in enumerate(means) if kind in found]
        if there:
            mean_low_high = np.array([row for _, row in there]).T
            mean, error = mean_low_high[0], np.abs(mean_low_high[1:] - mean_low_high[0])
            ax.errorbar(mean, [place for place, _ in there], xerr=error, fmt="o", color=colour, ms=4, capsize=2)


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
            fontsize=7.5,
            color="#4a5058",
        )
    ax.set_yticks(range(len(found)), [f"{KINDS[kind][1]} ({KINDS[kind][0]})" for kind in found])
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
    figure, axes = canvas(5.4, 3.6)
    ax = axes[0, 0]
    for label, name in enumerate(source.classes):
        of_N = both_N & (data.labels_N == label)
        style = {"marker": MARKERS[label % len(MARKERS)], "color": class_colour(label)}
        ax.scatter(ceiling_N[of_N], test_N[of_N], s=14, alpha=0.6, lw=0, label=name, rasterized=True, **style)
    low = float(min(ceiling_N[both_N].min(), test_N[both_N].min()))
    ax.plot([low, 1], [low, 1], color="#8a9099", lw=0.8, dashes=(4, 3))
    ax.set_xlabel("TT: two true models")
    ax.set_ylabel("TN: a true and a random model")
    ax.legend(loc="upper left")
    below = int((test_N[both_N] < ceiling_N[both_N]).sum())
    text = f"{below} of {int(both_N.sum())} images lie below the diagonal: random labels made their maps less alike."
    return picture(
        figure, f"images_{slug(method)}", f"{method_name(method)}: TT against TN of every image. {text}", text
    )


def histograms(source: Source, method: str) -> Picture:
    """How the images' similarities are distributed, by kind."""
    cell, data = source.primary(method), source.similarities
    figure, axes = canvas(5.4, 3.6)
    ax = axes[0, 0]
    drawn = []
    for kind in ("true_true", "true_random", "random_random", "true_true_cross", "true_random_cross"):
        values_N = data.means(cell, kind)
        values_N = values_N[~np.isnan(values_N)]
        if len(values_N):
            drawn.append((kind, values_N))
    edges = np.histogram_bin_edges(np.concatenate([values for _, values in drawn]), 30) if drawn else [0, 1]
    for kind, values_N in drawn:
        short, _, colour = KINDS[kind]
        is_cross = kind.endswith("cross")
        ax.hist(values_N, edges, histtype="step", color=colour, lw=1.6, ls="--" if is_cross else "-", label=short)
    ax.set_xlabel(f"{cell.metric} of an image")
    ax.set_ylabel("images")
    if drawn:
        ax.legend(loc="upper left")
    kinds = [KINDS[kind][0] for kind, _ in drawn]
    return picture(
        figure,
        f"scores_{slug(method)}",
        f"{method_name(method)}: histograms of the images' similarity for {', '.join(kinds)}.",
        "Similarity of single images, by kind of pair; dashed where the two maps are of different images.",
    )


def models(source: Source, method: str) -> Picture:
    """Similarity of every two models on the same images."""
    cell = source.primary(method)
    names = [*source.true, *source.random]
    images_N = np.ones(len(source.similarities.labels_N), dtype=bool)
    table_VV = source.similarities.matrix(cell, pairs.WITHIN_KINDS, names, images_N)
    side = 1.6 + 0.55 * len(names)
    figure, axes = canvas(max(side, 3.6) + 0.8, max(side, 3.6) - 0.4)
    ax = axes[0, 0]
    low = float(np.nanmin(table_VV, initial=0)) if not np.isnan(table_VV).all() else 0.0
    image = annotated(ax, table_VV, 2, "cividis", (min(0.0, low), 1.0))
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), names)
    split = len(source.true) - 0.5
    ax.axvline(split, color="white", lw=3)
    ax.axhline(split, color="white", lw=3)
    figure.colorbar(image, ax=ax, shrink=0.8, label=f"mean {cell.metric}")
    said = [
        f"{names[i]} and {names[j]} {number(float(table_VV[i, j]), 2)}"
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]
    return picture(
        figure,
        f"models_{slug(method)}",
        f"{method_name(method)}: similarity of every two models on the same images: {'; '.join(said[:15])}.",
        "Similarity of every two different models on the same images. True models that agree among themselves and not"
        " with the random ones stand out as a bright square.",
    )


def localisation(source: Source, found: Localisation) -> Picture:
    """Positive share inside the opacity, by method and variant; `found` is of at least one image."""
    assert found.chance is not None
    figure, axes = canvas(5.4, 0.9 + 0.25 * len(found.methods) * len(source.variants))
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
