"""Whether the intervals and the verdict keep their promises, on synthetic studies whose truth is known.

`python tests/statistics/test_simulation.py` prints the table. A study has as many true as random models (four unless
said otherwise) and 160 patients of one to five images; the similarity of two models on an image is a base, the effect
if both are true, what each of the two models makes of this patient (the same on all of the patient's images) and of
this image, and noise of the pair. Models are exchangeable where there is no effect. Coverage is that of the effect by
the interval of the mean difference.
"""

import functools
import zlib
from dataclasses import astuple, dataclass, replace

import numpy as np
import pytest

from pneumo_batch.core import statistics
from pneumo_batch.core.per_image import Cell, PerImage, Tally
from pneumo_batch.core.verdict import VariantFacts, decide

pytestmark = [pytest.mark.statistics, pytest.mark.timeout(1800)]

CELL = Cell("grad_cam", "magnitude", "region", "spearman")
MARGIN = 0.05
STUDIES = 1000


@dataclass(frozen=True)
class Setting:
    name: str
    effect: float
    patients: int = 160
    model_spread: float = 0.0  # standard deviation of what each model adds to all of its similarities
    skewed: bool = False
    ignore_patients: bool = False  # resample images: the mistake that patient clusters avoid
    models: int = 4  # of each kind

    @property
    def true(self) -> list[str]:
        return [f"true_{i}" for i in range(self.models)]

    @property
    def random(self) -> list[str]:
        return [f"random_{i}" for i in range(self.models)]


@dataclass(frozen=True)
class Rates:
    coverage: float
    sensitive: float
    insensitive: float
    patients_alone: float  # what `sensitive` would be if models were not permuted
    permutation: float  # p <= 0.05


def study(setting: Setting, rng: np.random.Generator) -> PerImage:
    patients_N = np.repeat(np.arange(setting.patients), rng.integers(1, 6, size=setting.patients))
    names = setting.true + setting.random
    first_P, second_P = np.triu_indices(len(names), k=1)
    both_true_P = second_P < setting.models
    mixed_P = (first_P < setting.models) & (second_P >= setting.models)
    models_NV = _models(setting, patients_N, rng)
    pairs_NP = 0.4 + setting.effect * both_true_P + models_NV[:, first_P] + models_NV[:, second_P]
    pairs_NP += 0.1 * rng.normal(size=pairs_NP.shape)
    floor_N = pairs_NP[:, both_true_P].mean(axis=1) - 0.3
    means_P = pairs_NP.mean(axis=0)
    return PerImage(
        labels_N=np.zeros(len(patients_N), dtype=int),
        patients_N=np.arange(len(patients_N)) if setting.ignore_patients else patients_N,
        kinds={
            (CELL, "true_true"): tally(pairs_NP[:, both_true_P]),
            (CELL, "true_random"): tally(pairs_NP[:, mixed_P]),
            (CELL, "true_true_cross"): tally(floor_N[:, None]),
        },
        models={(CELL, names[a], names[b]): mean for a, b, mean in zip(first_P, second_P, means_P, strict=True)},
        degenerate={},
    )


