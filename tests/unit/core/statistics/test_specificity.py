"""Planted maps of two targets, through the real comparison and statistics, on 4 true and 3 random models."""

import dataclasses
import re

import numpy as np
import pyarrow as pa
import pytest
import scipy.ndimage
import scipy.stats

from pneumo_batch.core.similarity import pairs, per_image
from pneumo_batch.core.similarity.comparison import Comparison, Others
from pneumo_batch.core.similarity.several_targets import Compared, TargetsComparison
from pneumo_batch.core.statistics import label_share, specificity
from pneumo_batch.core.statistics.estimates import Estimate, Interval
from pneumo_batch.core.statistics.model_facts import VariantFacts
from pneumo_batch.core.statistics.results import Primary, SpecificityTest
from pneumo_batch.core.variants import Variant

SIZE, IMAGES, PATIENTS = 64, 48, 32
TARGETS = ("Effusion", "Mass")
TRUE, RANDOM = [f"true_{i}" for i in range(4)], [f"random_{i}" for i in range(3)]
VARIANTS = tuple(Variant(name, "true" if name in TRUE else "random") for name in TRUE + RANDOM)
PRIMARY = Primary("signed", "region", "spearman")
FACTS = [VariantFacts(*vars(one).values(), auroc=0.9, auroc_low=0.8) for one in VARIANTS]


def smooth(rng, *shape):
    return scipy.ndimage.gaussian_filter(rng.standard_normal((*shape, SIZE, SIZE)), (*(0 for _ in shape), 5, 5))


def scored(maps_TNVSS, variants=VARIANTS, metrics=(PRIMARY.metric,), patients=None):
    """The scores of maps by target, image and model."""
    ids = [f"image_{n:02}" for n in range(IMAGES)]
    patients = patients or [f"patient_{n % PATIENTS}" for n in range(IMAGES)]
    labels = pa.array([n % 2 for n in range(IMAGES)], pa.int32())
    images = pa.table({"image_id": ids, "label": labels, "patient_id": patients})
    each = Comparison(variants, ("planted",), metrics, region_grid=8, size=SIZE, seed=0, kinds=KINDS)
    plan = TargetsComparison(each, TARGETS)
    features = [[each.features({"planted": maps.astype(np.float32)}) for maps in maps_NVSS] for maps_NVSS in maps_TNVSS]
    partners_NC = pairs.partners(ids, patients, 0, 4)
    rows = []
    for n, some in enumerate(partners_NC):
        compared = [Compared(of[n], Others(of[some[0]], [of[m].regions for m in some])) for of in features]
        rows.append(plan.score(ids[n], None, compared))
    table = plan.table(images, np.stack(rows))
    assert len(table) == IMAGES * plan.rows
    return table, per_image.gather_targets(table, dict.fromkeys(TARGETS, images)), partners_NC


KINDS = (*pairs.WITHIN_KINDS, *pairs.CROSS_KINDS)  # no edges: there are no films


def concluded(data, facts=FACTS, of_first=None):
    """`of_first` is known of the models at the first target, `facts` at the others."""
    known = dict.fromkeys(TARGETS, facts) | ({TARGETS[0]: of_first} if of_first else {})
    return specificity.conclude(data, known, PRIMARY, 0.5, resamples=300)["planted"][0]


@pytest.fixture(scope="module")
def parts():
    """What all true models show of a film, what they show of it by target, and what each shows of its own by target."""
    rng = np.random.default_rng(0)
    return smooth(rng, 1, IMAGES, 1), smooth(rng, 2, IMAGES, 1), smooth(rng, 2, IMAGES, len(VARIANTS))


def test_maps_that_ignore_the_target_share_all_they_have(parts):
    of_film, _, of_model = parts
    maps_1NVSS = of_film + 0.5 * of_model[:1]  # a model's own part is the same for both, too
    found = concluded(scored(np.concatenate([maps_1NVSS, maps_1NVSS]))[1])
    numbers = found.numbers
    assert found.targets == TARGETS
    assert numbers.share.value == pytest.approx(1, abs=0.02)
    assert numbers.share.ci_low > 0.5
    assert numbers.means["two_targets_one_model"] == pytest.approx(1)
    assert numbers.one_model.value > numbers.headroom.value
    assert found.verdict == "unspecific"
    assert "hardly say which of the two" in found.reasons[0]


