"""Parameter randomization in the verdict section: what is left of a map when the network forgets its layers."""

from typing import Any

import pandas as pd

from pneumo_batch.report import curve_figures
from pneumo_batch.report.parts import Fold, Heading, Table, Text, interval, method_name, number
from pneumo_batch.report.source import Source


def blocks(source: Source) -> list[Any]:
    """A figure for each method and the table of all curves; nothing for a job without `cascade.seeds`."""
    rows = source.cascade_summary
    if rows is None:
        return []
    metric = source.verdict["primary"]["metric"]
    found: list[Any] = [Heading("Parameter randomization"), Text(_about(source, rows), "note")]
    for method in source.methods:
        mine = rows[(rows["method"] == method) & (rows["metric"] == metric)]
        found += [Text(_in_words(source, method, mine)), curve_figures.randomization(source, method, metric, mine)]
    return [*found, Fold("Every curve of parameter randomization", [_table(source, rows)])]


def _about(source: Source, rows: pd.DataFrame) -> str:
    seeds, layers = source.job.cascade.seeds, int(rows["depth"].max())
    return (
        f"The other test of Adebayo et al.: {rows['variant'].iloc[0]} with its {layers} layers re-initialised from the"
        f" output down, without training; {len(seeds)} draw{'s' * (len(seeds) > 1)} of fresh weights,"
        f" {int(rows['images'].max())} images. It speaks of one trained network and enters no verdict."
    )


def _in_words(source: Source, method: str, rows: pd.DataFrame) -> str:
    """The curve of the primary view and scale from its first layer to its last, with the entropy."""
    cell = source.primary(method)
    curve = rows[(rows["view"] == cell.view) & (rows["scale"] == cell.scale) & (rows["mode"] == "cascade")]
    points = curve.sort_values("depth").to_dict("records")
    untouched, first, last = points[0], points[1], points[-1]
    gone = int(curve["degenerate"].sum())
    pairs = int(curve["pairs"].sum())
    lost = f" Without a similarity, and left out: {gone} of {pairs}, the maps being constant." if gone else ""
    return (
        f"{method_name(method)}, {cell.view} view, {cell.scale} scale: {cell.metric} to the original is"
        f" {number(first['mean'], 2)} ({interval(first['ci_low'], first['ci_high'])}) once the top layer alone"
        f" ({first['layer']}) is new, and {number(last['mean'], 2)} ({interval(last['ci_low'], last['ci_high'])}) with"
        f" all of them; the output's entropy goes from {number(untouched['entropy'], 2)} to"
        f" {number(last['entropy'], 2)} bits.{lost}"
    )


def _table(source: Source, rows: pd.DataFrame) -> Table:
    shown = rows.drop(columns="variant")
    values = shown.astype(object).where(shown.notna(), None).to_numpy().tolist()
    chosen = source.verdict["primary"]
    filters = ("method", "view", "scale", "metric", "mode")
    at_first = {"view": chosen["view"], "scale": chosen["scale"], "metric": chosen["metric"], "mode": "cascade"}
    caption = (
        f"Similarity of the maps of {rows['variant'].iloc[0]} to those it has with layers re-initialised, by depth from"
        " the output down, with 95 % intervals over patients."
    )
    return Table("randomization", caption, list(shown.columns), values, filters, at_first)
