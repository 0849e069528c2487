"""Do maps say which target is explained? What the maps of two targets share, of what those of one target do.

    h = mean over both targets of TT - TTx    what two true models agree on about a film, asked for the same target
    c = FG - FGx                              what they agree on when one is asked for f and the other for g
    share = c / h

FG is the mean similarity of a map of f by one true model and a map of g by another, on the same film, FGx that of the
same pairs on films of two patients. The share is 0 where maps of two targets have nothing in common beyond what they
show on every film, and 1 where it makes no difference which one is asked for. docs/statistics.md derives it.

Shapes: N images, R true models, B resamples, K kinds, Q quantities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pneumo_batch.core.similarity import pairs
from pneumo_batch.core.similarity.per_image import ByTarget, Cell, PerImage
from pneumo_batch.core.statistics import bootstrap, reading, wording
from pneumo_batch.core.statistics.digits import fixed
from pneumo_batch.core.statistics.estimates import Estimate
from pneumo_batch.core.statistics.label_share import (
    FEWEST_MODELS,
    FEWEST_PATIENTS,
    combine,
    projected,
    tangent,
    without_each,
)
from pneumo_batch.core.statistics.model_facts import VariantFacts
from pneumo_batch.core.statistics.numbers import number
from pneumo_batch.core.statistics.options import RESAMPLES
from pneumo_batch.core.statistics.outcomes import Specific
from pneumo_batch.core.statistics.results import Primary, Specificity, SpecificityTest
from pneumo_batch.core.variants import RANDOM, names_of

_OF_ONE = ("true_true", "true_true_cross")
_OF_TWO = (pairs.TWO_TARGETS, pairs.TWO_TARGETS_CROSS, pairs.ONE_MODEL, pairs.ONE_MODEL_CROSS)
_RANDOM = ("true_random", "true_random_cross")
QUANTITIES = ("headroom", "across", "share", "one_model")


class Column(NamedTuple):
    """One kind of similarity, and the scores it is of."""

    data: PerImage
    kind: str


class Asked(NamedTuple):
    """What true models come to at one target: h of a method's maps, and which models cannot be told from chance, or
    rank films the wrong way round.
    """

    headroom: Estimate
    at_chance: Sequence[str] = ()
    is_reversed: Sequence[str] = ()


def measure(
    scores: ByTarget, targets: tuple[str, str], true: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[Cell, SpecificityTest]:
    """The numbers of every cell for two targets; `true` names the models of true labels."""
    between, of_each = scores.two[targets], [scores.one[target] for target in targets]
    columns = [Column(data, kind) for data in of_each for kind in _OF_ONE] + [Column(between, kind) for kind in _OF_TWO]
    return {cell: _test(columns, cell, true, resamples, seed, _random_share(of_each, cell)) for cell in between.cells}


def headroom(data: PerImage, cell: Cell, true: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """The h of one target, over true models and patients: random models take no part, however many there are."""
    kinds_N2 = np.stack([data.means(cell, kind) for kind in _OF_ONE], axis=1)
    complete_N = ~np.isnan(kinds_N2).any(axis=1)
    if not complete_N.any():
        return Estimate()
    codes_N, value = data.patients_N[complete_N], float(_difference(kinds_N2[complete_N].mean(axis=0)))
    effective = bootstrap.effective(codes_N)
    if effective < FEWEST_PATIENTS:
        return Estimate(number(value))
    projected_N2 = np.stack([projected(kinds_N2[complete_N, k], kind) for k, kind in enumerate(_OF_ONE)], axis=1)
    drawn_B = _difference(bootstrap.means(projected_N2, codes_N, resamples, seed))
    without_NR2 = np.stack([data.means_without(cell, kind, true) for kind in _OF_ONE], axis=-1)
    return combine(value, _difference(without_each(without_NR2)), None, drawn_B, effective)


def _difference(kinds_2: np.ndarray) -> np.ndarray:
    return kinds_2[..., 0] - kinds_2[..., 1]


def quantities(kinds_8: np.ndarray) -> np.ndarray:
    """(..., 8) means -> (..., 4) `QUANTITIES`; the share is NaN where h is not above 0.

    The means are TT and TTx of the first target and of the second, FG and FGx, and the same two under one model.
    """
    tt_f, ttx_f, tt_g, ttx_g, fg, fgx, one, onex = np.moveaxis(np.asarray(kinds_8, dtype=np.float64), -1, 0)
    h, c = ((tt_f - ttx_f) + (tt_g - ttx_g)) / 2, fg - fgx
    share = np.divide(c, h, out=np.full(np.shape(h), np.nan), where=h > 0)
    return np.stack([h, c, share, one - onex], axis=-1)


def conclude(
    scores: ByTarget,
    facts: Mapping[str, Sequence[VariantFacts]],
    primary: Primary,
    threshold: float,
    *,
    resamples: int = RESAMPLES,
) -> dict[str, list[Specificity]]:
    """By method what the maps of each two targets share.

    `facts` has of each target what is known of the models, `threshold` is that of the label share.
    """
    asked = {
        (target, cell.method): _asked(scores.one[target], cell, facts[target], resamples)
        for target in {target: None for targets in scores.two for target in targets}
        for cell in scores.one[target].cells
        if Primary(*cell[1:]) == primary
    }
    found: dict[str, list[Specificity]] = {}
    for targets in scores.two:
        true = names_of(facts[targets[0]], "true")
        memorised = not any(one.kind == RANDOM and one.did_not_memorise for target in targets for one in facts[target])
        tests = measure(scores, targets, true, resamples=resamples)
        for method in sorted({cell.method for cell in tests}):
            of_method = {Primary(*cell[1:]).key: one for cell, one in tests.items() if cell.method == method}
            both = {target: asked[target, method] for target in targets}
            numbers = of_method[primary.key]
            told = numbers if memorised else replace(numbers, random_share=None)
            decided = decide(told, both, len(true), threshold)
            found.setdefault(method, []).append(Specificity(targets, *decided, numbers, of_method))
    return found


def _asked(data: PerImage, cell: Cell, facts: Sequence[VariantFacts], resamples: int) -> Asked:
    true = [one for one in facts if one.is_true]
    return Asked(
        headroom(data, cell, [one.name for one in true], resamples=resamples),
        [one.name for one in true if one.at_chance],
        [one.name for one in true if one.is_reversed],
    )


def decide(
    numbers: SpecificityTest, targets: Mapping[str, Asked], models: int, threshold: float
) -> tuple[Specific, list[str], Specific | None]:
    """The verdict, its reasons, and with fewer than three true models what it would be for these.

    `invalid` where true models have no maps of a target to compare, whatever random ones did; `specific` if the
    interval of the share lies below what the threshold of the label share leaves, `unspecific` if it lies above; else
    `inconclusive`.
    """
    if nothing := [line for target, asked in targets.items() for line in _without_map(target, asked)]:
        return "invalid", nothing, None
    if numbers.share.value is None:
        return (
            "inconclusive",
            ["Too few models or films: what two true models agree on about a film is not known."],
            None,
        )
    if models >= FEWEST_MODELS:
        return *_by_share(numbers, 1 - threshold, "patients and models"), None
    of_these = replace(numbers, headroom=numbers.headroom.for_these_models, share=numbers.share.for_these_models)
    outcome, reasons = _by_share(of_these, 1 - threshold, "patients")
    few = f"{models} true models: too few to speak of other models, which takes {FEWEST_MODELS}."
    return "inconclusive", [few, *reasons], outcome


def _without_map(target: str, asked: Asked) -> list[str]:
    """Why true models have no maps of a target to compare."""
    if asked.at_chance:
        names = wording.listed(asked.at_chance)
        return [f"{target}: {names} cannot be told from chance on test, so there is nothing to compare."]
    if asked.is_reversed:
        names = wording.listed(asked.is_reversed)
        return [f"{target}: test films are ranked the wrong way round by {names}, so there is nothing to compare."]
    # with too few models, as the verdict for these models
    full = asked.headroom
    h, over = (full.for_these_models, "patients") if full.ci_low is None else (full, "patients and models")
    if h.ci_low is None or h.ci_low > 0:
        return []
    measured = reading.with_interval(h, over)
    return [f"{target}: it is not known that h = {measured} is above 0, so there is nothing to compare."]


def _by_share(numbers: SpecificityTest, most: float, over: str) -> tuple[Specific, list[str]]:
    share, measured = numbers.share, _measured(numbers.share, over)
    beside = "" if numbers.random_share is None else f" (random labels leave {fixed(numbers.random_share)})"
    if share.ci_low is None or share.ci_high is None:
        return "inconclusive", [f"{measured}{beside}: {_no_interval(numbers)}."]
    if share.ci_high < most:
        return "specific", [f"{measured}{beside}: maps say which of the two is explained."]
    if share.ci_low > most:
        return "unspecific", [f"{measured}{beside}: maps hardly say which of the two is explained."]
    return "inconclusive", [f"{measured}{beside}: the interval contains {most:g}."]


def _measured(share: Estimate, over: str) -> str:
    """The share in words; nobody agrees on less than nothing."""
    about, value = "Of what two true models agree on about a film,", reading.with_interval(share, over)
    if share.value is not None and share.value < 0:
        return f"{about} nothing is left when each is asked for another, c / h = {value}"
    return f"{about} they still agree on {value} when each is asked for another"


def _no_interval(numbers: SpecificityTest) -> str:
    if few := reading.few_patients(numbers.patients, numbers.counted, FEWEST_PATIENTS):
        return f"{few}, and an interval takes {FEWEST_PATIENTS}"
    if numbers.headroom.ci_low is None:
        return "without one of the models no film has every similarity, so no interval can be computed"
    return "what two true models agree on about a film is too little to divide"


def _test(
    columns: Sequence[Column], cell: Cell, true: Sequence[str], resamples: int, seed: int, random_share: float | None
) -> SpecificityTest:
    kinds_NK = np.stack([data.means(cell, kind) for data, kind in columns], axis=1)
    complete_N = ~np.isnan(kinds_NK).any(axis=1)
    codes_N = columns[0].data.patients_N[complete_N]
    patients = len(np.unique(codes_N))
    if not patients:
        return SpecificityTest(random_share=random_share)
    means_K = kinds_NK[complete_N].mean(axis=0)
    values_Q = quantities(means_K)
    found = [Estimate(number(value)) for value in values_Q]
    effective = bootstrap.effective(codes_N)
    if effective >= FEWEST_PATIENTS:
        projected_NK = np.stack(
            [projected(kinds_NK[complete_N, k], kind) for k, (_, kind) in enumerate(columns)], axis=1
        )
        drawn_QB = quantities(bootstrap.means(projected_NK, codes_N, resamples, seed)).T
        kinds_NRK = np.stack([data.means_without(cell, kind, true) for data, kind in columns], axis=-1)
        h, _, share, _ = values_Q
        tangents = [None, None, tangent(drawn_QB[1], drawn_QB[0], share, h) if h > 0 else None, None]
        parts = zip(values_Q, quantities(without_each(kinds_NRK)).T, drawn_QB, tangents, strict=True)
        found = [combine(value, without_R, None, drawn_B, effective, line) for value, without_R, drawn_B, line in parts]
    return SpecificityTest(
        images=int(complete_N.sum()),
        patients=patients,
        means=_named(means_K),
        **dict(zip(QUANTITIES, found, strict=True)),
        random_share=random_share,
        effective_patients=effective,
    )


def _named(means_K: np.ndarray) -> dict[str, float | None]:
    """By kind, those of one target as the mean of both."""
    of_one, of_two = means_K[: 2 * len(_OF_ONE)].reshape(2, -1).mean(axis=0), means_K[2 * len(_OF_ONE) :]
    return {kind: number(mean) for kind, mean in zip((*_OF_ONE, *_OF_TWO), [*of_one, *of_two], strict=True)}


def _random_share(of_each: Sequence[PerImage], cell: Cell) -> float | None:
    """What random labels leave of the headroom, k / h of the means of both targets; None without it."""
    kinds_NK = np.stack([data.means(cell, kind) for data in of_each for kind in (*_OF_ONE, *_RANDOM)], axis=1)
    complete_N = ~np.isnan(kinds_NK).any(axis=1)
    if not complete_N.any():
        return None
    tt, ttx, tn, tnx = kinds_NK[complete_N].mean(axis=0).reshape(2, 4).sum(axis=0)
    return float((tn - tnx) / (tt - ttx)) if tt > ttx else None
