"""Figures of the data section.

Shapes: N images, H x W pixels.
"""

import io

import numpy as np
from matplotlib.lines import Line2D
from PIL import Image

from pneumo_batch.report.figures.base import (
    DASHES,
    HALF,
    INK,
    LABEL,
    MARKERS,
    canvas,
    class_colour,
    columns_of,
    legend_above,
    picture,
)
from pneumo_batch.report.parts import Picture, number, shortened, slug
from pneumo_batch.report.source import Source

STRIP_SIDE, _GAP = 140, 4
_MEANS_A_ROW, _MEANS_ROW = 4, 1.35  # mean images, inches
_EDGES = np.arange(11, 256, 7)  # whole grey values, equally many in each bin
_BLACK = 10  # of 255: padding and what a lossy file makes of it


def counts(source: Source) -> Picture:
    """Stacked bars: a bar a split and class, its parts the subtypes."""
    found = source.audit.counts
    bars = [(split, name, parts) for split, by_class in found.items() for name, parts in by_class.items()]
    figure, axes = canvas(HALF, 0.8 + 0.34 * len(bars))
    ax, inside = axes[0, 0], []
    for place, (_, name, parts) in enumerate(bars):
        left, label = 0, source.classes.index(name) if name in source.classes else len(source.classes)
        paler = min(0.4, 0.8 / max(1, len(parts) - 1))  # so that the last of many can still be seen
        for position, (subtype, count) in enumerate(parts.items()):
            alpha = 1 - paler * position
            (bar,) = ax.barh(place, count, left=left, color=class_colour(label), alpha=alpha, height=0.7)
            if len(parts) > 1:
                words = f"{subtype} {count}" if subtype != "-" else str(count)
                centred = {"ha": "center", "va": "center", "color": "#1c1f23", "fontsize": 8}
                inside.append((bar, ax.text(left + count / 2, place, words, **centred)))
            left += count
        beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(str(left), (left, place), fontsize=8, color="#4a5058", **beside)
    ax.set_yticks(range(len(bars)), [f"{split}, {shortened(name, LABEL)}" for split, name, _ in bars])
    ax.set_ylim(len(bars) - 0.5, -0.5)
    ax.grid(False, axis="y")
    ax.set_xlabel("images")
    ax.margins(x=0.1)
    figure.draw_without_rendering()  # the layout tells how wide a bar is
    for bar, text in inside:
        text.set_visible(text.get_window_extent().width < 0.9 * bar.get_window_extent().width)
    words = "; ".join(f"{split} {name} {sum(parts.values())}" for split, name, parts in bars)
    caption = "Images by split and class."
    if any(len(parts) > 1 for _, _, parts in bars):
        caption += " Parts of a bar are the subtypes, in the order of the table and each paler than the one before."
    return picture(figure, "counts", f"Images by split and class: {words}.", caption)


def sizes(source: Source) -> Picture:
    figure, axes = canvas(HALF, 3.4)
    ax, rows = axes[0, 0], source.manifest
    for label, name in enumerate(source.classes):
        of_class = rows[rows["class_name"] == name]
        style = {"marker": MARKERS[label % len(MARKERS)], "color": class_colour(label)}
        ax.scatter(of_class["width"], of_class["height"], s=16, alpha=0.5, lw=0, label=name, rasterized=True, **style)
    ax.set_xlabel("width, pixels")
    ax.set_ylabel("height, pixels")
    legend_above(figure, ax)
    span = f"{rows['width'].min()} to {rows['width'].max()} wide, {rows['height'].min()} to {rows['height'].max()} high"
    return picture(figure, "sizes", f"Width against height of every image: {span}.", "Width and height as stored.")


def aspects(source: Source) -> Picture:
    figure, axes = canvas(HALF, 3.4)
    ax, rows = axes[0, 0], source.manifest
    ratio = rows["width"] / rows["height"]
    edges = np.histogram_bin_edges(ratio, 40)
    for label, name in enumerate(source.classes):
        values = ratio[rows["class_name"] == name]
        share = np.full(len(values), 1 / max(1, len(values)))
        ax.hist(
            values,
            edges,
            weights=share,
            histtype="step",
            lw=1.6,
            color=class_colour(label),
            label=name,
            ls="-" if label % 2 == 0 else "--",
        )
    ax.set_xlabel("width / height")
    ax.set_ylabel("share of the class's images")
    legend_above(figure, ax)
    medians = "; ".join(
        f"{name} {number(float(ratio[rows['class_name'] == name].median()), 2)}" for name in source.classes
    )
    caption = "Aspect ratio as stored. Where it differs by class, padding could tell the class."
    return picture(figure, "aspects", f"Histograms of the aspect ratio; medians: {medians}.", caption)


