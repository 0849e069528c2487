"""How a quantity of the verdict is written and drawn: with the interval that it has."""

from typing import NamedTuple

from pneumo_batch.core.statistics.estimates import Estimate
from pneumo_batch.report.parts import MISSING, number


class Ends(NamedTuple):
    """A 95 % interval; `of_these_models` where it resamples patients alone, since models were too few."""

    low: float
    high: float
    of_these_models: bool


def ends(estimate: Estimate) -> Ends | None:
    """The interval that speaks of other models too, else that over patients; None where there is neither."""
    for found, of_these in ((estimate, False), (estimate.patients, True)):
        if found.ci_low is not None and found.ci_high is not None:
            return Ends(found.ci_low, found.ci_high, of_these)
    return None


def written(estimate: Estimate, digits: int = 3) -> str:
    """`0.95 (0.85 to 1.05)`, with "these models only" inside the brackets where that is so."""
    value, found = number(estimate.value, digits), ends(estimate)
    if estimate.value is None or found is None:
        return value if estimate.value is None else f"{value} (no interval)"
    only = ", these models only" if found.of_these_models else ""
    return f"{value} ({number(found.low, digits)} to {number(found.high, digits)}{only})"


def interval(estimate: Estimate) -> str:
    """The interval alone, for a column of a table."""
    found = ends(estimate)
    if found is None:
        return MISSING
    return f"{number(found.low)} to {number(found.high)}{' (these models)' * found.of_these_models}"
