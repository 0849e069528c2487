"""Passes over data that grow, side by side: do label share, similarity, accuracy and empty maps drift?"""

import pandas as pd
from matplotlib.axes import Axes

from pneumo_batch.core.statistics.wording import listed, method_name
from pneumo_batch.report.figures import base
from pneumo_batch.report.parts import Block, Fold, Heading, Picture, Table, Text, interval, number, shortened
from pneumo_batch.report.source import Source, of_target
from pneumo_batch.rundir.layout import PASSES

_MEASURES = (
    ("share", "L"),
    ("mean_tt", "TT"),
    ("mean_tn", "TN"),
    ("mean_ttx", "TTx"),
    ("mean_tnx", "TNx"),
    ("accuracy", "accuracy"),
    ("degenerate", "empty"),
)


def blocks(source: Source) -> list[Block]:
    """What a run's passes show; nothing where there was one."""
    if not source.run.store.exists(PASSES):
        return []
    frame = of_target(source.run.passes(), source.results.target)
    if frame["pass"].nunique() < 2:
        return []
    lines = [Text(_sentence(rows)) for _, rows in frame.groupby("method")]
    drawn = _picture(frame, source.results.threshold)
    return [Heading("From pass to pass"), *lines, drawn, Fold("Every pass", [_table(frame)])]


def _sentence(rows: pd.DataFrame) -> str:
    """How far a method's last pass is from its first."""
    first, last = rows.iloc[0], rows.iloc[-1]
    moved = [
        f"{name} {_value(first, column)} to {_value(last, column)}"
        for column, name in _MEASURES
        if pd.notna(first[column]) and pd.notna(last[column])
    ]
    changed = "still" if first["verdict"] == last["verdict"] else f"{first['verdict']} at first, now"
    images = f"{first['attributed']} to {last['attributed']} images"
    method = method_name(last["method"])
    return f"{method}, pass {first['pass']} to {last['pass']}, {images}: {listed(moved)}; {changed} {last['verdict']}."


def _value(row: pd.Series, column: str) -> str:
    value = number(float(row[column]))
    if column != "share" or pd.isna(row["share_low"]) or pd.isna(row["share_high"]):
        return value
    return f"{value} ({interval(float(row['share_low']), float(row['share_high']))})"


def _picture(frame: pd.DataFrame, threshold: float) -> Picture:
    """Above, the label share and its interval by pass; below, what it is made of; a column for each method."""
    methods = sorted(frame["method"].unique())
    figure, axes = base.canvas(3.4 * len(methods), 4.2, 2, len(methods), sharey="row", sharex=True)
    for (above, below), method in zip(axes.T, methods, strict=True):
        rows = frame[frame["method"] == method]
        _draw_share(above, rows, threshold)
        for (column, name), colour, marker in zip(_MEASURES[1:], base.CLASSES, base.MARKERS, strict=False):
            below.plot(rows["pass"], rows[column].astype(float), color=colour, marker=marker, markersize=4, label=name)
        above.set_title(shortened(method_name(method), 30))
        below.set(xlabel="pass", xticks=sorted(rows["pass"]))
    axes[0, 0].set_ylabel("label share L")
    figure.legend(handles=axes[1, 0].get_legend_handles_labels()[0], loc="outside right lower", fontsize=7.5)
    values = "; ".join(
        f"{method_name(row['method'])}, pass {row['pass']}: {_value(row, 'share')}" for _, row in frame.iterrows()
    )
    alt = f"Label share by pass, above mean similarities, accuracy and share of empty maps. {values}."
    caption = (
        "Primary measure. Bars are 95 % intervals over patients and models, the dashed line is the threshold; accuracy"
        " is that of the true models on test."
    )
    return base.picture(figure, "passes", alt, caption, wide=True)


def _draw_share(ax: Axes, rows: pd.DataFrame, threshold: float) -> None:
    found = rows[["pass", "share", "share_low", "share_high"]].astype(float).to_numpy()
    ax.axhline(threshold, color=base.INK, lw=1, ls=(0, (3, 2)))
    ax.plot(found[:, 0], found[:, 1], color=base.TRUE, marker="o", markersize=4)
    ax.vlines(found[:, 0], found[:, 2], found[:, 3], color=base.TRUE, lw=2, alpha=0.4)


def _table(frame: pd.DataFrame) -> Table:
    rows = [[row[name] for name in frame.columns] for row in frame.to_dict("records")]
    return Table("passes", "Passes over the data.", list(frame.columns), rows)