def brightness(stacks: dict[str, np.ndarray]) -> Picture:
    """Histogram of grey values of each class, padding left out."""
    figure, axes = canvas(HALF, 3.4)
    ax, words = axes[0, 0], []
    for label, (name, stack_NHW) in enumerate(stacks.items()):
        values = stack_NHW[stack_NHW > _BLACK]
        density, _ = np.histogram(values, _EDGES, density=True)
        ax.stairs(
            density * 255,
            _EDGES / 255,
            color=class_colour(label),
            lw=1.6,
            label=name,
            ls="-" if label % 2 == 0 else "--",
        )
        words.append(f"{name} {number(float(values.mean()) / 255)}")
    ax.set_xlabel("grey value, from black 0 to white 1 (black itself left out)")
    ax.set_ylabel("density of pixels")
    legend_above(figure, ax)
    alt = f"Histograms of grey values by class; means: {'; '.join(words)}."
    return picture(figure, "brightness", alt, "Grey values by class.")


def drift(stacks: dict[tuple[str, str], np.ndarray]) -> Picture:
    """Mean grey value of single images, a panel for each class, a line for each split."""
    names, splits = (list(dict.fromkeys(key[place] for key in stacks)) for place in (1, 0))
    drawn: dict[str, Line2D] = {}
    rows, columns = columns_of(len(names), 1 if len(names) <= 4 else 2)
    figure, axes = canvas(HALF, 0.8 + 1.5 * rows, rows, columns, sharex=True)
    levels = {key: stack_NHW.mean(axis=(1, 2)) / 255 for key, stack_NHW in stacks.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(levels.values())), 16)
    for label, (ax, name) in enumerate(zip(axes.flat, names, strict=False)):
        shown = [split for split in splits if (split, name) in levels]
        for place, split in enumerate(shown):
            values_N, style = levels[split, name], {"ls": DASHES[place], "lw": 1.6, "color": class_colour(label)}
            share = np.full(len(values_N), 1 / len(values_N))
            ax.hist(values_N, edges, weights=share, histtype="step", label=split, **style)
        ax.set_title(shortened(name, 2 * LABEL // columns), fontsize=8.5)
        ax.set_ylabel("share of images", fontsize=8)
        drawn |= {split: Line2D([], [], color=INK, label=split, ls=DASHES[place]) for place, split in enumerate(shown)}
    figure.legend(handles=list(drawn.values()), loc="outside upper center", ncols=len(drawn))
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    figure.supxlabel("mean grey value of an image, from black 0 to white 1", fontsize=9)
    words = "; ".join(f"{split} {name} {number(float(values.mean()))}" for (split, name), values in levels.items())
    caption = "Mean grey value of single images by split: where the lines differ, test is not what was trained on."
    return picture(figure, "drift", f"Mean grey value by split and class: {words}.", caption)


def means(stacks: dict[str, np.ndarray]) -> Picture:
    """Mean image of each class, and of two classes their difference."""
    mean_images = {name: stack_NHW.mean(axis=0) / 255 for name, stack_NHW in stacks.items()}
    names, pair = list(mean_images), len(mean_images) == 2
    rows, columns = columns_of(len(mean_images) + pair, _MEANS_A_ROW)
    figure, axes = canvas(HALF, 2.4 if rows == 1 else _MEANS_ROW * rows, rows, columns)
    figure.set_layout_engine("compressed")
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, mean_HW) in zip(axes.flat, mean_images.items(), strict=False):
        ax.imshow(mean_HW, cmap="gray", vmin=0, vmax=1)
        ax.set_title(shortened(name, min(16, 48 // columns)), fontsize=8)
    text = f"Mean image of {', '.join(mean_images)}"
    if pair:
        first, second = mean_images.values()
        limit = float(np.abs(second - first).max()) or 1.0
        shown = axes[0, -1].imshow(second - first, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes[0, -1].set_title("difference", fontsize=8)
        figure.colorbar(shown, ax=axes[0, -1], location="bottom", shrink=0.9)
        text += f", and their difference of at most {number(limit, 2)}"
    return picture(
        figure,
        "mean_images",
        f"{text}.",
        "Mean image of each class, black 0 and white 1"
        + (f"; difference: {names[1]} less {names[0]}, red where {names[1]} is brighter." if pair else "."),
    )


def strip(name: str, films: list[np.ndarray]) -> Picture:
    """Examples of a group beside each other, each `STRIP_SIDE` pixels a side."""
    step = STRIP_SIDE + _GAP
    sheet = Image.new("L", (step * len(films) - _GAP, STRIP_SIDE), 255)
    for place, film_HW in enumerate(films):
        sheet.paste(Image.fromarray(film_HW), (place * step, 0))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    alt = f"{len(films)} images of {name}, drawn by a seeded rule."
    return Picture(f"examples_{slug(name)}", buffer.getvalue(), alt, name, suffix="png", wide=True)
