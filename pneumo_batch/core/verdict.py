"""The decision rule: what a method's numbers allow to be said, and why, in words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pneumo_batch.core.pairs import same_model_floor
from pneumo_batch.core.per_image import Cell

Outcome = Literal["sensitive", "insensitive", "inconclusive", "invalid"]
ALPHA = 0.05
CHANCE = 0.5
_ROUNDING = 1e-9  # 3 + 3 models reach exactly 1/20


@dataclass(frozen=True)
class VariantFacts:
    """What the verdict needs to know of one model; None where nobody measured it."""

    name: str
    is_true: bool
    memorised: float | None = None  # accuracy on the training labels it was given, in eval mode
    required: float = 0.95  # of a random variant
    majority: float | None = None  # what always naming the most frequent label would score
    auroc: float | None = None  # on test
    auroc_low: float | None = None  # lower end of its 95 % interval


@dataclass(frozen=True)
class Verdict:
    """`reasons` decide; `caveats` limit what the verdict means; `numbers` are those of `statistics.calibrated_test`."""

    verdict: Outcome
    reasons: list[str]
    caveats: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def decide(variants: Sequence[VariantFacts], numbers: Mapping[str, Any], margin: float) -> Verdict:
    """The verdict of one cell.

    `invalid` if a random variant did not memorise, a true variant is no better than chance on test, or TT does not
    exceed TTx (the interval of their difference reaches 0); `inconclusive` without two true variants and a random
    one; `sensitive` if the interval of the mean difference lies above `margin`, the corrected p is below 0.05 and,
    where the models are enough to reach it, the permutation p over models is at most 0.05;
    `insensitive` if the interval lies within `margin` of 0; `inconclusive` otherwise.
    """
    broken = [*_model_problems(variants), *_ceiling_problem(numbers)]
    missing = _missing(variants, numbers)
    outcome: Outcome
    if broken:
        outcome, reasons = "invalid", broken
    elif missing:
        outcome, reasons = "inconclusive", missing
    else:
        outcome, reasons = _effect(numbers, margin)
    return Verdict(
        outcome, reasons, [*_unknowns(variants), *_everywhere(numbers), *_replication(variants, numbers)], dict(numbers)
    )


def conclude(
    variants: Sequence[VariantFacts],
    tests: Mapping[Cell, Mapping[str, Any]],
    primary: tuple[str, str, str],
    margin: float,
) -> dict[str, dict[str, Any]]:
    """The verdict of every method in `tests`, from its primary (view, scale, metric), as plain JSON values.

    `disagreements` say where another view, scale or metric would have led to another verdict, and
    `cells` hold verdict, reasons and numbers of all of them under "view/scale/metric".
    """
    found = {}
    for method in sorted({cell.method for cell in tests}):
        verdicts = {cell: decide(variants, tests[cell], margin) for cell in tests if cell.method == method}
        chosen = Cell(method, *primary)
        found[method] = {
            **verdicts[chosen].as_dict(),
            "primary": {"view": chosen.view, "scale": chosen.scale, "metric": chosen.metric},
            "margin": margin,
            "disagreements": disagreements(chosen, {cell: v.verdict for cell, v in verdicts.items()}),
            "cells": {f"{c.view}/{c.scale}/{c.metric}": _cell(v) for c, v in verdicts.items()},
        }
    return found


def disagreements(primary: Cell, outcomes: Mapping[Cell, Outcome]) -> list[str]:
    """One sentence for each view and scale where some metric leads to another verdict than the primary cell."""
    sentences = []
    for view, scale in sorted({(cell.view, cell.scale) for cell in outcomes}):
        here = {cell.metric: outcome for cell, outcome in outcomes.items() if (cell.view, cell.scale) == (view, scale)}
        other = sorted({outcome for outcome in here.values() if outcome != outcomes[primary]})
        if other:
            parts = [f"{outcome} by {_list(m for m, o in here.items() if o == outcome)}" for outcome in other]
            sentences.append(f"In the {view} view at {scale} scale the method would be {', '.join(parts)}.")
    return sentences


def _model_problems(variants: Sequence[VariantFacts]) -> list[str]:
    problems = []
    for v in variants:
        if not v.is_true and v.memorised is not None and v.memorised < v.required:
            beside = "" if v.majority is None else f"; a majority guess scores {v.majority:.3f}"
            problems.append(
                f"{v.name} did not memorise its labels: accuracy {v.memorised:.4f} on them, {v.required:.2f} required"
                f"{beside}. A model that fitted nothing is no reference for random labels."
            )
        if v.is_true and v.auroc_low is not None and v.auroc_low <= CHANCE:
            value = "" if v.auroc is None else f" {v.auroc:.3f},"
            problems.append(
                f"{v.name} is no better than chance on test: AUROC{value} interval from {v.auroc_low:.3f}."
                " A model that learned nothing has no explanation to be true to."
            )
    return problems


def _ceiling_problem(numbers: Mapping[str, Any]) -> list[str]:
    headroom = numbers["headroom"]
    if headroom["mean"] is None or headroom["ci_low"] > 0:
        return []
    return [
        "Two models trained on true labels agree on an image no more than on different images: mean difference"
        f" {_interval(headroom)}. There is no reproducible map to test."
    ]


def _missing(variants: Sequence[VariantFacts], numbers: Mapping[str, Any]) -> list[str]:
    true = sum(v.is_true for v in variants)
    reasons = []
    if true < 2:
        reasons.append(f"{'One' if true else 'No'} true variant: no reproducibility ceiling to compare with.")
    if true == len(variants):
        reasons.append("No random variant: nothing to compare with.")
    if not reasons and (numbers["difference"]["mean"] is None or numbers["headroom"]["mean"] is None):
        reasons.append("No image has a defined similarity of every kind: its maps are constant, or it is too small.")
    return reasons


def _effect(numbers: Mapping[str, Any], margin: float) -> tuple[Outcome, list[str]]:
    difference, p = numbers["difference"], numbers["holm_p"]
    measured = (
        f"Maps of two models trained on true labels are more alike than maps of a true and a random one by"
        f" {_interval(difference)}, over {numbers['images']} images of {numbers['patients']} patients"
    )
    corrected = f"corrected p {'below 0.0001' if p < 0.0001 else f'= {p:.4f}'}"
    if difference["ci_low"] > margin and p < ALPHA and _models_agree(numbers):
        return "sensitive", [f"{measured}: above the margin of {margin:g}; {corrected}.", *_size(numbers)]
    if -margin < difference["ci_low"] and difference["ci_high"] < margin:
        inside = f"{measured}: within the margin of {margin:g} around 0."
        return "insensitive", [inside, "Training on random labels leaves these maps as they were.", *_size(numbers)]
    if difference["ci_low"] > margin and p < ALPHA:
        why = (
            f"above the margin of {margin:g}, but over models the exact permutation p ="
            f" {numbers['permutation']['p']:.4f} is above {ALPHA:g}: the models differ too much among themselves"
        )
    elif difference["ci_low"] > margin:
        why = f"above the margin of {margin:g}, but {corrected} is not below {ALPHA:g}"
    elif difference["ci_high"] < -margin:
        why = f"below the margin of -{margin:g}: random labels make maps more alike, which the test does not explain"
    else:
        why = f"the interval is neither above the margin of {margin:g} nor within it around 0"
    return "inconclusive", [f"{measured}: {why}.", *_size(numbers)]


def _models_agree(numbers: Mapping[str, Any]) -> bool:
    """Whether the models, the unit of replication, bear the effect out; True where they are too few to tell.

    Intervals over patients hold for the models at hand: between models that differ by chance alone (standard deviation
    0.1 of the similarity) they would call 16 % of label-blind methods sensitive.
    """
    test = numbers["permutation"]
    return test is None or test["smallest_p"] > ALPHA + _ROUNDING or test["p"] <= ALPHA + _ROUNDING


def _size(numbers: Mapping[str, Any]) -> list[str]:
    index = numbers["sensitivity_index"]
    if index is None:
        return []
    span = f"{index['value']:.2f} (95 % interval {index['ci_low']:.2f} to {index['ci_high']:.2f})"
    return [f"Sensitivity index {span}: the part of what two correct models share that is owed to the labels."]


def _everywhere(numbers: Mapping[str, Any]) -> list[str]:
    """Whether the difference is one of images at all: models can also differ by what they show on every image."""
    kinds = ("true_true", "true_random", "true_true_cross", "true_random_cross")
    alike, mixed, floor, mixed_floor = (numbers["means"].get(kind) for kind in kinds)
    if None in (alike, mixed, floor, mixed_floor) or mixed >= floor:
        return []
    return [
        f"A true and a random model agree on an image ({mixed:.3f}) less than two true ones on different images"
        f" ({floor:.3f}): models differ by what they show on every image. Beyond that the difference is"
        f" {(alike - floor) - (mixed - mixed_floor):.3f}."
    ]


def _replication(variants: Sequence[VariantFacts], numbers: Mapping[str, Any]) -> list[str]:
    caveats = []
    if same_model_floor([(v.name, v.is_true) for v in variants]):
        caveats.append("The cross-image floor compares one model with itself, which makes it too high.")
    test = numbers["permutation"]
    if test is not None:
        true = sum(v.is_true for v in variants)
        caveats.append(
            f"Over models, exact permutation p = {test['p']:.4f}; {true} true and {len(variants) - true} random"
            f" models can reach {test['smallest_p']:.4f} at best. Intervals and p above hold for these models."
        )
    return caveats


def _unknowns(variants: Sequence[VariantFacts]) -> list[str]:
    memory = [v.name for v in variants if not v.is_true and v.memorised is None]
    skill = [v.name for v in variants if v.is_true and v.auroc_low is None]
    caveats = []
    if memory:
        caveats.append(
            f"Nobody measured whether {_list(memory)} memorised the random labels: a model that did not is no reference"
            " for them."
        )
    if skill:
        caveats.append(f"Nobody measured whether {_list(skill)} is better than chance on test.")
    return caveats


def _cell(verdict: Verdict) -> dict[str, Any]:
    return {"verdict": verdict.verdict, "reasons": verdict.reasons, **verdict.numbers}


def _interval(numbers: Mapping[str, Any]) -> str:
    return f"{numbers['mean']:.3f} (95 % interval {numbers['ci_low']:.3f} to {numbers['ci_high']:.3f})"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
