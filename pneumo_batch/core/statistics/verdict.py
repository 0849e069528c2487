"""The decision rule: what a method's numbers allow to be said, and why, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from pneumo_batch.core.similarity.pairs import EDGE
from pneumo_batch.core.similarity.per_image import Cell
from pneumo_batch.core.statistics import model_facts, reading
from pneumo_batch.core.statistics.digits import P_DIGITS, fixed, p_is, small
from pneumo_batch.core.statistics.estimates import CellTest, Deviations, Estimate
from pneumo_batch.core.statistics.label_share import FEWEST_MODELS, FEWEST_PATIENTS
from pneumo_batch.core.statistics.model_facts import VariantFacts
from pneumo_batch.core.statistics.outcomes import NO_MAP, UNTOLD_MAP, Outcome
from pneumo_batch.core.statistics.results import CellResult, Decision, MethodResult, Primary
from pneumo_batch.core.statistics.words import RANDOM_WORDS, Words

ALPHA = 0.05
# Of what true maps agree by: no more is left that edges do not show. Edges have no noise and maps have, so by
# attenuation (Spearman 1904) maps that share nothing but edges agree by the square of their agreement with these.
_AS_EDGES = 0.9
_FEW_PATIENTS = 25  # as they count; tests/statistics: below the bar of 0.93 where patients are unequal
# An interval of h that reaches 0, also for these models, and ends below it shows that true models agree on next to
# nothing; one that reaches further shows only that models or patients were too few. On real films h is often below 0.1.
_NEXT_TO_NOTHING = 0.02
_ROUNDING = 1e-9  # 3 + 3 models reach exactly 1/20


def conclude(
    variants: Sequence[VariantFacts],
    tests: Mapping[Cell, CellTest],
    primary: Primary,
    threshold: float,
    words: Words = RANDOM_WORDS,
) -> dict[str, MethodResult]:
    """The verdict of every method in `tests`, from its primary view, scale and metric.

    `variants` are the true ones and those of the arm that they are contrasted with, which `words` are of.
    """
    return {
        method: _of_method(
            variants, {cell: test for cell, test in tests.items() if cell.method == method}, primary, threshold, words
        )
        for method in sorted({cell.method for cell in tests})
    }


def _of_method(
    variants: Sequence[VariantFacts], tests: Mapping[Cell, CellTest], primary: Primary, threshold: float, words: Words
) -> MethodResult:
    decisions = {cell: decide(variants, test, threshold, words) for cell, test in tests.items()}
    chosen = Cell(next(iter(tests)).method, primary.view, primary.scale, primary.metric)
    decided, test = decisions[chosen], tests[chosen]
    outcomes = {cell: decision.verdict for cell, decision in decisions.items()}
    return MethodResult(
        verdict=decided.verdict,
        reasons=decided.reasons,
        on_every_film=reading.on_every_film(test, words),
        read=reading.read(chosen, outcomes, tests),
        for_these_models=decided.for_these_models,
        caveats=[*model_facts.caveats(variants, words), *_of_numbers(test)],
        disagreements=reading.disagreements(chosen, outcomes),
        primary=primary,
        threshold=threshold,
        numbers=test,
        cells={Primary(*c[1:]).key: CellResult.of(decisions[c], tests[c]) for c in decisions},
    )


def decide(variants: Sequence[VariantFacts], test: CellTest, threshold: float, words: Words = RANDOM_WORDS) -> Decision:
    """The verdict of one cell.

    In this order: `inconclusive` with fewer than five patients, as they count; `invalid` if one with permuted labels
    did not memorise, one with fully permuted labels knows the true ones, another is not known to be better than chance
    on test, or h is not above 0; `inconclusive` without a second true model or one to contrast with, and with fewer
    than three models of a kind; `sensitive` if the interval of the label share lies above `threshold` and the
    permutation p is at most 0.05; `insensitive` if the interval lies below; else `inconclusive`.
    """
    if alone := _few_patients(test):
        return Decision("inconclusive", [alone])
    if broken := model_facts.problems(variants, words):
        return Decision("invalid", [*broken, *_undefined(variants, test)])
    if missing := _missing(variants, test, words):
        return Decision("inconclusive", missing)
    if few := _few(variants, words):
        outcome, reasons = _by_share(_of_these(test), threshold, "patients", words)
        return Decision(
            "inconclusive",
            [few, f"For these {len(variants)} models it would be {outcome}: {_lower(reasons[0])}"],
            outcome,
        )
    outcome, reasons = _by_share(test, threshold, "patients and models", words)
    return Decision(*_by_models(outcome, reasons, test))


def _of_these(test: CellTest) -> CellTest:
    headroom, share = test.headroom.for_these_models, test.share.for_these_models
    return replace(test, headroom=headroom, share=share)


def _by_share(test: CellTest, threshold: float, over: str, words: Words) -> tuple[Outcome, list[str]]:
    headroom, share = test.headroom, test.share
    if headroom.ci_low is None:
        return "inconclusive", ["Without one of the models no film has every similarity: no interval can be computed."]
    if headroom.ci_low <= 0:
        return "invalid", _no_headroom(headroom, over, words)
    measured = f"Label share L = {reading.with_interval(share, over)}"
    if share.ci_low is None or share.ci_high is None:
        return "inconclusive", [f"{measured}: what two true models agree on about a film is too little to divide."]
    if share.ci_low > threshold:
        owed = f"most of what true models agree on about a film {words.lost}"
        return "sensitive", [f"{measured}, above the threshold of {threshold:g}: {owed}."]
    if share.ci_high < threshold:
        left = f"most of what true models agree on about a film {words.left}"
        return "insensitive", [f"{measured}, below the threshold of {threshold:g}: {left}."]
    return "inconclusive", [
        f"{measured}: the interval contains the threshold of {threshold:g}.",
        *_widest(share.sd, words),
    ]


def _no_headroom(headroom: Estimate, over: str, words: Words) -> list[str]:
    measured = f"h = {reading.with_interval(headroom, over)}"
    of_these = headroom.patients.ci_low
    if of_these is not None and of_these <= 0 and headroom.ci_high is not None and headroom.ci_high < _NEXT_TO_NOTHING:
        return [f"Two true models agree on a film no more than on films of different patients: {measured}. {NO_MAP}"]
    return [
        "It cannot be told whether two true models agree on a film more than on films of different patients:"
        f" {measured}. {UNTOLD_MAP}",
        *_widest(headroom.sd, words, "the interval's"),
    ]


def _by_models(outcome: Outcome, reasons: list[str], test: CellTest) -> tuple[Outcome, list[str]]:
    """The exact permutation, which `sensitive` needs: an effect that relabeling the models often reaches is theirs."""
    found = test.permutation.image_specific
    if outcome != "sensitive":
        return outcome, reasons
    if found is None:
        return "inconclusive", [*reasons, "The permutation over models cannot be made: a pair of models has no value."]
    p = f"Exact permutation over models, on what they agree on about a film: {p_is(found.p)}"
    if found.p <= ALPHA + _ROUNDING:
        return outcome, [*reasons, f"{p} (smallest possible {small(found.smallest_p, P_DIGITS)})."]
    why = f"{p}, above {ALPHA:g}: the models differ too much among themselves."
    return "inconclusive", [why, *reasons]


def _widest(sd: Deviations, words: Words, whose: str = "its") -> list[str]:
    known = {name: value for name, value in asdict(sd).items() if value is not None}
    if not known or not max(known.values()):
        return []
    name = max(known, key=lambda one: known[one])
    variances = {one: value**2 for one, value in known.items()}
    part = "Most" if 2 * variances[name] > sum(variances.values()) else "The largest part"
    if name == "patients":
        return [f"{part} of {whose} width comes from the patients: more of them would narrow it."]
    models = words.models if name == "random" else name
    which = f"which {models} models were trained: more {models} seeds would narrow it"
    return [f"{part} of {whose} width comes from {which}."]


# ----------------------------------------------------------------------------------------------------- the conditions


def _missing(variants: Sequence[VariantFacts], test: CellTest, words: Words) -> list[str]:
    true = sum(v.is_true for v in variants)
    reasons = []
    if true < 2:
        reasons.append(f"{'One' if true else 'No'} true variant: no reproducibility ceiling to compare with.")
    if true == len(variants):
        reasons.append(f"No {words.models} variant: nothing to compare with.")
    return reasons or _undefined(variants, test)


def _undefined(variants: Sequence[VariantFacts], test: CellTest) -> list[str]:
    """Why there is no number at all, where the models are not the cause."""
    true = sum(v.is_true for v in variants)
    if test.images or true < 2 or true == len(variants):
        return []
    return ["No image has a defined similarity of every kind: its maps are constant, or it is too small."]


def _few_patients(test: CellTest) -> str | None:
    why = reading.few_patients(test.patients, test.counted, FEWEST_PATIENTS)
    return f"{why[0].upper()}{why[1:]}: no interval can be computed, which takes {FEWEST_PATIENTS}." if why else None


def _few(variants: Sequence[VariantFacts], words: Words) -> str | None:
    true = sum(v.is_true for v in variants)
    if min(true, len(variants) - true) >= FEWEST_MODELS:
        return None
    return (
        f"{true} true and {len(variants) - true} {words.models} models: too few to speak of other models, which takes"
        f" {FEWEST_MODELS} of each kind."
    )


def _of_numbers(test: CellTest) -> list[str]:
    """What a verdict, which asks whether labels change maps, does not weigh."""
    found, edge, agreement = [], test.means.get(EDGE), test.means.get("true_true")
    if edge is not None and agreement is not None and edge > 0 and edge**2 >= _AS_EDGES * agreement > 0:
        found.append(
            f"True models' maps are so like the film's edges ({fixed(edge)}) that edges account for how like each other"
            f" they are ({fixed(agreement)}): what they show takes no model to find."
        )
    if FEWEST_PATIENTS <= test.counted <= _FEW_PATIENTS:
        who = f"{test.patients} patients"
        if test.patients > _FEW_PATIENTS:
            who += f", who count as {test.counted:.0f} by their films"
        found.append(
            f"{who}: intervals over so few are somewhat too narrow where some have many more films than others."
        )
    return found


# -------------------------------------------------------------------------------------------------------------- words


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
