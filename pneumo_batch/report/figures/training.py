"""Figures of the training section.

Shapes: N images, T thresholds.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pneumo_batch.report.figures.base import (
    FULL,
    HALF,
    INK,
    LABEL,
    MARKERS,
    RANDOM,
    TRUE,
    Dash,
    annotated,
    canvas,
    columns_of,
    legend_height,
    picture,
    shades,
)
from pneumo_batch.report.parts import Picture, number, shortened
from pneumo_batch.report.source import Source

_PANELS = (
    ("loss", (("train_loss", "-"), ("val_loss", ":"))),
    ("accuracy", (("train_accuracy", "-"), ("val_accuracy", ":"))),
    ("AUROC on validation", (("val_auroc", ":"),)),
    ("balanced accuracy on its labels, eval mode", (("memorised", "-"),)),
    ("learning rate", (("learning_rate", "-"),)),
)
_BINS = 10
_MOST_RATES = 4
_MOST_WRITTEN = 10  # classes whose counts can be read in the cells of a confusion matrix


def curves(source: Source, histories: dict[str, pd.DataFrame]) -> Picture:
    """The histories of true variants left, of random ones right, on the same scale."""
    figure, axes = canvas(FULL, 9.5, len(_PANELS), 2, sharex="col", sharey="row")
    for column, names in enumerate((source.true, source.random)):
        for row, (title, series) in enumerate(_PANELS):
            ax = axes[row, column]
            ax.set_title(f"{'true' if column == 0 else 'random'} labels: {title}", fontsize=8.5)
            _draw_series(ax, {name: histories[name] for name in names if name in histories}, series, column == 0)
        axes[-1, column].set_xlabel("epoch")
        axes[-1, column].xaxis.set_major_locator(MaxNLocator(integer=True))
    _mark_rates(axes[-1, 0], [histories[name] for name in (*source.true, *source.random) if name in histories])
    required = source.job.train.memorise
    axes[3, 1].axhline(required, color="#8a9099", lw=0.8, dashes=(4, 3), label=f"required {required:g}")
    axes[3, 1].legend(loc="best")
    _mark_kept(source, axes[3], histories)
    handles = [handle for ax in axes[0] for handle in ax.get_legend_handles_labels()[0]]
    styles = [
        Line2D([], [], color=INK, ls=dash, label=words) for dash, words in (("-", "training"), (":", "validation"))
    ]
    kept = Line2D([], [], color=INK, ls="", marker="D", ms=5, label="weights kept")
    figure.legend(handles=[*handles, *styles, kept], loc="outside lower center", ncols=5)
    last = {name: history.iloc[-1] for name, history in histories.items()}
    beyond = len(histories) > len([name for name in (*source.true, *source.random) if name in histories])
    others = " The table of every epoch has the other arms." if beyond else ""
    values = "; ".join(
        f"{name} {number(float(row['train_loss']))} after {row['epoch']} epochs" for name, row in last.items()
    )
    return picture(
        figure,
        "curves",
        f"Learning curves, true labels left and random labels right. Final training loss: {values}.",
        "Solid: training; dotted: validation, whose labels are always the true ones. A random variant learns its own"
        f" labels and should not get better on validation. Diamonds: the weights that were kept.{others}",
        wide=True,
    )


def _mark_rates(ax: Axes, histories: Sequence[pd.DataFrame]) -> None:
    """The learning rates that there were, few of many; a logarithmic axis alone may name none of them."""
    rates = sorted({float(f"{rate:.6g}") for history in histories for rate in history["learning_rate"].dropna()})
    ax.set_yscale("log")
    if rates:
        shown = rates if len(rates) <= _MOST_RATES else [rates[0], rates[-1]]
        ax.set_yticks(shown, [f"{rate:g}" for rate in shown])
        ax.set_ylim(rates[0] / 1.5, rates[-1] * 1.5)
    ax.yaxis.set_minor_formatter("")
    ax.tick_params(which="minor", left=False)


def _mark_kept(source: Source, axes: Sequence[Axes], histories: dict[str, pd.DataFrame]) -> None:
    """What the weights that were kept know, at their epoch: true variants are measured then and not before."""
    for ax, names, colour in zip(axes, (source.true, source.random), (TRUE, RANDOM), strict=True):
        for name, tint in zip(names, _tints(len(names), colour), strict=True):
            one = source.results.variants[name]
            if name in histories and one.on_its_labels is not None and one.chosen_epoch is not None:
                ax.plot(one.chosen_epoch, one.on_its_labels, "D", color=tint, ms=5, clip_on=False)


def _draw_series(
    ax: Axes, histories: dict[str, pd.DataFrame], series: Sequence[tuple[str, str]], is_true: bool
) -> None:
    colours = _tints(len(histories), TRUE if is_true else RANDOM)
    for (name, history), colour in zip(histories.items(), colours, strict=True):
        for place, (column, dash) in enumerate(series):
            shown = history[history[column].notna()]
            if shown.empty:
                continue
            marker = "o" if len(shown) < 3 else None
            (line,) = ax.plot(shown["epoch"], shown[column], ls=dash, color=colour, marker=marker, ms=3)
            if place == 0 and column != "memorised":
                line.set_label(name)


def _tints(count: int, colour: str) -> list[tuple[float, ...]]:
    """`count` tints of one hue, from itself to a paler one."""
    base = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return [tuple(base + (1 - base) * 0.6 * i / max(1, count)) for i in range(count)]


def memorisation(source: Source) -> Picture:
    """Balanced accuracy on the labels given, against a majority guess."""
    figure, axes = canvas(HALF, 1.1 + 0.3 * len(source.variants))
    ax, guess, required = axes[0, 0], source.majority, source.job.train.memorise
    texts = []
    for place, (name, one) in enumerate(source.results.variants.items()):
        value = one.on_its_labels
        if value is None:
            continue
        is_true = one.kind == "true"
        ax.plot([guess or 0, value], [place, place], color=TRUE if is_true else RANDOM, lw=1.2)
        ax.plot(value, place, "o" if is_true else "s", color=TRUE if is_true else RANDOM, ms=6)
        texts.append(f"{name} {number(value)}")
    ax.set_yticks(range(len(source.variants)), list(source.results.variants))
    ax.set_ylim(len(source.variants) - 0.5, -0.5)
    if guess is not None:
        ax.axvline(guess, color="#1c1f23", lw=0.9, dashes=(4, 3), label=f"majority guess {guess:.3f}")
    ax.axvline(required, color=RANDOM, lw=0.9, dashes=(1, 2), label=f"required of random variants {required:g}")
    ax.grid(False, axis="y")
    ax.set_xlabel("balanced accuracy on the training labels it was given")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return picture(
        figure,
        "memorisation",
        f"Balanced accuracy on the labels each variant was given: {'; '.join(texts)}; a majority guess scores"
        f" {number(guess)}.",
    )


def _per_variant(
    source: Source, draw: Callable[[Axes, str, str, Dash], None], labels: tuple[str, str]
) -> tuple[Figure, Axes]:
    count = len(source.variants)
    figure, axes = canvas(3.7, 3.6 + 0.19 * -(-count // 2))
    ax = axes[0, 0]
    for names, is_true in ((source.true, True), (source.random, False)):
        for name, (colour, dash) in shades(names, is_true).items():
            draw(ax, name, colour, dash)
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    ax.set_aspect("equal")
    return figure, ax


def _legend_below(figure: Figure, ax: Axes, title: str = "") -> None:
    """Below the axes: inside, the names of many variants would cover the curves."""
    figure.legend(handles=ax.get_legend_handles_labels()[0], loc="outside lower center", ncols=2, title=title or None)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)  # the layout of axes whose sides are equal is right only the second time, which drawing does


def operating_points(scores_N: np.ndarray, positive_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives (T,) at every threshold from the highest score down, equal scores at once."""
    values, inverse_N = np.unique(-scores_N, return_inverse=True)
    hits_T = np.bincount(inverse_N, weights=positive_N, minlength=len(values)).cumsum()
    claimed_T = np.bincount(inverse_N, minlength=len(values)).cumsum()
    return hits_T, claimed_T - hits_T


