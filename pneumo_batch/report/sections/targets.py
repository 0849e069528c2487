"""Of a run with several targets: the answer for each at a glance, and whether maps say which one is explained."""

from collections.abc import Sequence

from pneumo_batch.core.statistics.results import MethodResult, Specificity, SpecificityTest
from pneumo_batch.core.statistics.wording import common, headlines, listed, method_name
from pneumo_batch.report import estimates
from pneumo_batch.report.figures import specificity
from pneumo_batch.report.parts import Block, Fold, Heading, Items, Side, Table, Text, renamed, slug
from pneumo_batch.report.source import Source

_ANSWERS = {
    "specific": "maps say which of the two is explained",
    "unspecific": "maps hardly say which of the two is explained",
    "inconclusive": "this run cannot tell whether maps say which of the two is explained",
    "invalid": "of one or both it is not known that true models have anything to compare",
}


def overview(sources: Sequence[Source]) -> list[Block]:
    """A row for every target and method, and what the maps of two targets share; nothing of a run with one target."""
    if len(sources) < 2:
        return []
    first = sources[0]
    drawn = specificity.draw(first)
    beside: list[Block] = [*([drawn] if drawn else []), _table(sources)]
    return [
        *(
            Text(line, "lead")
            for line in headlines({one.target: _methods(one) for one in sources}, len(first.variants))
        ),
        Items([f"{method_name(method)}: {said(first.results.specificity[method])}" for method in first.methods]),
        Side(beside),
        Heading(f"{first.target}, explained first"),
    ]


def fold(source: Source, blocks: Sequence[Block]) -> Fold:
    """The blocks of one more target."""
    verdicts = [f"{method_name(method)} {found.verdict}" for method, found in _methods(source).items()]
    return Fold(f"{source.target}: {', '.join(verdicts)}", renamed(blocks, slug(str(source.target))))


def details(source: Source) -> list[Block]:
    """What two targets share by every view, scale and metric."""
    found = source.results.specificity
    if not found:
        return []
    header = ["method", "targets", "view", "scale", "metric", *_HEADER, "images"]
    rows = [
        [method_name(method), " / ".join(one.targets), *cell.split("/"), *_columns(numbers), numbers.images]
        for method, between in ((method, found[method]) for method in source.methods)
        for one in between
        for cell, numbers in sorted(one.cells.items())
    ]
    chosen = dict(vars(source.results.primary))
    caption = (
        "What two true models agree on about a film: h when both explain the same target, c when each explains another,"
        " c / h with its 95 % interval over patients and models; one model: what the maps of two targets by one model"
        " share about a film; k / h: what random labels leave."
    )
    table = Table("specificity", caption, header, rows, ("method", "targets", "view", "scale", "metric"), chosen)
    return [Fold("Do maps say which target is explained? Every two targets", [Items(_reasons(source)), table])]


def _reasons(source: Source) -> list[str]:
    """What holds for every method and every two targets, in a line of its own, and then each that has more to say."""
    every = [(method, one) for method in source.methods for one in source.results.specificity[method]]
    alike = common(one.reasons for _, one in every)
    own = [
        f"{method_name(method)}, {' and '.join(one.targets)}: {' '.join(reasons)}"
        for method, one in every
        if (reasons := one.reasons[len(alike) :])
    ]
    return [*alike, *own]


def said(between: Sequence[Specificity]) -> str:
    """The answers of a method for every two targets, those of the same answer together."""
    groups: dict[str, list[str]] = {}
    for one in between:
        groups.setdefault(one.for_these_models or one.verdict, []).append(" and ".join(one.targets))
    few = "; this holds for these models only" if any(one.for_these_models for one in between) else ""
    if len(groups) == 1:
        return f"for every two targets, {_ANSWERS[next(iter(groups))]}{few}."
    parts = [f"for {listed(names, 'or')}, {_ANSWERS[answer]}" for answer, names in groups.items()]
    return f"{'; '.join(parts)}{few}."


_HEADER = ("h", "c", "c / h", "interval", "one model", "k / h")


def _columns(numbers: SpecificityTest) -> list[object]:
    return [
        numbers.headroom.value,
        numbers.across.value,
        numbers.share.value,
        estimates.interval(numbers.share),
        numbers.one_model.value,
        numbers.random_share,
    ]


def _table(sources: Sequence[Source]) -> Table:
    rows = []
    for one in sources:
        for method in one.methods:
            found = one.results.methods[method]
            share = found.numbers.share
            rows.append([one.target, method_name(method), found.verdict, share.value, estimates.interval(share)])
    return Table("targets", "The verdict on each method's maps of each target.", _TARGETS_HEADER, rows)


_TARGETS_HEADER = ["target", "method", "verdict", "L", "95 % interval"]


def _methods(source: Source) -> dict[str, MethodResult]:
    return {method: source.results.methods[method] for method in source.methods}