def test_maps_that_are_of_the_target_alone_share_nothing(parts):
    _, by_target, of_model = parts
    found = concluded(scored(by_target + 0.5 * of_model)[1])
    assert found.numbers.headroom.ci_low > 0.3
    assert found.numbers.share.ci_low < 0 < found.numbers.share.ci_high < 0.2
    assert found.numbers.one_model.ci_low < 0 < found.numbers.one_model.ci_high
    assert (found.verdict, found.for_these_models) == ("specific", None)


def test_what_one_model_shows_for_any_target_does_not_make_maps_unspecific(parts):
    """Two maps of one model are alike by what is that model's own: no reason to say they name no target."""
    _, by_target, of_model = parts
    found = concluded(scored(by_target + 1.5 * of_model[:1])[1])
    assert found.numbers.one_model.value > found.numbers.headroom.value
    assert found.numbers.share.ci_low < 0 < found.numbers.share.ci_high
    assert found.verdict == "specific"


def test_the_share_rises_with_what_is_common(parts):
    of_film, by_target, of_model = parts
    shares = []
    for common in (0.0, 0.5, 0.8, 1.0):
        maps = common * of_film + (1 - common) * by_target + 0.3 * of_model
        shares.append(concluded(scored(maps)[1]).numbers.share.value)
    assert shares == sorted(shares)


