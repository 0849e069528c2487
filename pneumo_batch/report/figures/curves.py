"""Curves of the verdict section: agreement by grid size, and parameter randomization by depth."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pneumo_batch.core.similarity import pairs
from pneumo_batch.core.similarity.per_image import Cell
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report.figures.base import FULL, HALF, KINDS, RANDOM, TRUE, canvas, columns_of, metric_name, picture
from pneumo_batch.report.parts import Picture, number, slug
from pneumo_batch.report.source import Mean, Source

_SCALES = (("mean_tt", "true_true"), ("mean_ttx", "true_true_cross"), ("mean_tn", "true_random"))
_MODES = {"cascade": ("top layers together", TRUE, "-", "o"), "independent": ("one layer alone", RANDOM, "--", "s")}
_FLOORS = ("true_true_cross", "edge")


def scales(method: str, rows: pd.DataFrame) -> Picture:
    """Similarity of the maps of two models by cells a side, a panel for each view."""
    views = list(dict.fromkeys(rows["view"]))
    figure, axes = canvas(FULL, 3.2, 1, len(views), sharey=True)
    for ax, view in zip(axes.flat, views, strict=True):
        _draw_scales(ax, rows[rows["view"] == view])
        ax.set_title(f"{view} view")
        ax.set_xlabel("cells on a side of the grid that a map is averaged over")
    axes[0, 0].set_ylabel("mean similarity (Spearman)")
    handles = axes[0, 0].get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    values = "; ".join(
        f"{row.view} {row.grid} × {row.grid} TT {number(row.mean_tt, 2)} TTx {number(row.mean_ttx, 2)}"
        f" TN {number(row.mean_tn, 2)}"
        for row in rows.itertuples()
    )
    return picture(
        figure,
        f"scales_{slug(method)}",
        f"{method_name(method)}: similarity by the number of cells a map is averaged over: {values}.",
        f"Agreement of two models by grid size, from coarse to fine, on a sample of {int(rows['images'].max())} images."
        " The pale bar is the 95 % interval of TT − TTx, drawn from TTx up: where it clears TTx the point is filled,"
        " and two true models agree on an image beyond the floor.",
        wide=True,
    )


def _draw_scales(ax: Axes, rows: pd.DataFrame) -> None:
    for column, kind in _SCALES:
        short, words, colour = KINDS[kind]
        dash = "--" if kind in pairs.CROSS_KINDS else "-"
        ax.plot(rows["grid"], rows[column], color=colour, label=f"{words} ({short})", ls=dash)
    base = rows["mean_ttx"]
    ax.vlines(rows["grid"], base + rows["difference_low"], base + rows["difference_high"], color=TRUE, lw=3, alpha=0.35)
    clear = rows["difference_low"] > 0
    ax.scatter(rows["grid"][clear], rows["mean_tt"][clear], s=28, color=TRUE, zorder=3)
    ax.scatter(rows["grid"][~clear], rows["mean_tt"][~clear], s=28, facecolor="white", edgecolor=TRUE, zorder=3)
    ax.axhline(0, color="#8a9099", lw=0.8)
    ax.set_xscale("log", base=2)
    ax.set_xticks(rows["grid"], [f"{grid}" for grid in rows["grid"]])
    ax.minorticks_off()


def entropy(rows: pd.DataFrame) -> Picture:
    """Entropy of the network's output by depth: the same for every method, since no map enters it."""
    figure, axes = canvas(HALF, 2.9)
    ax = axes[0, 0]
    for mode, of_mode in rows.groupby("mode", observed=True):
        points = of_mode.groupby("depth")["entropy"].first()
        words, colour, dash, marker = _MODES[str(mode)]
        ax.plot(points.index, points, color=colour, ls=dash, marker=marker, ms=4, label=words)
    ax.set_ylabel("entropy of the output, bits")
    ax.set_ylim(bottom=0)
    ax.legend(loc="best")
    _name_layers([ax], rows)
    curve = rows[rows["mode"] == "cascade"].groupby("depth")["entropy"].first()
    values = "; ".join(f"{number(float(value), 2)} with {depth} layers new" for depth, value in curve.items())
    return picture(
        figure,
        "randomization_entropy",
        f"Entropy of the output by layers re-initialised: {values}.",
        "What the network still says of a film while it forgets, from the output down to the layer named (dashed: that"
        " layer alone), for all methods: a map that stays while this changes"
        " does not explain the output.",
    )