def roc(source: Source) -> Picture:
    areas = {name: one.test.auroc for name, one in source.results.variants.items()}

    def draw(ax: Axes, name: str, colour: str, dash: Dash) -> None:
        found = source.predictions(name)
        hits_T, false_T = operating_points(found.probabilities, found.labels_N == 1)
        y, x = hits_T / max(hits_T[-1], 1), false_T / max(false_T[-1], 1)
        ax.plot([0, *x], [0, *y], label=f"{name}  {number(areas[name])}", color=colour, ls=dash)

    figure, ax = _per_variant(source, draw, ("false positive rate", "true positive rate"))
    ax.plot([0, 1], [0, 1], color="#8a9099", lw=0.8, dashes=(4, 3))
    _legend_below(figure, ax, "area under the curve")
    values = "; ".join(f"{name} {number(area)}" for name, area in areas.items())
    return picture(
        figure,
        "roc",
        f"ROC curves on test; areas: {values}.",
        "Receiver operating characteristic on test; dashed: chance.",
    )


def precision_recall(source: Source) -> Picture:
    areas = {name: one.test.auprc for name, one in source.results.variants.items()}

    def draw(ax: Axes, name: str, colour: str, dash: Dash) -> None:
        found = source.predictions(name)
        hits_T, false_T = operating_points(found.probabilities, found.labels_N == 1)
        recall_T, precision_T = hits_T / max(hits_T[-1], 1), hits_T / (hits_T + false_T)
        ax.plot(recall_T, precision_T, label=f"{name}  {number(areas[name])}", color=colour, ls=dash)

    figure, ax = _per_variant(source, draw, ("recall", "precision"))
    share = float((source.predictions(source.variants[0]).labels_N == 1).mean())
    ax.axhline(share, color="#8a9099", lw=0.8, dashes=(4, 3))
    _legend_below(figure, ax, "area under the curve")
    values = "; ".join(f"{name} {number(area)}" for name, area in areas.items())
    caption = "Precision and recall on test; dashed: the share of positives, which is chance."
    return picture(figure, "precision_recall", f"Precision-recall curves on test; areas: {values}.", caption)


