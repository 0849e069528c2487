"""How often a random model is said to know the true labels, on synthetic runs in which it does or does not.

`python tests/statistics/test_knowing.py` prints the table of docs/statistics.md. A run has 5 + 5 models. Scores
of films are normal, and d apart for the two classes: a model of true labels has the d of its AUROC and differs from
others by an sd of 0.1, one of random labels has a d of 0 on average, and their AUROCs an sd of 0.06, as on real films.
Of the runs that leak, the first random model was given true labels (`sign` 1) or these swapped (-1).
"""

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.special

from pneumo_batch.core.statistics import classification
from pneumo_batch.core.statistics.model_facts import VariantFacts, problems
from pneumo_batch.core.statistics.words import RANDOM_WORDS

pytestmark = [pytest.mark.statistics, pytest.mark.timeout(3600)]

MODELS = 5
OF_TRUE, OF_RANDOM = 0.1, 0.06 / 0.282  # sd of d; near chance an AUROC rises by 0.282 d


@dataclass(frozen=True)
class Setting:
    auroc: float
    films: int


@dataclass(frozen=True)
class Rates:
    """Of the `runs` whose true models can be told from chance: in how many any, and the first, is said to know."""

    runs: int
    any: float
    first: float


SETTINGS = [Setting(0.65, 200), Setting(0.65, 624), Setting(0.75, 200), Setting(0.75, 624), Setting(0.9, 200)]


def rates(setting: Setting, sign: int = 0, runs: int = 300) -> Rates:
    rng = np.random.default_rng([int(100 * setting.auroc), setting.films, sign + 1])
    said = [found for found in (_known(setting, sign, rng) for _ in range(runs)) if found is not None]
    return Rates(
        len(said),
        float(np.mean([bool(names) for names in said])),
        float(np.mean(["random_0" in names for names in said])),
    )


def _known(setting: Setting, sign: int, rng: np.random.Generator) -> list[str] | None:
    """Names of the random models said to know the labels; None of a run that is invalid for its true models."""
    labels_N = np.arange(setting.films) % 2
    facts = []
    for i in range(2 * MODELS):
        knows = 1 if i < MODELS else sign if i == MODELS else 0
        d = np.sqrt(2) * scipy.special.ndtri(setting.auroc) + OF_TRUE * rng.standard_normal()
        d = knows * d if knows else OF_RANDOM * rng.standard_normal()
        logits_N1 = (rng.standard_normal(setting.films) + d * labels_N)[:, None]
        low, high = classification.auroc_interval(logits_N1, labels_N, np.arange(setting.films), resamples=300)
        kind, name = ("true", f"true_{i}") if i < MODELS else ("random", f"random_{i - MODELS}")
        area = classification.auroc_of(logits_N1, labels_N)
        facts.append(VariantFacts(name, kind, auroc=area, auroc_low=low, auroc_high=high))
    if any(one.is_true and one.at_chance for one in facts):
        return None
    return [line.split()[0] for line in problems(facts, RANDOM_WORDS)]


@pytest.mark.parametrize(("setting", "most"), list(zip(SETTINGS, (0.08, 0.08, 0.05, 0.05, 0.01), strict=True)))
def test_sound_runs_are_rarely_said_to_leak(setting: Setting, most: float) -> None:
    assert rates(setting).any <= most


@pytest.mark.parametrize(("setting", "least"), list(zip(SETTINGS, (0.1, 0.3, 0.85, 0.97, 0.99), strict=True)))
def test_a_model_that_was_given_true_labels_is_found(setting: Setting, least: float) -> None:
    """Beside true models of 0.65, a random one that knows the labels is often told from a lucky one by nothing."""
    assert rates(setting, 1).first >= least


def test_a_model_that_was_given_swapped_labels_is_found() -> None:
    assert rates(Setting(0.9, 200), -1).first >= 0.93


if __name__ == "__main__":
    print("| true models' AUROC | films | sound runs said to leak | found: given true labels | given swapped ones |")
    print("| --- | --- | --- | --- | --- |")
    for one in SETTINGS:
        sound, leaked, swapped = rates(one), rates(one, 1), rates(one, -1)
        print(
            f"| {one.auroc:g} | {one.films} | {sound.any:.2f} | {leaked.first:.2f} | {swapped.first:.2f} |", flush=True
        )