def randomization(source: Source, method: str, metric: str, rows: pd.DataFrame) -> Picture:
    """Similarity to the original by depth, a panel for each view and scale."""
    cells = sorted({(str(view), str(scale)) for view, scale in zip(rows["view"], rows["scale"], strict=True)})
    lines, across = columns_of(len(cells), 4)
    figure, axes = canvas(FULL / 4 * max(across, 2), 3.4 * lines, lines, across, sharex=True, sharey=True)
    for ax, (view, scale) in zip(axes.flat, cells, strict=False):
        for mode, of_mode in rows[(rows["view"] == view) & (rows["scale"] == scale)].groupby("mode", observed=True):
            _draw_curve(ax, str(mode), of_mode.sort_values("depth"))
        _draw_floors(ax, source.means_of(Cell(method, view, scale, metric)))
        ax.axhline(0, color="#8a9099", lw=0.8)
        ax.set_title(f"{view} view, {scale} scale", fontsize=8.5)
    for ax in axes.flat[len(cells) :]:
        ax.set_axis_off()
    axes[0, 0].set_ylabel(f"mean similarity to the original ({metric_name(metric)})", fontsize=8.5)
    _name_layers(list(axes.flat[: len(cells)]), rows)
    handles = [line for line in axes[0, 0].get_legend_handles_labels()[0] if line.get_label()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return picture(
        figure,
        f"randomization_{slug(method)}",
        f"{method_name(method)}: {metric} of maps to those of the untouched network, by layers re-initialised:"
        f" {'; '.join(_ends(rows, cells))}.",
        "From left to right more of the network forgets, the output first (dashed: the layer named alone); shades and"
        " bars are 95 % intervals over patients. A map that shows what the network learnt falls at once; one that stays"
        " high shows the image."
        " Compare with the dotted floors: smooth maps are never at 0.",
        wide=True,
    )


def _draw_curve(ax: Axes, mode: str, rows: pd.DataFrame) -> None:
    words, colour, dash, marker = _MODES[mode]
    if mode == "cascade":
        ax.fill_between(rows["depth"], rows["ci_low"], rows["ci_high"], color=colour, alpha=0.18, lw=0)
        ax.plot(rows["depth"], rows["mean"], color=colour, ls=dash, marker=marker, ms=4, label=words)
        if rows["smooth_mean"].notna().any():
            ax.plot(
                rows["depth"], rows["smooth_mean"], color=colour, ls="-.", lw=1.1, label="averaged over noisy inputs"
            )
        return
    error = np.maximum([rows["mean"] - rows["ci_low"], rows["ci_high"] - rows["mean"]], 0)
    draw = functools.partial(ax.errorbar, color=colour, ls=dash, marker=marker, ms=4, label=words)
    draw(rows["depth"], rows["mean"], yerr=error, capsize=2, elinewidth=0.9)


def _draw_floors(ax: Axes, means: Mapping[str, Mean]) -> None:
    for kind in _FLOORS:
        if kind in means:
            short, words, colour = KINDS[kind]
            ax.axhline(means[kind].mean, color=colour, lw=1.4, ls=":", label=f"floor {words} ({short})")


def _name_layers(axes: Sequence[Axes], rows: pd.DataFrame) -> None:
    layers = rows.groupby("depth")["layer"].first().sort_index()
    labels = [layer if depth else "original" for depth, layer in layers.items()]
    for ax in axes:
        ax.set_xticks(list(layers.index), labels, rotation=90, fontsize=8 if len(labels) < 16 else 6)
        ax.set_xlabel("re-initialised down to, or alone", fontsize=8.5)


def _ends(rows: pd.DataFrame, cells: Sequence[tuple[str, str]]) -> list[str]:
    """In words: each cascade after its first layer and after all of them."""
    found = []
    for view, scale in cells:
        curve = rows[(rows["mode"] == "cascade") & (rows["view"] == view) & (rows["scale"] == scale)]
        curve = curve[curve["depth"] > 0].sort_values("depth")
        if len(curve):
            first, last = curve["mean"].iloc[0], curve["mean"].iloc[-1]
            found.append(f"{view}, {scale} {number(first, 2)} after the top layer, {number(last, 2)} after all")
    return found
