"""What the maps of two targets share, of what those of one target do: a bar for every method and two targets."""

import numpy as np
from matplotlib.lines import Line2D

from pneumo_batch.core.statistics.estimates import Estimate
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report import estimates
from pneumo_batch.report.figures.base import GREY, HALF, INK, LABEL, SPECIFIC, canvas, picture
from pneumo_batch.report.parts import Picture, number, shortened
from pneumo_batch.report.source import Source

_REACH = (-0.5, 2.0)  # of a small h the share is anything


def draw(source: Source) -> Picture | None:
    """The ratio c / h with its interval, against what the threshold leaves; beside it what random labels leave."""
    rows = [
        (method_name(method), one)
        for method in source.methods
        for one in source.results.specificity.get(method, [])
        if one.numbers.share.value is not None
    ]
    if not rows:
        return None
    figure, axes = canvas(HALF, 1.1 + 0.36 * len(rows))
    ax = axes[0, 0]
    ax.set_xlim(*_REACH)
    most = 1 - source.results.threshold
    for at, style in ((0.0, "-"), (1.0, "-"), (most, "--")):
        ax.axvline(at, color=INK if style == "--" else "#c2c7ce", lw=1, ls=style)
    names, said = [], []
    for place, (name, one) in enumerate(rows):
        share, colour = one.numbers.share, SPECIFIC[one.for_these_models or one.verdict]
        value = max(_REACH[0], min(_REACH[1], share.value or 0.0))
        ax.barh(place, value, 0.5, color=colour, alpha=0.3 if one.verdict == "invalid" else 0.85)
        if ends := estimates.ends(share):
            ax.plot(np.clip(ends[:2], *_REACH), [place, place], color=INK, lw=1.3)
        for edge, mark in zip(_REACH, beyond(share), strict=True):
            if mark:
                ax.plot(edge, place, mark, color=INK, ms=6, clip_on=False, zorder=6)
        if one.numbers.random_share is not None:
            ax.plot(one.numbers.random_share, place, "D", color="white", mec=GREY, ms=5, zorder=5)
        targets = [shortened(target, LABEL // 2) for target in one.targets]
        names.append(f"{shortened(name, LABEL)}\n{' – '.join(targets)}: {one.verdict}")
        said.append(f"{name}, {' and '.join(one.targets)}: {estimates.written(share, 2)}, {one.verdict}")
    ax.set_yticks(range(len(rows)), names, fontsize=8)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(False, axis="y")
    ax.set_xlabel("c / h: 0, another map for another target; 1, the same", fontsize=8)
    keys = [
        Line2D([], [], color="white", marker="D", mec=GREY, ms=5, label="what random labels leave, k / h"),
        Line2D([], [], color=INK, lw=1, ls="--", label=f"threshold {number(most, 2)}"),
    ]
    figure.legend(handles=keys, loc="outside lower center", fontsize=8, ncols=2)
    about = "Of what two true models agree on about a film, what is left when each explains another target."
    alt = f"{about} {'; '.join(said)}."
    caption = (
        "Of what two true models agree on about a film, what is left when each is asked for another target, with 95 %"
        f" intervals; an arrow leads beyond the axis. Left of the dashed line ({number(most)}) maps say which target is"
        " explained."
    )
    return picture(figure, "specificity", alt, caption)


def beyond(share: Estimate) -> tuple[str, str]:
    """Arrows at the left and right end of the axis, where the ratio or its interval goes on; else ""."""
    ends = estimates.ends(share)
    reached = [share.value or 0.0, *(ends[:2] if ends else ())]
    return "<" * (min(reached) < _REACH[0]), ">" * (max(reached) > _REACH[1])
