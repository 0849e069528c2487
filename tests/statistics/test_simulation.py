"""Whether the intervals and the verdict keep their promises, on synthetic studies whose truth is known.

`python tests/statistics/test_simulation.py` prints the table of docs/statistics.md. The similarity of models a and b on
film i of patient p, and across films i and j (each of the next sixteen of other patients, both ways), is

    C_abij = floor + (e_p(i) + e_p(j)) / 2 + v_a + v_b + x_ai + x_bj + noise
    S_abi  = floor + e_p + v_a + v_b + x_ai + x_bi + u_a + u_b + z_ab + s_a s_b A_abp + y_ai + y_bi + noise

A, what two models agree on about a film, is (h - k) g_p + k g'_p of two true ones and k g'_p of the others: what the
labels add, and what the film gives without them, each of its own size in every patient. Films differ in e, g and g';
films seen by a model in x (typical or not) and y; models in v (alike everywhere), u (they agree more or less on films)
and s (their maps carry more or less of what is shared); pairs of models in z. All are independent; g, g' and s have
mean 1, the others 0. So over patients and models E (S - C) is h for true pairs and k for mixed ones, and L = 1 - k / h
is the truth. A skewed study has patients of 1 to 20 films, or `most` of 20 and the rest of one, and exponential e, g
and g'.

Shapes: N films, V models, P pairs.
"""

import functools
import multiprocessing
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from pneumo_batch.core.similarity import pairs
from pneumo_batch.core.similarity.per_image import Cell, PerImage, ScoredPair
from pneumo_batch.core.statistics import label_share, power
from pneumo_batch.core.statistics.model_facts import VariantFacts
from pneumo_batch.core.statistics.verdict import decide
from pneumo_batch.core.variants import KINDS, Variant, names_of

pytestmark = [pytest.mark.statistics, pytest.mark.timeout(3600)]

CELL = Cell("grad_cam", "magnitude", "region", "spearman")
THRESHOLD = 0.5
SHARES = (1.0, 0.5, 0.15, 0.0)
STUDIES = 1000  # of each share in each row
RESAMPLES = 500


@dataclass(frozen=True)
class Setting:
    true: int = 4
    random: int = 4
    model_sd: float = 0.04  # of v and of u
    headroom: float = 0.2  # h
    noise: float = 0.1  # sd of x, y and of the pair's noise on a film
    patients: int = 100
    skewed: bool = False
    strength_sd: float = 0.0  # of s, lognormal
    pair_sd: float = 0.0  # of z
    random_agree: bool = False  # what labels add to two true models, random labels add to two random ones
    most: int = field(default=0, repr=False)  # patients; the seed of a study comes from the other fields

    @property
    def variants(self) -> tuple[Variant, ...]:
        true = tuple(Variant(f"true_{i}", "true") for i in range(self.true))
        return true + tuple(Variant(f"random_{i}", "random") for i in range(self.random))


@dataclass(frozen=True)
class Rates:
    """Of the studies of one setting and one share; coverage is over those where an interval is given."""

    coverage: float
    patients_coverage: float
    given: float
    sensitive: float
    insensitive: float
    invalid: float


# ---------------------------------------------------------------------------------------------------------- one study


@functools.cache
def plan(variants: tuple[Variant, ...], kinds: tuple[str, ...]) -> tuple[list[ScoredPair], np.ndarray]:
    """The scored pairs and the positions (2, P) of their models."""
    place = {variant.name: position for position, variant in enumerate(variants)}
    scored = [ScoredPair(kind, a, b) for kind in kinds for a, b in pairs.plan(variants)[kind]]
    return scored, np.array([(place[pair.variant_a], place[pair.variant_b]) for pair in scored]).T


def study(setting: Setting, share: float, rng: np.random.Generator) -> PerImage:
    size = setting.patients
    counts = np.minimum(rng.geometric(0.35, size), 20) if setting.skewed else rng.integers(1, 4, size)
    if setting.most:
        counts = np.repeat([1, 20], [size - setting.most, setting.most])
    patients_N = np.repeat(np.arange(setting.patients), counts)
    partners_NC = (np.cumsum(counts)[patients_N][:, None] + np.arange(pairs.PARTNERS["region"])) % len(patients_N)
    e_N, labels_N, film_N = _patients(setting, rng)[:, patients_N]
    models = setting.true + setting.random
    v_V, u_V = setting.model_sd * rng.standard_normal((2, models))
    x_NV, y_NV = setting.noise * rng.standard_normal((2, len(patients_N), models))
    same, (a_P, b_P) = plan(setting.variants, pairs.WITHIN_KINDS)
    added_P = (b_P < setting.true) | (setting.random_agree & (a_P >= setting.true))
    k = (1 - share) * setting.headroom
    agree_NP = (setting.headroom - k) * labels_N[:, None] * added_P + k * film_N[:, None]
    s_V = _strength(setting, rng)
    z_P = setting.pair_sd * rng.standard_normal(len(a_P))
    own_NV = v_V + x_NV
    on_film_NV = own_NV + u_V + y_NV
    same_NP = e_N[:, None] + on_film_NV[:, a_P] + on_film_NV[:, b_P] + z_P + s_V[a_P] * s_V[b_P] * agree_NP
    cross, (c_P, d_P) = plan(setting.variants, pairs.CROSS_KINDS)
    both_NV = own_NV + own_NV[partners_NC].mean(axis=1)  # one model here and the other there, and the other way round
    cross_NP = (e_N + e_N[partners_NC].mean(axis=1))[:, None] / 2 + (both_NV[:, c_P] + both_NV[:, d_P]) / 2
    fewer = np.sqrt(2 * partners_NC.shape[1])  # so many pairs of maps are averaged
    scores = dict(_columns(setting, same, same_NP, rng))
    scores |= dict(_columns(replace(setting, noise=setting.noise / fewer), cross, cross_NP, rng))
    return PerImage(np.zeros(len(patients_N), dtype=int), patients_N, {CELL: scores})


