"""Dose and response: what becomes of a label share as more of the labels are permuted."""

import itertools
from collections.abc import Mapping, Sequence
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
    return [Dose(0.0, TRUE, None), *sorted(alike, key=lambda one: one.fraction)]


def _full(found: Sequence[Dose]) -> ArmResult:
    """The arm with the most permuted, which the others lead up to."""
    arm = max(found, key=lambda one: one.fraction).arm
    assert arm is not None
    return arm


def _besides(arm: ArmResult) -> tuple[str, tuple[str, ...], str | None]:
    return arm.unit, tuple(arm.within), arm.network


def shares(curve: Sequence[Dose], method: str) -> dict[float, Estimate]:
    """L of a method by fraction, of the arms that have one."""
    found = {one.fraction: one.arm.methods[method].numbers.share for one in curve if one.arm}
    return {fraction: share for fraction, share in found.items() if share.value is not None}


def read(curve: Sequence[Dose], method: str) -> str | None:
    """One sentence on how L goes with the dose, to follow the name of the method; None without two values."""
    found = shares(curve, method)
    values = [share.value for share in found.values() if share.value is not None]
    if len(values) < FEWEST:
        return None
    rises = all(before <= after for before, after in itertools.pairwise(values))
    way = "rises with every step" if rises else "does not rise with every step"
    shown = ", ".join(f"{fixed(value, 2)} at {_percent(at)}" for at, value in zip(found, values, strict=True))
    unfit = [_percent(one.fraction) for one in curve if one.arm and one.arm.methods[method].verdict == "invalid"]
    but = f"; but the verdict at {listed(unfit)} is invalid" if unfit else ""
    return f"L {way}: {shown} of the labels permuted; {_from_where(found)}{but}."


def _from_where(found: Mapping[float, Estimate]) -> str:
    """From which dose on all intervals lie above 0."""
    above = {at: share.ci_low is not None and share.ci_low > 0 for at, share in found.items()}
    clear = [at for at in above if all(is_above for later, is_above in above.items() if later >= at)]
    if clear:
        return f"its interval lies above 0 from {_percent(min(clear))} on"
    if all(share.ci_low is None for share in found.values()):
        return "without intervals over models, which take three of each kind"
    return "its interval contains 0 at the highest"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g} %"