def calibration(source: Source) -> Picture:
    positive = shortened(source.classes[1], LABEL)

    def draw(ax: Axes, name: str, colour: str, dash: Dash) -> None:
        found = source.predictions(name)
        bins_N = np.minimum((found.probabilities * _BINS).astype(int), _BINS - 1)
        counts = np.bincount(bins_N, minlength=_BINS)
        filled = counts > 0
        said = np.bincount(bins_N, weights=found.probabilities, minlength=_BINS)[filled] / counts[filled]
        seen = np.bincount(bins_N, weights=found.labels_N == 1, minlength=_BINS)[filled] / counts[filled]
        ax.plot(said, seen, label=name, color=colour, ls=dash)
        ax.scatter(said, seen, s=6 + 120 * counts[filled] / counts.sum(), color=colour, lw=0)

    figure, ax = _per_variant(source, draw, (f"probability of {positive}", f"share that are {positive}"))
    ax.plot([0, 1], [0, 1], color="#8a9099", lw=0.8, dashes=(4, 3))
    _legend_below(figure, ax)
    return picture(
        figure,
        "calibration",
        "Calibration on test: of images given a probability, the share that are positive, by variant.",
        f"Calibration on test in {_BINS} bins of equal width; on the diagonal a probability means what it says."
        " Larger points hold more images.",
    )


def confusion(source: Source) -> Picture:
    """Counts at the chosen threshold, a panel a variant."""
    names = source.variants
    count = len(source.classes)
    side = 2.6 if count <= 3 else min(1.2 + 0.5 * count, FULL / 2)
    rows, columns = columns_of(len(names), 4 if count <= 3 else int(FULL // side))
    figure, axes = canvas(min(FULL, side * columns), side * rows, rows, columns)
    classes = [shortened(one, 10 if count <= 3 else LABEL // 2) for one in source.classes]
    size = min(7.5, 160 / count)  # a line of each class fits
    texts = []
    for ax, name in zip(axes.flat, names, strict=False):
        test = source.results.variants[name].test
        table = np.array(test.confusion)
        annotated(ax, table.astype(float), 0, "Blues", (0, float(max(table.max(), 1))), written=count <= _MOST_WRITTEN)
        at = f", threshold {number(test.threshold, 2)}" if test.threshold is not None else ""
        ax.set_title(f"{name}{at}", fontsize=8.5)
        ax.set_xticks(range(count), classes, fontsize=size, rotation=0 if count <= 3 else 90)
        ax.set_yticks(range(count), classes, fontsize=size, rotation=90 if count <= 3 else 0, va="center")
        ax.set_xlabel("predicted", fontsize=8)
        ax.set_ylabel("label", fontsize=8)
        texts.append(f"{name} {test.confusion}")
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    alt = f"Confusion matrices on test, rows are labels and columns predictions: {'; '.join(texts)}."
    return picture(figure, "confusion", alt, "Test images at the threshold chosen on validation.", wide=len(names) > 2)


def subtypes(rows: Sequence[Sequence[Any]]) -> Picture:
    """Accuracy of every group of images, by variant; `rows` are those of the table beside."""
    groups = sorted({row[2] for row in rows})
    names = list(dict.fromkeys((row[0], row[1]) for row in rows))
    band = max(0.25, min(max(0.5, 0.07 * len(names)), 14 / len(groups)))
    figure, axes = canvas(HALF, 1.4 + band * len(groups) + legend_height(len(names), 3))
    ax = axes[0, 0]
    for position, (name, kind) in enumerate(names):
        shift = (position - (len(names) - 1) / 2) * 0.8 / max(1, len(names))
        mine = [(groups.index(row[2]) + shift, row[4]) for row in rows if row[0] == name]
        colour = TRUE if kind == "true" else RANDOM
        marker = MARKERS[position % len(MARKERS)]
        ax.plot([value for _, value in mine], [place for place, _ in mine], marker, color=colour, ms=5, label=name)
    ax.set_yticks(range(len(groups)), [shortened(name, LABEL) for name in groups], fontsize=8)
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ax.set_xlim(-0.02, 1.02)
    ax.grid(False, axis="y")
    ax.set_xlabel("accuracy on test")
    for edge in range(1, len(groups)):
        ax.axhline(edge - 0.5, color="#d9dce1", lw=0.8)
    figure.legend(loc="outside lower center", ncols=3)
    return picture(figure, "subtypes", "Accuracy on test by class and subtype; the values are in the table.")
