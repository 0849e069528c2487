"""Everything about one method that the verdict's first screen leaves out, behind one line."""

from collections.abc import Sequence

from pneumo_batch.core.statistics import reading
from pneumo_batch.core.statistics.digits import P_DIGITS, p_is, small
from pneumo_batch.core.statistics.estimates import CellTest, Deviations, Permutations
from pneumo_batch.core.statistics.results import MethodResult
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.report import estimates
from pneumo_batch.report.figures import curves, forest, verdict
from pneumo_batch.report.parts import Block, Fold, Heading, Items, Picture, Side, Small, Table, Text, number, slug
from pneumo_batch.report.source import Source

HEADER = ["L", "interval", "h", "k", "everywhere", "on the film", "TT − TN", "p over models", "films", "patients"]


def columns(test: CellTest) -> list[object]:
    """A cell's values under `HEADER`."""
    quantities = (test.headroom, test.remainder, test.everywhere, test.image_specific, test.difference)
    models = test.permutation.image_specific
    values, p = [estimate.value for estimate in quantities], Small(models.p) if models else None
    return [test.share.value, estimates.interval(test.share), *values, p, test.images, test.patients]


def without_p(source: Source, method: str, found: MethodResult, others: Sequence[str]) -> str | None:
    """Why a method has no p against the models `others`; None where it has one."""
    counts = source.results.degenerate.get(f"{method}/{source.results.primary.view}", {})
    films = source.attributed.num_rows
    constant = [name for name in (*source.true, *others) if counts.get(name) == films]
    return reading.without_p(found.numbers, (len(source.true), len(others)), constant)


def shared_caveats(source: Source) -> list[str]:
    """What all methods have in common, to be said once for all."""
    first, *others = (source.results.methods[method].caveats for method in source.methods)
    return [line for line in first if all(line in lines for lines in others)]


def fold(source: Source, method: str, ladder: Picture | None) -> Fold:
    """`ladder` is None where it stands above already."""
    found = source.results.methods[method]
    pictures: list[Picture | None] = [
        ladder,
        verdict.scatter(source, method),
        verdict.histograms(source, method),
        verdict.models(source, method),
    ]
    name = method_name(method)
    blocks: list[Block] = [Heading(name), Text(in_numbers(source, method))]
    said = shared_caveats(source)
    own = [line for line in found.caveats if line not in said]
    for lines, title in ((own, "Caveats"), (found.disagreements, "Other views and scales disagree")):
        blocks += [Items(lines, title=title)] if lines else []
    blocks.append(Side([picture for picture in pictures if picture]))
    shares = forest.draw(source, method)
    blocks += [shares] if shares else []
    blocks += _scales(source, method)
    cells = [[*cell.split("/"), one.verdict, *columns(one)] for cell, one in sorted(found.cells.items())]
    table = Table(
        f"cells_{slug(method)}",
        f"{name}: the test in every cell. L has an interval over these models alone, or none, also where h is not above"
        " 0 with a model left out, or in more than 2.5 % of the resamples: there is no ratio then.",
        ["view", "scale", "metric", "verdict", *HEADER],
        cells,
    )
    blocks += [verdict.every_ladder(source, method), table]
    return Fold(f"{name} in detail: similarities, images, models; every view, scale and metric", blocks)


def _scales(source: Source, method: str) -> list[Picture]:
    """The curve over grid sizes, where two true models gave one."""
    if source.scales is None:
        return []
    rows = source.scales[(source.scales["method"] == method) & (source.scales["images"] > 0)]
    return [curves.scales(method, rows)] if len(rows) else []


def in_numbers(source: Source, method: str) -> str:
    """The test of the primary cell."""
    cell, found = source.primary(method), source.results.methods[method]
    test = found.numbers
    where = f"Primary cell: {cell.view} view, {cell.scale} scale, {cell.metric}."
    why = without_p(source, method, found, source.random)
    if test.headroom.value is None:
        if len(source.true) > 1 and source.random:  # their maps are constant, then
            return f"{where} There is no h, and so no label share. {why}"
        return f"{where} Without two true models and a random one there is no h, and so no label share."
    said = estimates.written
    return (
        f"{where} Over {test.images} images of {test.patients} patients TT − TN is {said(test.difference)}:"
        f" {said(test.everywhere)} of it everywhere, {said(test.image_specific)} on the film. h is"
        f" {said(test.headroom)}, k {said(test.remainder)}, and the label share L {said(test.share)}."
        f"{_spread(test.share.sd)}{_permutations(test.permutation)}"
        f"{f' {why}' if why else ''}"
    )


def _spread(sd: Deviations) -> str:
    named = ((sd.true, "true models"), (sd.random, "random models"), (sd.patients, "patients"))
    known = [f"{number(value)} from {source}" for value, source in named if value is not None]
    return f" Standard errors of L: {', '.join(known)}." if known else ""


def _permutations(tests: Permutations) -> str:
    named = ((tests.image_specific, "beyond the floor (M)"), (tests.same_film, "on the film as it is (S)"))
    parts = [f"{p_is(test.p)} {words}" for test, words in named if test]
    some = tests.image_specific or tests.same_film
    if not some:
        return ""
    return (
        f" Exact permutation over {some.relabelings} labelings of the models, on their agreement:"
        f" {' and '.join(parts)}; smallest possible p {small(some.smallest_p, P_DIGITS)}."
    )
