"""What a run found, in the terminal: the answer, and the verdicts with or without what they rest on."""

from collections.abc import Iterable, Mapping

from rich.console import Console

from pneumo_batch.core.statistics import arm_lines, pointing_words, results, wording
from pneumo_batch.core.statistics.results import MethodResult, Results, Specificity
from pneumo_batch.core.variants import TRUE
from pneumo_batch.rundir.layout import FORMAT, REPORT
from pneumo_batch.rundir.reader import Run


def show(console: Console, run: Run) -> None:
    found = results_of(run)
    of_targets = by_target(run, found)
    _show_headlines(console, of_targets, found)
    target = next(iter(of_targets))
    if target and len(of_targets) == 1:
        console.print(f"{target} is explained, one of several findings")
    every = wording.common(one.reasons for methods in of_targets.values() for one in methods.values())
    _print(console, every)
    for target, methods in of_targets.items():
        _show_target(console, f", {target}" if len(of_targets) > 1 else "", methods, len(every))
    if found:
        _show_specificity(console, found.specificity)
        located = pointing_words.lines(found.localisation) if found.localisation else []
        for line in [*arm_lines.arm_lines(found), *arm_lines.dose_lines(found), *located]:
            console.print(line, markup=False)


def show_briefly(console: Console, run: Run) -> None:
    """The answer, a line for each method and arm, and where the report is: what `run` ends with, without reasons."""
    found = results_of(run)
    of_targets = by_target(run, found)
    _show_headlines(console, of_targets, found)
    for target, methods in of_targets.items():
        of = f", {target}" if len(of_targets) > 1 else ""
        for method, one in methods.items():
            share = f", L = {arm_lines.share(one)}" if found else ""
            console.print(f"{method}{of}: {one.verdict}{share}", markup=False)
    for line in arm_lines.arm_lines(found) if found else []:
        console.print(line, markup=False)
    if run.store.exists(REPORT):
        console.print(f"{'report':<8}{run.path}/{REPORT}")


def by_target(run: Run, found: Results | None) -> Mapping[str | None, Mapping[str, MethodResult]]:
    """The verdicts of a run with these results by what is explained, which is None where it needs no name.

    Of one that was concluded by an earlier rule (`found` is None) without numbers, which meant other things.
    """
    if found:
        return {target: one.methods for target, one in found.by_target.items()}
    values = run.verdict
    return {None: {name: MethodResult(one["verdict"], one["reasons"]) for name, one in values["methods"].items()}}


def results_of(run: Run) -> Results | None:
    """Of a run that was concluded by the rule of today."""
    return results.read(run.verdict) if run.record["format"] == FORMAT else None


def _show_headlines(
    console: Console, of_targets: Mapping[str | None, Mapping[str, MethodResult]], found: Results | None
) -> None:
    """The answer; none of a run that was concluded by an earlier rule."""
    if found is None:
        return
    models = sum(one.kind in (TRUE, found.contrast) for one in found.variants.values())
    single = [wording.headline(next(iter(of_targets.values())), models)]
    for line in wording.headlines(of_targets, models) if len(of_targets) > 1 else single:
        console.print(line, style="bold")


def _show_target(console: Console, of: str, methods: Mapping[str, MethodResult], said: int) -> None:
    """The verdicts on one target, without the first reasons, which are `said` of all; what methods share is first."""
    alike = wording.common(one.reasons for one in methods.values())
    if alike[said:]:
        _show_lines(console, f"every method{of}", alike[said:])
    for method, one in methods.items():
        own = one.reasons[max(said, len(alike)) :]
        _show_lines(console, f"{method}{of}: {one.verdict}", [*own, one.on_every_film, one.read])


def _show_specificity(console: Console, found: Mapping[str, list[Specificity]]) -> None:
    every = [(method, one) for method, between in found.items() for one in between]
    said = wording.common(one.reasons for _, one in every)
    if said:
        _show_lines(console, "every method, every two targets", said)
    for method, one in every:
        _show_lines(console, f"{method}, {' or '.join(one.targets)}: {one.verdict}", one.reasons[len(said) :])


def _show_lines(console: Console, heading: str, lines: Iterable[str | None]) -> None:
    console.print(heading, style="bold")
    _print(console, lines)


def _print(console: Console, lines: Iterable[str | None]) -> None:
    for line in lines:
        if line:
            console.print(f"  {line}")