def _patients(setting: Setting, rng: np.random.Generator) -> np.ndarray:
    """e, g and g' (3, patients)."""
    size = (3, setting.patients)
    drawn = rng.standard_exponential(size) - 1 if setting.skewed else rng.standard_normal(size)
    scale = np.array([[0.1], [1.0], [1.0]] if setting.skewed else [[0.1], [0.5], [0.5]])
    return scale * drawn + [[0], [1], [1]]


def _strength(setting: Setting, rng: np.random.Generator) -> np.ndarray:
    variance = np.log1p(setting.strength_sd**2)
    return rng.lognormal(-variance / 2, np.sqrt(variance), setting.true + setting.random)


def _columns(
    setting: Setting, scored: list[ScoredPair], means_NP: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[ScoredPair, np.ndarray]]:
    """With a floor of each kind and the pair's noise on every film."""
    noise_PN = rng.standard_normal(means_NP.T.shape, dtype=np.float32)
    floors = [0.4 if pair.kind in ("true_true", "true_true_cross") else 0.3 for pair in scored]
    columns_PN = np.array(floors)[:, None] + means_NP.T + setting.noise * noise_PN
    return zip(scored, columns_PN.astype(np.float32), strict=True)


def judge(job: tuple[Setting, float, int]) -> tuple[float, ...]:
    """Truth covered, and by patients alone (NaN where no interval is given); sensitive, insensitive, invalid."""
    setting, share, index = job
    data = study(setting, share, np.random.default_rng([zlib.crc32(repr(setting).encode()), index]))
    names = [names_of(setting.variants, kind) for kind in KINDS]
    test = label_share.randomization_test(data, *names, resamples=RESAMPLES, seed=index)[CELL]
    facts = [VariantFacts(one.name, one.kind, memorised=1.0, auroc_low=0.9) for one in setting.variants]
    found = decide(facts, test, THRESHOLD).verdict
    covered = [_covers(one, share) for one in (test.share, test.share.for_these_models)]
    return (*covered, found == "sensitive", found == "insensitive", found == "invalid")


def _covers(estimate: label_share.Estimate, truth: float) -> float:
    if estimate.ci_low is None or estimate.ci_high is None:
        return np.nan
    return float(estimate.ci_low - 1e-9 <= truth <= estimate.ci_high + 1e-9)


# --------------------------------------------------------------------------------------------------------- the table

BASE = Setting()
MODELS = [Setting(n, n, model_sd=sd) for n in (3, 5) for sd in (0.0, 0.02, 0.04, 0.1)]
MODELS += [Setting(n, n, model_sd=sd) for n in (4, 8) for sd in (0.04, 0.1)]
STRONGER = [Setting(n, n, model_sd=0.1, headroom=0.4) for n in (3, 5)]
QUIET = [Setting(n, n, model_sd=sd, noise=0.02) for n, sd in ((3, 0.0), (3, 0.04), (5, 0.04))]
PATIENTS = [Setting(n, n, model_sd=sd, patients=p) for n, sd, p in ((3, 0.0, 25), (5, 0.02, 25), (3, 0.04, 400))]
SKEWED = [
    Setting(n, n, model_sd=sd, patients=p, skewed=True, noise=noise)
    for n, sd, p, noise in ((3, 0.0, 25, 0.02), (5, 0.02, 25, 0.1), (4, 0.04, 100, 0.1), (3, 0.04, 400, 0.1))
]
SKEWED += [Setting(5, 5, model_sd=0.0, headroom=0.1, patients=25, skewed=True)]
OTHERS = {
    "strength of models differs (sd 0.2)": Setting(3, 3, model_sd=0.0, strength_sd=0.2),
    "strength of models differs (sd 0.4)": Setting(5, 5, model_sd=0.0, strength_sd=0.4),
    "pairs of models differ (sd 0.04)": replace(BASE, pair_sd=0.04),
    "random models agree as true ones do": replace(BASE, random_agree=True),
    "3 true, 6 random": Setting(3, 6),
}
# Few patients, some with many times the films of others, and nothing else that varies: the bars are not reached.
FEW = [Setting(n, n, model_sd=0.0, patients=p, skewed=True, noise=0.02) for n, p in ((5, 25), (8, 25), (5, 12))]
FEW += [Setting(5, 5, model_sd=0.0, skewed=True, noise=0.02, most=5)]  # 100 patients, who count as 18
SETTINGS = [*MODELS, *STRONGER, *QUIET, *PATIENTS, *SKEWED, *FEW, *OTHERS.values()]


