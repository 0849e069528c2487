"""Parameter randomization in the verdict section: what is left of a map when the network forgets its layers."""

import pandas as pd

from pneumo_batch.core.statistics.randomised import Randomised
from pneumo_batch.core.statistics.wording import method_name, of_the_first
from pneumo_batch.report.figures import curves
from pneumo_batch.report.parts import Block, Fold, Table, Text, interval, number
from pneumo_batch.report.source import Source


def blocks(source: Source) -> list[Block]:
    """The output's entropy, a figure for each method and the table of all curves; nothing without `cascade.seeds`."""
    rows = source.cascade_summary
    if rows is None:
        return []
    metric = source.results.primary.metric
    found: list[Block] = [Text(_about(source, rows), "note"), curves.entropy(rows)]
    for method in source.methods:
        mine = rows[(rows["method"] == method) & (rows["metric"] == metric)]
        found += [Text(_in_words(source, method, mine)), curves.randomization(source, method, metric, mine)]
    found += _ends(source)
    of = of_the_first(source.results.first_target)
    return [Fold(f"Parameter randomization{of}: the network forgets layer by layer", [*found, _table(source, rows)])]


def _about(source: Source, rows: pd.DataFrame) -> str:
    seeds, layers = source.job.cascade.seeds, int(rows["depth"].max())
    curve = rows[rows["mode"] == "cascade"].sort_values("depth")["entropy"]
    return (
        f"The other test of Adebayo et al.: {rows['variant'].iloc[0]} with its {layers} layers re-initialised from the"
        f" output down, without training; {len(seeds)} draw{'s' * (len(seeds) > 1)} of fresh weights,"
        f" {int(rows['images'].max())} images. It concerns one trained network and enters no verdict. The"
        f" output's entropy goes from {number(float(curve.iloc[0]), 2)} to {number(float(curve.iloc[-1]), 2)} bits."
    )


def _in_words(source: Source, method: str, rows: pd.DataFrame) -> str:
    """The curve of the primary view and scale from its first layer to its last."""
    cell = source.primary(method)
    curve = rows[(rows["view"] == cell.view) & (rows["scale"] == cell.scale) & (rows["mode"] == "cascade")]
    points = curve.sort_values("depth").to_dict("records")
    first, last = points[1], points[-1]
    gone = int(curve["degenerate"].sum())
    pairs = int(curve["pairs"].sum())
    lost = f" Constant maps have no similarity and are left out: {gone} of {pairs} pairs." if gone else ""
    return (
        f"{method_name(method)}, {cell.view} view, {cell.scale} scale: {cell.metric} to the original is"
        f" {number(first['mean'], 2)} ({interval(first['ci_low'], first['ci_high'])}) with only the top layer"
        f" ({first['layer']}) re-initialised, and {number(last['mean'], 2)}"
        f" ({interval(last['ci_low'], last['ci_high'])}) with all of them re-initialised.{lost}"
    )


def _ends(source: Source) -> list[Block]:
    """All layers new: the tests of Hedström et al. beside the similarity; nothing of runs that did not measure them."""
    ends = source.results.cascade or {}
    if all(end.emprt.value is None for end in ends.values()):
        return []
    chosen, settings = source.results.primary, source.job.cascade
    caption = (
        f"All layers re-initialised, {chosen.view} view. MPRT: {chosen.metric} ({chosen.scale} scale) of maps to the"
        " original's. sMPRT: the same for maps averaged over noisy inputs; its ceiling is the similarity of the"
        " original to itself under other noise. eMPRT: relative rise of the entropy of a map's histogram"
        f" ({settings.bins} bins): above 0 the map became more complex, which says nothing about what is left of it."
        " Means over images with 95 % intervals over patients (Hedström et al., A Fresh Look at Sanity Checks for"
        " Saliency Maps, 2024)."
    )
    header = ["method", *(name for one in ("MPRT", "sMPRT", "ceiling", "eMPRT") for name in (one, f"{one} interval"))]
    rows = [[method_name(method), *_columns(ends[method])] for method in source.methods if method in ends]
    averaged = f"averaged over {settings.noisy} inputs, noise of {settings.noise:g} of the range"
    note = f"sMPRT: {averaged}." if settings.noisy else "sMPRT was not measured (cascade.noisy is 0)."
    return [Table("randomization_ends", caption, header, rows), Text(note, "note")]


def _columns(end: Randomised) -> list[object]:
    shown: list[object] = []
    for one in (end.mprt, end.smprt, end.smprt_ceiling, end.emprt):
        shown += [one.value, interval(one.ci_low, one.ci_high)]
    return shown


def _table(source: Source, rows: pd.DataFrame) -> Table:
    shown = rows.drop(columns="variant")
    values = shown.astype(object).where(shown.notna(), None).to_numpy().tolist()
    filters = ("method", "view", "scale", "metric", "mode")
    at_first = {**vars(source.results.primary), "mode": "cascade"}
    caption = (
        f"Similarity of the maps of {rows['variant'].iloc[0]} to those it has with layers re-initialised, by depth from"
        " the output down, with 95 % intervals over patients."
    )
    return Table("randomization", caption, list(shown.columns), values, filters, at_first)
