"""Passes over data that grow, side by side: whether similarity, accuracy and empty maps drift from night to night."""

from typing import Any

import pandas as pd

from pneumo_batch.layout import PASSES
from pneumo_batch.report import figures
from pneumo_batch.report.parts import Heading, Picture, Section, Table, Text, listed, method_name, number
from pneumo_batch.report.source import Source

_MEASURES = (
    ("mean_tt", "TT"),
    ("mean_tn", "TN"),
    ("mean_ttx", "TTx"),
    ("accuracy", "accuracy"),
    ("degenerate", "empty"),
)


def add(section: Section, source: Source) -> Section:
    """The section with what its passes show at its end; as it is where there was one pass."""
    if not source.run.store.exists(PASSES):
        return section
    frame = source.run.passes()
    if frame["pass"].nunique() < 2:
        return section
    lines = [Text(_sentence(rows)) for _, rows in frame.groupby("method")]
    blocks = [Heading("From pass to pass"), *lines, _picture(frame), _table(frame)]
    return Section(section.anchor, section.title, [*section.blocks, *blocks])


def _sentence(rows: pd.DataFrame) -> str:
    """How far a method's last pass is from its first."""
    first, last = rows.iloc[0], rows.iloc[-1]
    moved = [
        f"{name} {number(float(first[column]))} to {number(float(last[column]))}"
        for column, name in _MEASURES
        if pd.notna(first[column]) and pd.notna(last[column])
    ]
    changed = "still" if first["verdict"] == last["verdict"] else f"{first['verdict']} at first, now"
    images = f"{first['attributed']} to {last['attributed']} images"
    method = method_name(last["method"])
    return f"{method}, pass {first['pass']} to {last['pass']}, {images}: {listed(moved)}; {changed} {last['verdict']}."


def _picture(frame: pd.DataFrame) -> Picture:
    methods = sorted(frame["method"].unique())
    figure, axes = figures.canvas(3.4 * len(methods), 2.4, 1, len(methods), sharey=True)
    for ax, method in zip(axes[0], methods, strict=True):
        rows = frame[frame["method"] == method]
        for (column, name), colour, marker in zip(_MEASURES, figures.CLASSES, figures.MARKERS, strict=False):
            ax.plot(rows["pass"], rows[column].astype(float), color=colour, marker=marker, markersize=4, label=name)
        ax.set(title=method_name(method), xlabel="pass", xticks=sorted(rows["pass"]))
    axes[0][0].legend()
    alt = "Mean similarities, accuracy and share of empty maps by pass."
    return figures.picture(figure, "passes", alt, "Primary measure; accuracy of the true models on test.", wide=True)


def _table(frame: pd.DataFrame) -> Table:
    rows: list[list[Any]] = [[row[name] for name in frame.columns] for row in frame.to_dict("records")]
    return Table("passes", "Passes over the data.", list(frame.columns), rows)