def _models(setting: Setting, patients_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What each model (N, V) adds to the similarities it takes part in."""
    count = 2 * setting.models
    drawn = rng.standard_exponential if setting.skewed else rng.standard_normal
    models_NV = 0.15 * drawn((setting.patients, count))[patients_N] + 0.1 * drawn((len(patients_N), count))
    # exponential deviates have mean 1
    return models_NV + setting.model_spread * rng.normal(size=count) - 0.25 * setting.skewed


def tally(pairs_NP: np.ndarray) -> Tally:
    count_N = np.full(len(pairs_NP), pairs_NP.shape[1])
    return Tally(pairs_NP.sum(axis=1), count_N, count_N)


@functools.cache
def simulate(setting: Setting) -> Rates:
    facts = [VariantFacts(name, True, auroc_low=0.9) for name in setting.true]
    facts += [VariantFacts(name, False, memorised=1.0) for name in setting.random]
    found = np.empty((STUDIES, 5))
    for index in range(STUDIES):
        data = study(setting, np.random.default_rng([zlib.crc32(setting.name.encode()), index]))
        numbers = statistics.calibrated_test(data, setting.true, setting.random, resamples=1000, seed=index)[CELL]
        verdict = decide(facts, numbers, MARGIN).verdict
        without = decide(facts, {**numbers, "permutation": None}, MARGIN).verdict
        interval = numbers["difference"]
        covered = interval["ci_low"] <= setting.effect <= interval["ci_high"]
        models = numbers["permutation"]["p"] <= 0.05 + 1e-9
        found[index] = covered, verdict == "sensitive", verdict == "insensitive", without == "sensitive", models
    return Rates(*found.mean(axis=0))


NULL = Setting("no effect", 0.0)
EDGE = Setting("effect of exactly the margin", MARGIN)
CLEAR = Setting("clear effect", 0.15)
SKEWED = replace(CLEAR, name="clear effect, skewed patients", skewed=True)
FEW = replace(CLEAR, name="clear effect, 25 patients", patients=25)
NAIVE = replace(CLEAR, name="clear effect, images resampled as if independent", ignore_patients=True)
MODELS = replace(NULL, name="no effect, models differ by 0.1", model_spread=0.1)
THREE = replace(MODELS, name="no effect, models differ by 0.1, 3 + 3 models", models=3)
TWO = replace(MODELS, name="no effect, models differ by 0.1, 2 + 2 models", models=2)
CLEAR_THREE = replace(CLEAR, name="clear effect, 3 + 3 models", models=3)
STRONG = replace(MODELS, name="strong effect (0.3), models differ by 0.1", effect=0.3)


def within(rate: float, nominal: float) -> bool:
    """Three standard errors of a rate measured in `STUDIES` studies."""
    return abs(rate - nominal) <= 3 * np.sqrt(nominal * (1 - nominal) / STUDIES)


@pytest.mark.parametrize("setting", [NULL, EDGE, CLEAR, SKEWED], ids=lambda setting: setting.name)
def test_the_interval_covers_the_truth_as_often_as_it_says(setting: Setting) -> None:
    assert within(simulate(setting).coverage, 0.95)


def test_resampling_images_instead_of_patients_would_not() -> None:
    assert not within(simulate(NAIVE).coverage, 0.95)


@pytest.mark.parametrize("setting", [NULL, EDGE, MODELS], ids=lambda setting: setting.name)
def test_sensitive_is_wrong_in_no_more_than_five_percent(setting: Setting) -> None:
    assert simulate(setting).sensitive <= 0.05


def test_the_verdict_finds_what_is_there() -> None:
    assert simulate(CLEAR).sensitive == 1.0
    assert simulate(CLEAR_THREE).sensitive >= 0.99
    assert simulate(NULL).insensitive >= 0.95


@pytest.mark.parametrize("setting", [MODELS, THREE], ids=lambda setting: setting.name)
def test_the_permutation_over_models_holds_where_models_differ(setting: Setting) -> None:
    rates = simulate(setting)
    assert rates.permutation <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / STUDIES)  # of 3 + 3 it is 1/20 by construction
    assert rates.sensitive <= rates.permutation


@pytest.mark.parametrize("setting", [MODELS, THREE, TWO], ids=lambda setting: setting.name)
def test_patients_alone_would_call_differing_models_sensitive(setting: Setting) -> None:
    assert simulate(setting).patients_alone > 0.05


def test_two_and_two_models_cannot_be_protected() -> None:
    rates = simulate(TWO)
    assert rates.permutation == 0.0
    assert rates.sensitive == rates.patients_alone


def table() -> str:
    columns = ("coverage", "sensitive", "insensitive", "sensitive, patients alone", "permutation p <= 0.05")
    rows = [f"| study | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for setting in (NULL, EDGE, CLEAR, SKEWED, FEW, NAIVE, MODELS, THREE, TWO, CLEAR_THREE, STRONG):
        shares = " | ".join(f"{share:.3f}" for share in astuple(simulate(setting)))
        rows.append(f"| {setting.name} | {shares} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(f"{STUDIES} studies each, nominal coverage 0.95, margin {MARGIN}\n\n{table()}")
