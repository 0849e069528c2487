"""Draws the picture of the README from a run: python docs/images/result.py RUN docs/images/result.png

It shows one generated film with an opacity: the one whose TT - TN of Grad-CAM is the median.
"""

import io
import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from pneumo_batch import Run
from pneumo_batch.core.similarity import metrics
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report.figures import base
from pneumo_batch.report.source import Source

_VIEW = "magnitude"


def choose(source: Source) -> str:
    """The id of the film to show."""
    cell, data = source.primary("grad_cam"), source.similarities
    added_N = data.means(cell, "true_true") - data.means(cell, "true_random")
    shown_N = np.flatnonzero(~np.isnan(added_N) & (data.labels_N == 1))
    middle = np.argsort(added_N[shown_N])[len(shown_N) // 2]
    return source.attributed["image_id"].to_pylist()[shown_N[middle]]


def draw(source: Source) -> Figure:
    """A row for each method: the film, its map under every variant, and how much of the agreement depends on labels."""
    image_id, size = choose(source), source.run.preprocess().size
    film_HW = source.films.read([image_id], 224)[image_id]
    columns = 2 + len(source.variants)
    figure = Figure(figsize=(2 * columns, 2.1 * len(source.methods)), layout="constrained")
    widths = [1] * (columns - 1) + [1.7]
    axes = figure.subplots(len(source.methods), columns, squeeze=False, width_ratios=widths)
    for row, method in zip(axes, source.methods, strict=True):
        maps = [source.run.maps(method, name) for name in source.variants]
        maps_VHW = np.stack([maps_NHW[ids.index(image_id)] for ids, maps_NHW in maps])
        maps_VHW = metrics.prepare(maps_VHW, method, _VIEW, size)
        clip = float(np.percentile(maps_VHW, 99))
        for ax in row[:-1]:
            ax.imshow(film_HW, cmap="gray", extent=(0, 1, 0, 1))
            ax.set_axis_off()
        row[0].set_title(method_name(method), fontsize=9)
        for ax, name, map_HW in zip(row[1:-1], source.variants, maps_VHW, strict=True):
            ax.imshow(map_HW, cmap="inferno", vmin=0, vmax=clip, alpha=0.75, extent=(0, 1, 0, 1))
            ax.set_title(f"{name.partition('_')[0]} labels", fontsize=9, fontweight="normal")
        draw_shares(row[-1], source, method)
    return figure


def draw_shares(ax, source: Source, method: str) -> None:
    """What two true models agree on about a film, and what of it is left with random labels."""
    found = source.results.methods[method]
    values = [estimate.value or 0.0 for estimate in (found.numbers.headroom, found.numbers.remainder)]
    ax.barh([0, 1], values, height=0.62, color=[base.KINDS["true_true"][2], base.KINDS["true_random"][2]])
    ax.set_yticks([0, 1], ["two true models agree\non a film by", "of it left with\nrandom labels"])
    for place, value in enumerate(values):
        ax.text(max(value, 0) + 0.01, place, f"{value:.2f}", va="center", fontsize=9)
    ax.set_ylim(1.6, -0.6)
    most = max(one.numbers.headroom.value or 0.0 for one in source.results.methods.values())
    ax.set_xlim(min(0, *values), 1.25 * max(most, 0.1))
    ax.grid(False, axis="y")
    share = found.numbers.share.value
    owned = "" if share is None else f": labels own {100 * min(max(share, 0), 1):.0f} %"
    ax.set_title(f"{found.verdict}{owned}", fontsize=9)


def main(run: str, out: str) -> None:
    buffer = io.BytesIO()
    with matplotlib.rc_context(base.STYLE):
        draw(Source(Run(run))).savefig(buffer, format="png", dpi=68)
    Image.open(buffer).convert("RGB").save(Path(out), optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
