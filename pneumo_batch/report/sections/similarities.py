"""Tables of the verdict section that hold for all methods: every similarity, localisation, constant maps."""

from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report.figures.base import KINDS
from pneumo_batch.report.parts import Block, Fold, Table, Text
from pneumo_batch.report.sections import localisation, method_details
from pneumo_batch.report.source import Source


def blocks(source: Source) -> list[Block]:
    folds = [Fold("All similarities, and the test of every method", [_numbers_table(source), _summary_table(source)])]
    return [*folds, *localisation.blocks(source), *_degenerate(source)]


def _numbers_table(source: Source) -> Table:
    """Means by kind of the primary cell and its test, a row for each method."""
    rows = []
    for method in source.methods:
        found = source.results.methods[method]
        means = [found.numbers.means.get(kind) for kind in KINDS]
        rows.append([method_name(method), found.verdict, *means, *method_details.columns(found.numbers)])
    header = ["method", "verdict", *(short for short, _, _ in KINDS.values()), *method_details.HEADER]
    chosen = source.results.primary
    where = f"{chosen.view} view, {chosen.scale} scale, {chosen.metric}"
    return Table("verdict", f"Mean similarity by kind of pair, and the test ({where}).", header, rows)


def _summary_table(source: Source) -> Table:
    header = list(source.summary.columns)
    rows = source.summary.astype(object).where(source.summary.notna(), None).to_numpy().tolist()
    filters = ("class_name", "method", "view", "scale", "metric", "kind")
    return Table(
        "summary",
        "Every similarity of the run: means over images of each class, with 95 % intervals over patients.",
        header,
        rows,
        filters,
        {"class_name": "all", **vars(source.results.primary)},
    )


def _degenerate(source: Source) -> list[Block]:
    counts = source.results.degenerate
    rows = []
    for key, by_variant in counts.items():
        method, _, view = key.rpartition("/")
        rows.append([method_name(method), view, *(by_variant.get(name) for name in source.variants)])
    total = sum(by_variant.get(name, 0) for by_variant in counts.values() for name in source.variants)
    if not total:
        return [Text(f"Constant maps: none of the {source.attributed.num_rows} images has one.", "note")]
    caption = (
        f"Images, of {source.attributed.num_rows}, on which a variant's map is constant. Such a map has no similarity"
        " to anything and is left out of every mean."
    )
    table = Table("degenerate", caption, ["method", "view", *source.variants], rows)
    return [Fold(f"Constant maps: {total}", [table])]