@functools.cache
def simulate() -> dict[Setting, dict[float, Rates]]:
    """Every setting, by share. Studies of one index have the same effects at every share."""
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # of the processes to be started
    found = {}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for setting in SETTINGS:
            jobs = [(setting, share, index) for share in SHARES for index in range(STUDIES)]
            judged = np.array(pool.map(judge, jobs, chunksize=100)).reshape(len(SHARES), STUDIES, 5)
            found[setting] = dict(zip(SHARES, map(_rates, judged), strict=True))
    return found


def _rates(judged_S5: np.ndarray) -> Rates:
    given_S = ~np.isnan(judged_S5[:, 0])
    covered = np.nanmean(judged_S5[:, :2], axis=0)
    return Rates(*covered, given_S.mean(), *judged_S5[:, 2:].mean(axis=0))


def coverage(rates: dict[float, Rates]) -> float:
    """The least over the shares."""
    return min(one.coverage for one in rates.values())


def false_sensitive(rates: dict[float, Rates]) -> float:
    """The most over the shares at and below the threshold."""
    return max(one.sensitive for share, one in rates.items() if share <= THRESHOLD)


def false_insensitive(rates: dict[float, Rates]) -> float:
    return max(one.insensitive for share, one in rates.items() if share >= THRESHOLD)


def described(setting: Setting) -> str:
    patients = f"{setting.patients}{', skewed' if setting.skewed else ''}"
    patients += f", {setting.most} of 20 films and the rest of one" if setting.most else ""
    models = f"{setting.true} + {setting.random}"
    return f"{models} | {setting.model_sd:g} | {setting.headroom:g} | {setting.noise:g} | {patients}"


@pytest.mark.parametrize("setting", SETTINGS, ids=described)
def test_intervals_cover_and_false_decisions_are_rare(setting: Setting) -> None:
    rates = simulate()[setting]
    covered, mistaken = (0.88, 0.06) if setting in FEW else (0.93, 0.05)
    assert coverage(rates) >= covered
    assert false_sensitive(rates) <= mistaken
    assert false_insensitive(rates) <= mistaken


def test_resampling_patients_alone_does_not_cover_where_models_differ() -> None:
    for setting in MODELS:
        least = min(one.patients_coverage for one in simulate()[setting].values())
        assert least >= 0.93 if setting.model_sd == 0 else least < 0.93


def test_three_of_a_kind_suffice_where_models_hardly_differ() -> None:
    for setting in (Setting(3, 3, model_sd=0.0), Setting(5, 5, model_sd=0.02)):
        assert simulate()[setting][1.0].sensitive >= 0.9
        assert simulate()[setting][0.0].insensitive >= 0.9


def test_more_models_find_more() -> None:
    found = [simulate()[Setting(models, models)] for models in (3, 4, 5, 8)]
    for powers in ([rates[1.0].sensitive for rates in found], [rates[0.15].insensitive for rates in found]):
        assert powers == sorted(powers)
        assert powers[-1] >= 0.9


@pytest.mark.parametrize("patients", [25, 100, 400])
@pytest.mark.parametrize("models", [3, 5, 8])
@pytest.mark.parametrize("spread", [0.0, 0.1, 0.2])
def test_intervals_are_as_wide_as_told_before_a_run(models: int, patients: int, spread: float) -> None:
    """The median of studies with L = 1, where models differ by so much of h."""
    setting = Setting(models, models, model_sd=spread * BASE.headroom, patients=patients)
    names, widths = [names_of(setting.variants, kind) for kind in KINDS], []
    for index in range(200):
        data = study(setting, 1.0, np.random.default_rng([7, index]))
        share = label_share.randomization_test(data, *names, resamples=RESAMPLES, seed=index)[CELL].share
        if share.ci_low is not None and share.ci_high is not None:
            widths.append(share.ci_high - share.ci_low)
    assert np.median(widths) == pytest.approx(power.width(models, models, patients, spread), rel=0.2)


def table() -> str:
    columns = ("models", "model sd", "h", "noise", "patients", "besides", "coverage", "patients alone")
    columns += ("false sensitive", "false insensitive", "sensitive at L = 1", "insensitive at 0.15", "at 0", "invalid")
    rows = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    besides = {setting: name for name, setting in OTHERS.items()}
    for setting, rates in simulate().items():
        least = min(one.patients_coverage for one in rates.values())
        shares = (coverage(rates), least, false_sensitive(rates), false_insensitive(rates), rates[1.0].sensitive)
        shares += (rates[0.15].insensitive, rates[0.0].insensitive, np.mean([one.invalid for one in rates.values()]))
        shown = " | ".join(f"{one:.3f}" for one in shares)
        rows.append(f"| {described(setting)} | {besides.get(setting, '')} | {shown} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(
        f"{STUDIES} studies of each L = {', '.join(map(str, SHARES))} in each row, threshold {THRESHOLD}\n\n{table()}"
    )
