"""Dose and response: what becomes of a label share as more of the labels are permuted."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from pneumo_batch.core.statistics.digits import fixed
from pneumo_batch.core.statistics.estimates import Estimate
from pneumo_batch.core.statistics.results import ArmResult, Results
from pneumo_batch.core.statistics.wording import listed
from pneumo_batch.core.variants import PERMUTED, TRUE

FEWEST = 2  # doses of a curve, beside none


class Dose(NamedTuple):
    """An arm by the share of labels that is permuted; `arm` is the true one where `fraction` is 0 by being it."""

    fraction: float
    name: str
    arm: ArmResult | None


def doses(results: Results) -> list[Dose]:
    """By their fraction the arms with permuted labels that differ in nothing else; empty with fewer than two.

    The first is the true arm, of which L is 0 by definition.
    """
    found = [Dose(arm.fraction, name, arm) for name, arm in results.arms.items() if arm.labels == PERMUTED]
    alike = [one for one in found if one.arm and _besides(one.arm) == _besides(_full(found))]
    if len({one.fraction for one in alike}) < FEWEST:
        return []
    return [Dose(0.0, TRUE, None), *sorted(alike, key=lambda one: (one.fraction, one.name))]


def _full(found: Sequence[Dose]) -> ArmResult:
    """The arm with the most permuted, which the others lead up to."""
    arm = max(found, key=lambda one: one.fraction).arm
    assert arm is not None
    return arm


def _besides(arm: ArmResult) -> tuple[str, tuple[str, ...], str | None]:
    return arm.unit, tuple(arm.within), arm.network


def shares(curve: Sequence[Dose], method: str) -> list[tuple[Dose, Estimate]]:
    """L of a method, of the arms that have one; several arms may have the same dose."""
    found = [(one, one.arm.methods[method].numbers.share) for one in curve if one.arm]
    return [(dose, share) for dose, share in found if share.value is not None]


def read(curve: Sequence[Dose], method: str) -> str | None:
    """One sentence on how L goes with the dose, to follow the name of the method; None without two doses.

    L rises where it is in no arm of a dose above that in any arm of the next.
    """
    found, arms = shares(curve, method), [one for one in curve if one.arm]  # not by how the true arm is defined
    values: dict[float, list[float]] = {}
    for dose, share in found:
        values.setdefault(dose.fraction, []).append(share.value or 0.0)
    if len(values) < FEWEST:
        return None
    rises = all(max(before) <= min(after) for before, after in itertools.pairwise(values.values()))
    way = "rises with every step" if rises else "does not rise with every step"
    shown = ", ".join(f"{fixed(share.value or 0.0, 2)} at {named(dose, arms)}" for dose, share in found)
    unfit = [named(one, arms) for one in arms if one.arm and one.arm.methods[method].verdict == "invalid"]
    but = f"; but the verdict at {listed(unfit)} is invalid" if unfit else ""
    return f"L {way}: {shown} of the labels permuted; {_from_where(found, arms)}{but}."


def _from_where(found: Sequence[tuple[Dose, Estimate]], curve: Sequence[Dose]) -> str:
    """From which dose on all intervals lie above 0."""
    if all(share.ci_low is None for _, share in found):
        return "without intervals over models, which take three of each kind"
    others = [(dose, share) for dose, share in found if share.ci_low is None or share.ci_low <= 0]
    clear = [dose.fraction for dose, _ in found if not others or dose.fraction > others[-1][0].fraction]
    if clear:
        return f"its interval lies above 0 from {_percent(min(clear))} on"
    dose, share = others[-1]
    at = "the highest" if _alone(dose, [one for one, _ in found]) else named(dose, curve)
    if share.ci_high is None:
        return f"without an interval at {at}"
    return f"its interval {'lies below' if share.ci_high < 0 else 'contains'} 0 at {at}"


def named(dose: Dose, curve: Sequence[Dose]) -> str:
    """A dose as a percentage, and by its arm where another one has the same."""
    return _percent(dose.fraction) if _alone(dose, curve) else f"{_percent(dose.fraction)} ({dose.name})"


def _alone(dose: Dose, curve: Sequence[Dose]) -> bool:
    return [one.fraction for one in curve].count(dose.fraction) == 1


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g} %"
