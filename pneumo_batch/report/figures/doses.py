"""Curves over the share of labels that is permuted: the label share, AUROC on test, what is known by heart."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from pneumo_batch.core.statistics import doses
from pneumo_batch.core.statistics.doses import Dose
from pneumo_batch.core.statistics.estimates import Estimate
from pneumo_batch.core.statistics.model_results import VariantResult
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report import estimates
from pneumo_batch.report.figures.base import CLASSES, FULL, GREY, INK, MARKERS, RANDOM, TRUE, canvas, picture
from pneumo_batch.report.parts import Picture, number
from pneumo_batch.report.source import Source

_BESIDE = 0.012  # methods at one dose stand beside each other
_REACH = (-0.75, 1.75)  # of a small h the share is anything


def draw(source: Source, curve: Sequence[Dose]) -> Picture:
    figure, axes = canvas(FULL, 3.5, 1, 3)
    for place, method in enumerate(source.methods):
        _draw_share(axes[0, 0], doses.shares(curve, method), method, (place, len(source.methods)))
    axes[0, 0].axhline(source.results.threshold, color=INK, lw=1.0, ls=(0, (3, 2)))
    axes[0, 0].set_title("label share L")
    handles, _ = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    _draw_models(source, axes[0, 1], curve, lambda one: one.test.auroc)
    axes[0, 1].axhline(0.5, color=GREY, lw=0.8, ls=":")
    axes[0, 1].set_title("AUROC on test, true labels")
    _draw_models(source, axes[0, 2], curve, lambda one: one.on_its_labels)
    axes[0, 2].axhline(source.job.train.memorise, color=INK, lw=1.0, ls=(0, (3, 2)))
    axes[0, 2].set_title("balanced accuracy on its labels")
    for ax in axes.flat:
        ax.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=" %"))
        ax.set_xticks(sorted({one.fraction for one in curve}))
        ax.set_xlabel("training labels permuted")
    measured = curve[1].fraction == 0
    at_none = "the true labels once more, trained as the others" if measured else "0 by definition"
    several = len({one.fraction for one in curve[1:]}) < len(curve) - 1
    line = " Of several arms of one dose each is drawn, and the line goes through their mean." if several else ""
    said = [f"{method_name(method)}: {doses.read(curve, method) or 'no L'}" for method in source.methods]
    return picture(
        figure,
        "doses",
        f"Label share, AUROC and memorisation by share of labels permuted. {' '.join(said)} {_auroc(source, curve)}",
        "Left: L by the share of the training labels that is permuted, with 95 % intervals; at 0 % it is"
        f" {at_none}, and the dashed line is the threshold.{line} Middle and right: each model, and"
        " the mean of the models of a dose; blue where labels are true. The dashed line right is the memorisation"
        " required.",
        wide=True,
    )


def _draw_share(ax: Axes, found: Sequence[tuple[Dose, Estimate]], method: str, place: tuple[int, int]) -> None:
    """`place` of a method among so many."""
    colour, mark = CLASSES[place[0] % len(CLASSES)], MARKERS[place[0] % len(MARKERS)]
    aside = (place[0] - (place[1] - 1) / 2) * _BESIDE
    points = [(dose.fraction, share.value or 0.0) for dose, share in found]
    if all(fraction > 0 for fraction, _ in points):
        points.insert(0, (0.0, 0.0))  # by definition, unless measured
    at, values = np.array(points).T
    values = np.clip(values, *_REACH)
    of_dose = {fraction: values[at == fraction].mean() for fraction in np.unique(at)}
    ax.plot([fraction + aside for fraction in of_dose], [*of_dose.values()], color=colour)
    ax.plot(at + aside, values, color=colour, marker=mark, ms=5, ls="none")
    ax.plot([], [], color=colour, marker=mark, ms=5, label=method_name(method))
    for dose, share in found:
        if ends := estimates.ends(share):
            reach = np.clip([ends.low, ends.high], *_REACH)
            ax.vlines(dose.fraction + aside, *reach, color=colour, lw=1.2, alpha=0.7)


def _draw_models(source: Source, ax: Axes, curve: Sequence[Dose], of: Callable[[VariantResult], float | None]) -> None:
    of_dose: dict[float, list[float]] = {}
    for dose in curve:
        found = [of(source.results.variants[name]) for name in _models(source, dose)]
        known = [value for value in found if value is not None]
        ax.plot([dose.fraction] * len(known), known, "o", ms=4.5, color=TRUE if dose.arm is None else RANDOM, alpha=0.7)
        if known and not (dose.arm is None and curve[1].fraction == 0):  # else two kinds are averaged at 0
            of_dose.setdefault(dose.fraction, []).extend(known)
    means = [float(np.mean(known)) for known in of_dose.values()]
    ax.add_line(Line2D([*of_dose], means, color=GREY, lw=1.2, zorder=1))


def _models(source: Source, dose: Dose) -> list[str]:
    return source.true if dose.arm is None else dose.arm.variants


def _auroc(source: Source, curve: Sequence[Dose]) -> str:
    parts = []
    for dose in curve:
        found = [source.results.variants[name].test.auroc for name in _models(source, dose)]
        known = [value for value in found if value is not None]
        parts.append(f"{number(float(np.mean(known)), 2) if known else 'none'} at {doses.named(dose, curve)}")
    return f"Mean AUROC: {', '.join(parts)}."
