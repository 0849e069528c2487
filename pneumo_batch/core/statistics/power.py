"""How wide the interval of a label share will be, before hours are spent.

A film's agreement is h on average, and what a model adds to that of its pairs differs from model to model by a share
tau of h (`SPREADS`). With R true and K other models, L = 1 - k / h then moves by (1 - 2 L) times the mean of the true
ones and by the mean of the others. At L = 1, for P patients:

    V_T = (tau^2 + a / P) / R,   V_N = (tau^2 + a / P) / K,   V_P = (b + c (1 / R + 1 / K)) / P

(At L = 0 it is as wide, with three models of a kind up to half as wide again.) a, b and c are what the noise of films
and pairs leaves of the simulated studies of docs/statistics.md where models do not differ; tests/statistics holds the
widths to those of the studies. Patients there have one to three films. Where some have many more than others, P
patients count as fewer (`bootstrap.effective`) and the interval will be wider than told: before a run it is known how
many patients there are, not which films are whose.
"""

from dataclasses import dataclass

import numpy as np
import scipy.special

from pneumo_batch.core.statistics.bootstrap import LEVEL
from pneumo_batch.core.statistics.label_share import FEWEST_MODELS, FEWEST_PATIENTS
from pneumo_batch.core.statistics.permutation import smallest_p

SPREADS = {"little": 0.1, "much": 0.2}  # tau: how much models differ, as a share of h
_OF_MODELS, _OF_PATIENTS, _OF_BOTH = 0.145, 0.035, 0.165  # a, b, c


@dataclass(frozen=True)
class Power:
    """What an arm can show at best: widths of the 95 % interval of L by how much models differ, and the smallest p.

    `widths` is empty with too few models of a kind, or patients, for an interval.
    """

    true: int
    others: int
    patients: int
    widths: dict[str, float]
    smallest_p: float | None


def power(true: int, others: int, patients: int) -> Power:
    enough = min(true, others) >= FEWEST_MODELS and patients >= FEWEST_PATIENTS
    widths = {name: width(true, others, patients, tau) for name, tau in SPREADS.items()} if enough else {}
    return Power(true, others, patients, widths, smallest_p(true, others) if true > 1 and others else None)


def width(true: int, others: int, patients: int, tau: float) -> float:
    """Of the interval of L as `label_share.combine` draws it, at L = 1."""
    of_a_model = tau**2 + _OF_MODELS / patients
    parts = np.array([of_a_model / true, of_a_model / others, 0.0])
    parts[2] = (_OF_PATIENTS + _OF_BOTH * (1 / true + 1 / others)) / patients
    df = parts.sum() ** 2 / (parts**2 / np.array([true - 1, others - 1, patients - 1])).sum()
    return float(2 * scipy.special.stdtrit(df, (1 + LEVEL) / 2) * np.sqrt(parts.sum()))