def test_similarities_between_targets_are_those_of_scipy(parts):
    _, by_target, of_model = parts
    maps_TNVSS = (by_target + of_model).astype(np.float32)
    table, _, partners_NC = scored(maps_TNVSS)
    rows = table.to_pandas()
    rows = rows[(rows["metric"] == "spearman") & (rows["view"] == "signed") & (rows["target"] != rows["target_b"])]
    rows = rows[(rows["variant_a"] == "true_1") & (rows["image_id"] == "image_05")]
    rows = rows.set_index(["kind", "variant_b", "scale"])["score"]

    def rho(first_SS, second_SS):
        return scipy.stats.spearmanr(first_SS.ravel(), second_SS.ravel()).statistic

    def pooled(map_SS):
        return map_SS.reshape(8, SIZE // 8, 8, SIZE // 8).mean(axis=(1, 3))

    f, g = maps_TNVSS
    assert rows["two_targets", "true_2", "pixel"] == pytest.approx(rho(f[5, 1], g[5, 2]), abs=1e-6)
    assert rows["two_targets_one_model", "true_1", "region"] == pytest.approx(rho(pooled(f[5, 1]), pooled(g[5, 1])))
    first = partners_NC[5, 0]
    both = [rho(f[5, 1], g[first, 2]), rho(f[first, 1], g[5, 2])]
    assert rows["two_targets_cross", "true_2", "pixel"] == pytest.approx(np.mean(both), abs=1e-6)
    each = [rho(pooled(f[a, 1]), pooled(g[b, 1])) for j in partners_NC[5] for a, b in ((5, j), (j, 5))]
    assert rows["two_targets_one_model_cross", "true_1", "region"] == pytest.approx(np.mean(each), abs=1e-6)


def test_scores_of_one_target_are_those_of_a_run_with_it_alone(parts):
    of_film, by_target, of_model = parts
    maps_TNVSS = of_film + by_target + of_model
    metrics = ("spearman", "ssim")
    table, data, partners_NC = scored(maps_TNVSS, metrics=metrics)
    images = pa.table({name: table[name] for name in ("image_id", "label", "patient_id")})
    for target, maps_NVSS in zip(TARGETS, maps_TNVSS, strict=True):
        each = Comparison(VARIANTS, ("planted",), metrics, region_grid=8, size=SIZE, seed=0, kinds=KINDS)
        features = [each.features({"planted": maps.astype(np.float32)}) for maps in maps_NVSS]
        some = partners_NC[7]
        alone = each.score(
            "image_07", None, features[7], Others(features[some[0]], [features[m].regions for m in some])
        )
        mine = table.filter(pa.compute.equal(table["target"].cast(pa.string()), target))
        mine = mine.filter(pa.compute.equal(mine["target_b"].cast(pa.string()), target))
        mine = mine.filter(pa.compute.equal(mine["image_id"], "image_07"))
        np.testing.assert_array_equal(mine["score"].to_numpy(), alone)
        tests = label_share.randomization_test(data.one[target], TRUE, RANDOM, resamples=100)
        assert tests[per_image.Cell("planted", *vars(PRIMARY).values())].images == IMAGES
    assert images.num_rows == table.num_rows


def test_random_models_that_did_not_memorise_say_nothing_of_two_targets(parts):
    _, by_target, of_model = parts
    data = scored(by_target + 0.5 * of_model)[1]
    unfit = [one if one.is_true else dataclasses.replace(one, memorised=0.7, auroc_low=0.4) for one in FACTS]
    expected, found = concluded(data), concluded(data, unfit)
    assert (found.verdict, found.numbers) == (expected.verdict, expected.numbers)
    assert " (random labels leave " in expected.reasons[0]
    beside = re.compile(r" \(random labels leave [^)]*\)")  # which these models cannot tell
    assert found.reasons == [beside.sub("", reason) for reason in expected.reasons]


@pytest.mark.parametrize(
    ("known", "what"),
    [
        ({"auroc_low": 0.5}, "true_0 and true_1 cannot be told from chance on test"),
        (
            {"auroc": 0.1, "auroc_low": 0.05, "auroc_high": 0.2},
            "test films are ranked the wrong way round by true_0 and true_1",
        ),
    ],
)
def test_true_models_have_to_know_both_targets(parts, known, what):
    _, by_target, of_model = parts
    unfit = [*(dataclasses.replace(one, **known) for one in FACTS[:2]), *FACTS[2:]]
    found = concluded(scored(by_target + 0.5 * of_model)[1], of_first=unfit)
    assert found.verdict == "invalid"
    assert found.reasons == [f"Effusion: {what}, so there is nothing to compare."]


def test_the_headroom_of_a_target_is_that_of_the_label_share(parts):
    """Which h has no part of random models in, where every film has every similarity."""
    _, by_target, of_model = parts
    data = scored(by_target + of_model)[1].one["Mass"]
    cell = per_image.Cell("planted", *vars(PRIMARY).values())
    expected = label_share.randomization_test(data, TRUE, RANDOM, resamples=100)[cell].headroom
    found = specificity.headroom(data, cell, TRUE, resamples=100)
    for one, other in ((found, expected), (found.patients, expected.patients), (found.sd, expected.sd)):
        for name, value in vars(one).items():
            if isinstance(value, float):
                assert value == pytest.approx(getattr(other, name), rel=1e-9), name


def test_one_patient_with_nearly_all_films_leaves_no_interval(parts):
    maps_TNVSS = parts[1] + 0.5 * parts[2]
    patients = ["one"] * (IMAGES - 6) + [f"patient_{n}" for n in range(6)]
    found = concluded(scored(maps_TNVSS, patients=patients)[1])
    assert found.numbers.patients == 7
    assert found.numbers.share.value is not None
    assert (found.numbers.share.ci_low, found.numbers.share.patients) == (None, Interval())
    assert found.verdict == "inconclusive"
    films = np.array([IMAGES - 6, 1, 1, 1, 1, 1, 1])
    assert found.numbers.effective_patients == pytest.approx(films.sum() ** 2 / (films**2).sum())
    assert f"7 patients count as {found.numbers.effective_patients:.1f}, since some have many more" in found.reasons[0]


@pytest.mark.parametrize(
    ("headroom", "over"),
    [
        (Estimate(0.1, 0.01, 0.2, Interval(0.0, 0.2)), None),  # over models too there is one, which counts
        (Estimate(0.1, 0.0, 0.2, Interval(0.01, 0.2)), "patients and models 0.000"),
        (Estimate(0.1, None, None, Interval(0.0, 0.2)), "patients 0.000"),
        (Estimate(0.1, None, None, Interval(0.01, 0.2)), None),
        (Estimate(0.1), None),
    ],
)
def test_a_headroom_has_to_be_known_to_be_above_0(headroom, over):
    found, reasons, _ = specificity.decide(SpecificityTest(), {"Mass": specificity.Asked(headroom)}, 3, 0.5)
    assert (found == "invalid") == bool(over)
    assert not over or f"Mass: it is not known that h = 0.100 (95 % interval over {over} to 0.200)" in reasons[0]


@pytest.mark.parametrize("random", [0, 2, 3])
def test_the_number_of_random_models_changes_nothing(parts, random):
    """Of Mass two true models agree and two see noise: over models it is not known that h is above 0, over patients
    it is. With fewer than three random models the verdict of the target itself looks at patients alone.
    """
    _, by_target, of_model = parts
    maps_TNVSS = by_target + 0.3 * of_model
    maps_TNVSS[1, :, 2:4] = of_model[1, :, 2:4]
    variants = VARIANTS[: 4 + random]
    data = scored(maps_TNVSS[:, :, : 4 + random], variants)[1]
    h = specificity.headroom(data.one["Mass"], per_image.Cell("planted", *vars(PRIMARY).values()), TRUE)
    assert h.ci_low < 0 < h.patients.ci_low
    found = concluded(data, FACTS[: 4 + random])
    assert (found.verdict, found.for_these_models) == ("invalid", None)
    assert [reason.split(" (")[0] for reason in found.reasons] == [f"Mass: it is not known that h = {h.value:.3f}"]


def test_of_few_models_it_is_said_only_for_them(parts):
    _, by_target, of_model = parts
    maps_TNVSS = by_target + 0.5 * of_model
    two = (*VARIANTS[:2], *VARIANTS[4:])
    data = scored(maps_TNVSS[:, :, [0, 1, 4, 5, 6]], two)[1]
    found = concluded(data, facts=[*FACTS[:2], *FACTS[4:]])
    assert (found.verdict, found.for_these_models) == ("inconclusive", "specific")
    assert found.reasons[0] == "2 true models: too few to speak of other models, which takes 3."
    one = (VARIANTS[0], *VARIANTS[4:])
    data = scored(maps_TNVSS[:, :, [0, 4, 5, 6]], one)[1]
    found = concluded(data, facts=[FACTS[0], *FACTS[4:]])
    assert found.verdict == "inconclusive"
    assert found.numbers.share.value is None


@pytest.mark.parametrize(
    ("known", "models", "why"),
    [
        ({"patients": 4}, 3, "only 4 patients have a film with every similarity, and an interval takes 5."),
        ({"patients": 1}, 2, "only one patient has a film with every similarity, and an interval takes 5."),
        (
            {"patients": 9, "headroom": Estimate(0.2, patients=Interval(0.1, 0.3))},
            3,
            "without one of the models no film has every similarity, so no interval can be computed.",
        ),
        (
            {"patients": 9, "headroom": Estimate(0.2, 0.01, 0.39, Interval(0.1, 0.3))},
            3,
            "what two true models agree on about a film is too little to divide.",
        ),
        (
            {"patients": 9, "headroom": Estimate(0.2, patients=Interval(0.001, 0.3))},
            2,
            "what two true models agree on about a film is too little to divide.",
        ),
    ],
)
def test_a_share_without_an_interval_says_why(known, models, why):
    numbers = SpecificityTest(share=Estimate(0.3), random_share=0.1, **known)
    found, reasons, _ = specificity.decide(numbers, {}, models, 0.5)
    assert found == "inconclusive"
    assert reasons[-1] == (
        "Of what two true models agree on about a film, they still agree on 0.300 when each is asked for another"
        f" (random labels leave 0.100): {why}"
    )


def test_agreement_below_0_is_said_to_be_none():
    numbers = SpecificityTest(
        images=9, patients=9, headroom=Estimate(0.2, 0.1, 0.3), share=Estimate(-0.406, -0.7, -0.1)
    )
    found, reasons, _ = specificity.decide(numbers, {}, 3, 0.5)
    assert found == "specific"
    assert reasons == [
        "Of what two true models agree on about a film, nothing is left when each is asked for another, c / h = -0.406"
        " (95 % interval over patients and models -0.700 to -0.100): maps say which of the two is explained."
    ]
