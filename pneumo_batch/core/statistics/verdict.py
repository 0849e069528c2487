"""The decision rule: what a method's numbers allow to be said, and why, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from pneumo_batch.core.similarity.pairs import same_model_floor
from pneumo_batch.core.similarity.per_image import Cell
from pneumo_batch.core.statistics import reading
from pneumo_batch.core.statistics.label_share import FEWEST_MODELS, FEWEST_PATIENTS
from pneumo_batch.core.statistics.outcomes import Outcome
from pneumo_batch.core.statistics.results import (
    CellResult,
    CellTest,
    Decision,
    Deviations,
    Estimate,
    MethodResult,
    Primary,
)
from pneumo_batch.core.variants import KINDS, MEMORISED, Variant

ALPHA = 0.05
CHANCE = 0.5
_ROUNDING = 1e-9  # 3 + 3 models reach exactly 1/20
_SOURCES = {
    "true": "which true models were trained",
    "random": "which random models were trained",
    "patients": "the patients",
}


@dataclass(frozen=True)
class VariantFacts(Variant):
    """A variant with what the verdict needs to know of it; None where nobody measured it."""

    memorised: float | None = None  # of a random variant: accuracy on the training labels it was given, in eval mode
    required: float = MEMORISED  # of a random variant
    majority: float | None = None  # what always naming the most frequent label would score
    auroc: float | None = None  # on test
    auroc_low: float | None = None  # lower end of its 95 % interval
    training_accuracy: float | None = None  # of either kind, on the labels it was given, in eval mode
    epochs: int | None = None
    measure: str = "accuracy"  # on training labels, in words


def conclude(
    variants: Sequence[VariantFacts], tests: Mapping[Cell, CellTest], primary: Primary, threshold: float
) -> dict[str, MethodResult]:
    """The verdict of every method in `tests`, from its primary view, scale and metric."""
    return {
        method: _of_method(
            variants, {cell: test for cell, test in tests.items() if cell.method == method}, primary, threshold
        )
        for method in sorted({cell.method for cell in tests})
    }


def _of_method(
    variants: Sequence[VariantFacts], tests: Mapping[Cell, CellTest], primary: Primary, threshold: float
) -> MethodResult:
    decisions = {cell: decide(variants, test, threshold) for cell, test in tests.items()}
    chosen = Cell(next(iter(tests)).method, primary.view, primary.scale, primary.metric)
    decided, test = decisions[chosen], tests[chosen]
    outcomes = {cell: decision.verdict for cell, decision in decisions.items()}
    return MethodResult(
        verdict=decided.verdict,
        reasons=decided.reasons,
        on_every_film=reading.on_every_film(test),
        read=reading.read(chosen, outcomes, tests),
        for_these_models=decided.for_these_models,
        caveats=[*_unknowns(variants), *_training(variants), *_floor(variants)],
        disagreements=reading.disagreements(chosen, outcomes),
        primary=primary,
        threshold=threshold,
        numbers=test,
        cells={Primary(*c[1:]).key: CellResult.of(decisions[c], tests[c]) for c in decisions},
    )


def decide(variants: Sequence[VariantFacts], test: CellTest, threshold: float) -> Decision:
    """The verdict of one cell.

    In this order: `inconclusive` with fewer than five patients; `invalid` if a random variant did not memorise, a true
    one is no better than chance on test, or h is not above 0; `inconclusive` without a second true model or a random
    one, and with fewer than three models of a kind; `sensitive` if the interval of the label share lies above
    `threshold` and the permutation p is at most 0.05; `insensitive` if the interval lies below; else `inconclusive`.
    """
    if alone := _few_patients(test):
        return Decision("inconclusive", [alone])
    if broken := _model_problems(variants):
        return Decision("invalid", broken)
    if missing := _missing(variants, test):
        return Decision("inconclusive", missing)
    if few := _few(variants):
        outcome, reasons = _by_share(test.headroom.for_these_models, test.share.for_these_models, threshold, "patients")
        return Decision(
            "inconclusive",
            [few, f"For these {len(variants)} models it would be {outcome}: {_lower(reasons[0])}"],
            outcome,
        )
    outcome, reasons = _by_share(test.headroom, test.share, threshold, "patients and models")
    return Decision(*_by_models(outcome, reasons, test))


def _by_share(headroom: Estimate, share: Estimate, threshold: float, over: str) -> tuple[Outcome, list[str]]:
    if headroom.ci_low is None:
        return "inconclusive", ["Without one of the models no film has every similarity: no interval can be drawn."]
    if headroom.ci_low <= 0:
        return "invalid", [
            "Two true models agree on a film no more than on films of different patients: h ="
            f" {reading.with_interval(headroom, over)}. There is no reproducible map to test."
        ]
    measured = f"Label share L = {reading.with_interval(share, over)}"
    if share.ci_low is None or share.ci_high is None:
        return "inconclusive", [f"{measured}: what two true models agree on about a film is too little to divide."]
    if share.ci_low > threshold:
        owed = "most of what true models agree on about a film is owed to the labels"
        return "sensitive", [f"{measured}, above the threshold of {threshold:g}: {owed}."]
    if share.ci_high < threshold:
        owed = "most of what true models agree on about a film is there without the labels"
        return "insensitive", [f"{measured}, below the threshold of {threshold:g}: {owed}."]
    return "inconclusive", [f"{measured}: the interval holds the threshold of {threshold:g}.", *_widest(share.sd)]


def _by_models(outcome: Outcome, reasons: list[str], test: CellTest) -> tuple[Outcome, list[str]]:
    """The exact permutation, which `sensitive` needs: an effect that relabeling the models often reaches is theirs."""
    found = test.permutation.image_specific
    if outcome != "sensitive":
        return outcome, reasons
    if found is None:
        return "inconclusive", [*reasons, "The permutation over models cannot be made: a pair of models has no value."]
    p = f"Exact permutation over models, on what they agree on about a film: p = {found.p:.4f}"
    if found.p <= ALPHA + _ROUNDING:
        return outcome, [*reasons, f"{p} (smallest possible {found.smallest_p:.4f})."]
    why = f"{p}, above {ALPHA:g}: the models differ too much among themselves."
    return "inconclusive", [why, *reasons]


def _widest(sd: Deviations) -> list[str]:
    known = {name: value for name, value in asdict(sd).items() if value is not None}
    if not known or not max(known.values()):
        return []
    name = max(known, key=lambda one: known[one])
    more = "more of them" if name == "patients" else f"more {name} seeds"
    return [f"Most of its width comes from {_SOURCES[name]}: {more} would narrow it."]


# ----------------------------------------------------------------------------------------------------- the conditions


def _missing(variants: Sequence[VariantFacts], test: CellTest) -> list[str]:
    true = sum(v.is_true for v in variants)
    reasons = []
    if true < 2:
        reasons.append(f"{'One' if true else 'No'} true variant: no reproducibility ceiling to compare with.")
    if true == len(variants):
        reasons.append("No random variant: nothing to compare with.")
    if not reasons and not test.images:
        reasons.append("No image has a defined similarity of every kind: its maps are constant, or it is too small.")
    return reasons


def _few_patients(test: CellTest) -> str | None:
    if not 0 < test.patients < FEWEST_PATIENTS:
        return None
    people = "One patient" if test.patients == 1 else f"{test.patients} patients"
    return f"{people} only: no interval can be drawn, which takes {FEWEST_PATIENTS}."


def _few(variants: Sequence[VariantFacts]) -> str | None:
    true = sum(v.is_true for v in variants)
    if min(true, len(variants) - true) >= FEWEST_MODELS:
        return None
    return (
        f"{true} true and {len(variants) - true} random models: nothing can be said beyond them, which takes"
        f" {FEWEST_MODELS} of each kind."
    )


def _model_problems(variants: Sequence[VariantFacts]) -> list[str]:
    problems = []
    for v in variants:
        if not v.is_true and v.memorised is not None and v.memorised < v.required:
            beside = "" if v.majority is None else f"; a majority guess scores {v.majority:.3f}"
            problems.append(
                f"{v.name} did not memorise its labels: {v.measure} {v.memorised:.4f} on them, {v.required:.2f}"
                f" required{beside}. A model that fitted nothing is no reference for random labels."
            )
        if v.is_true and v.auroc_low is not None and v.auroc_low <= CHANCE:
            value = "" if v.auroc is None else f" {v.auroc:.3f},"
            problems.append(
                f"{v.name} is no better than chance on test: AUROC{value} interval from {v.auroc_low:.3f}."
                " A model that learned nothing has no explanation to be true to."
            )
    return problems


def _floor(variants: Sequence[VariantFacts]) -> list[str]:
    if same_model_floor(variants):
        return ["The cross-image floor compares one model with itself, which makes it too high."]
    return []


def _training(variants: Sequence[VariantFacts]) -> list[str]:
    """How far each kind was trained: a difference of the two shows in maps beside that of the labels."""
    parts = []
    for kind in KINDS:
        mine = [v for v in variants if v.kind == kind and v.training_accuracy is not None and v.epochs is not None]
        if not mine:
            return []
        accuracy = _span([v.training_accuracy for v in mine], "{:.3f}")
        parts.append(f"{kind} models {accuracy} after {_span([v.epochs for v in mine], '{}')} epochs")
    measure = variants[0].measure.capitalize()
    return [f"{measure} on the training labels they were given: {parts[0]}, {parts[1]}."]


def _unknowns(variants: Sequence[VariantFacts]) -> list[str]:
    memory = [v.name for v in variants if not v.is_true and v.memorised is None]
    skill = [v.name for v in variants if v.is_true and v.auroc_low is None]
    caveats = []
    if memory:
        caveats.append(
            f"Nobody measured whether {reading.joined(memory)} memorised the random labels: a model that did not is no"
            " reference for them."
        )
    if skill:
        caveats.append(f"Nobody measured whether {reading.joined(skill)} is better than chance on test.")
    return caveats


# -------------------------------------------------------------------------------------------------------------- words


def _span(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    low, high = form.format(min(known)), form.format(max(known))
    return low if low == high else f"{low} to {high}"


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
