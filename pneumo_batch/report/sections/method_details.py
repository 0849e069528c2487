"""Everything about one method that the verdict's first screen leaves out, behind one line."""

from collections.abc import Mapping
from typing import Any

from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report import estimates
from pneumo_batch.report.figures import curves, forest, verdict
from pneumo_batch.report.parts import Fold, Heading, Items, Picture, Side, Table, Text, number, slug
from pneumo_batch.report.source import Source

HEADER = ["L", "interval", "h", "k", "everywhere", "on the film", "TT − TN", "p over models"]
_SOURCES = {"true": "true models", "random": "random models", "patients": "patients"}


def columns(numbers: Mapping[str, Any]) -> list[Any]:
    """A cell's values under `HEADER`."""
    quantities = ("headroom", "remainder", "everywhere", "image_specific", "difference")
    test = numbers["permutation"]["image_specific"]
    values = [numbers[name]["value"] for name in quantities]
    return [numbers["share"]["value"], estimates.interval(numbers["share"]), *values, test["p"] if test else None]


def shared(source: Source, key: str) -> list[str]:
    """Sentences that all methods have in common, to be said once for all."""
    first, *others = (source.verdict["methods"][method][key] for method in source.methods)
    return [line for line in first if all(line in lines for lines in others)]


def fold(source: Source, method: str, ladder: Picture | None) -> Fold:
    """`ladder` is None where it stands above already."""
    found = source.verdict["methods"][method]
    pictures: list[Picture | None] = [
        ladder,
        verdict.scatter(source, method),
        verdict.histograms(source, method),
        verdict.models(source, method),
    ]
    name = method_name(method)
    blocks: list[Any] = [Heading(name), Text(in_numbers(source, method))]
    said = shared(source, "caveats")
    own = [line for line in found["caveats"] if line not in said]
    for lines, title in ((own, "Caveats"), (found["disagreements"], "Other views and scales disagree")):
        blocks += [Items(lines, title=title)] if lines else []
    blocks.append(Side([picture for picture in pictures if picture]))
    shares = forest.draw(source, method)
    blocks += [shares] if shares else []
    blocks += _scales(source, method)
    cells = [[*cell.split("/"), one["verdict"], *columns(one)] for cell, one in sorted(found["cells"].items())]
    table = Table(
        f"cells_{slug(method)}",
        f"{name}: the test in every cell",
        ["view", "scale", "metric", "verdict", *HEADER],
        cells,
    )
    blocks += [verdict.every_ladder(source, method), table]
    return Fold(f"{name} in detail: similarities, images, models; every view, scale and metric", blocks)


def _scales(source: Source, method: str) -> list[Picture]:
    """The curve over grid sizes, where two true models gave one."""
    if source.scales is None:
        return []
    rows = source.scales[(source.scales["method"] == method) & source.scales["difference_low"].notna()]
    return [curves.scales(method, rows)] if len(rows) else []


def in_numbers(source: Source, method: str) -> str:
    """The test of the primary cell."""
    cell, numbers = source.primary(method), source.verdict["methods"][method]["numbers"]
    where = f"Primary cell: {cell.view} view, {cell.scale} scale, {cell.metric}."
    if numbers["headroom"]["value"] is None:
        return f"{where} Without two true models and a random one there is no h, and nothing to divide."
    words = {name: estimates.written(numbers[name]) for name in ("difference", "everywhere", "image_specific")}
    words |= {name: estimates.written(numbers[name]) for name in ("headroom", "remainder", "share")}
    return (
        f"{where} Over {numbers['images']} images of {numbers['patients']} patients TT − TN is {words['difference']}:"
        f" {words['everywhere']} of it everywhere, {words['image_specific']} on the film. h is {words['headroom']}, k"
        f" {words['remainder']}, and the label share L {words['share']}.{_spread(numbers['share']['sd'])}"
        f"{_permutations(numbers['permutation'])}"
    )


def _spread(sd: Mapping[str, float | None]) -> str:
    known = [f"{number(value)} for {_SOURCES[name]}" for name, value in sd.items() if value is not None]
    return f" Standard errors of L: {', '.join(known)}." if known else ""


def _permutations(tests: Mapping[str, Mapping[str, Any] | None]) -> str:
    named = (("image_specific", "beyond the floor (M)"), ("same_film", "on the film as it is (S)"))
    parts = [f"p {number(test['p'], 4)} {words}" for name, words in named if (test := tests[name])]
    some = tests["image_specific"] or tests["same_film"]
    if not some:
        return ""
    return (
        f" Exact permutation over {some['relabelings']} labelings of the models, of their agreement:"
        f" {' and '.join(parts)}; at best {number(some['smallest_p'], 4)}."
    )
