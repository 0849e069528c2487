"""Arms: whatever an arm is called, it is contrasted as the random one is, and other arms do not disturb it."""

import dataclasses
import itertools

import numpy as np
import pytest

from pneumo_batch.core.similarity import pairs
from pneumo_batch.core.similarity.per_image import Cell, PerImage, ScoredPair
from pneumo_batch.core.statistics import arms, label_share
from pneumo_batch.core.statistics.model_facts import VariantFacts
from pneumo_batch.core.statistics.results import Primary
from pneumo_batch.core.statistics.words import described
from pneumo_batch.core.variants import Arm, Variant

IMAGES = 40
CELLS = [Cell("grad_cam", view, "region", "spearman") for view in ("signed", "magnitude")]
RULE = arms.Rule(Primary("magnitude", "region", "spearman"), 0.5, resamples=200)
RANDOM, HALF = Arm("random", "permuted"), Arm("half", "permuted", 0.5)
# what two models of an arm, and one of it and a true one, agree on about a film
AGREEMENT = {"true": (0.6, 0.6), "random": (0.3, 0.05), "half": (0.4, 0.3)}


def models(*kinds):
    return [Variant(f"{kind}_{k}", kind) for kind in kinds for k in range(3)]


def facts(variants, known):
    told = {"memorised": 1.0, "auroc": 0.9, "auroc_low": 0.8, "training_accuracy": 1.0, "epochs": 5}
    found = [VariantFacts(one.name, one.kind, arm=known.get(one.kind), **told) for one in variants]
    return [dataclasses.replace(one, auroc=0.5, auroc_low=0.4) if one.has_to_be_ignorant else one for one in found]


def scores(variants, agreement=AGREEMENT):
    """Each pair of models has its own noise, whichever others there are."""
    found = {}
    for cell, (kind, chosen) in itertools.product(CELLS, pairs.plan(variants).items()):
        for a, b in chosen:
            seed = [ord(letter) for letter in f"{cell.view}{pairs.is_cross(kind)}{a}{b}"]
            noise_N = 0.05 * np.random.default_rng(seed).standard_normal(IMAGES)
            own, mixed = agreement[b.split("_")[0]] if "_" in b and b != "random_map" else (0.0, 0.0)
            same = own if a.split("_")[0] == b.split("_")[0] else mixed
            found.setdefault(cell, {})[ScoredPair(kind, a, b)] = noise_N + 0.1 + same * pairs.is_within(kind)
    return PerImage(np.arange(IMAGES) % 2, np.arange(IMAGES) // 2, found)


def test_an_arm_of_another_name_gets_the_numbers_of_the_random_one():
    """The scores of a run with its random models renamed."""
    data, variants = scores(models("true", "random")), models("true", "random")
    kinds = {called: kind for kind, called in pairs.as_contrast("half").items()}

    def renamed(pair):
        return ScoredPair(kinds[pair.kind], *(n.replace("random_", "half_", n != "random_map") for n in pair[1:]))

    other = PerImage(
        data.labels_N,
        data.patients_N,
        {cell: {renamed(pair): of_N for pair, of_N in found.items()} for cell, found in data.scores.items()},
    )
    of_half = [dataclasses.replace(one, kind=one.kind.replace("random", "half")) for one in variants]
    of_half = [dataclasses.replace(one, name=one.name.replace("random", "half")) for one in of_half]
    expected = arms.conclude(data, facts(variants, {"random": RANDOM}), RANDOM, RULE)["grad_cam"]
    found = arms.conclude(other, facts(of_half, {"half": HALF}), HALF, RULE)["grad_cam"]
    assert found.verdict == expected.verdict == "sensitive"
    for quantity in label_share.QUANTITIES:
        assert getattr(found.numbers, quantity) == getattr(expected.numbers, quantity)
    assert found.numbers.permutation == expected.numbers.permutation
    means = {kinds[kind]: mean for kind, mean in expected.numbers.means.items()}
    assert found.numbers.means == means
    assert set(found.cells["signed/region/spearman"].means) == set(means)


def test_each_arm_is_judged_as_if_it_were_alone():
    known = {"random": RANDOM, "half": HALF}
    together = models("true", "half", "random")
    for arm in known.values():
        alone = models("true", arm.name)
        expected = arms.conclude(scores(alone), facts(alone, known), arm, RULE)
        assert arms.conclude(scores(together), facts(together, known), arm, RULE) == expected


def test_what_is_lost_is_solved_by_hand():
    """h is the agreement of true models beyond the floor, k that of mixed pairs: L = 1 - k / h."""
    known, variants = {"random": RANDOM, "half": HALF}, models("true", "half", "random")
    data = scores(variants)
    shares = {
        name: arms.conclude(data, facts(variants, known), arm, RULE)["grad_cam"].numbers.share.value
        for name, arm in known.items()
    }
    assert shares["half"] == pytest.approx(1 - 0.3 / 0.6, abs=0.03)
    assert shares["random"] == pytest.approx(1 - 0.05 / 0.6, abs=0.03)


KNOWS = {"auroc": 0.8, "auroc_low": 0.71}  # true models have 0.9: halfway is 0.7


def judged(arm, **changes):
    variants = models("true", arm.name)
    told = facts(variants, {arm.name: arm})
    told = [one if one.is_true else dataclasses.replace(one, **changes) for one in told]
    data = scores(variants, AGREEMENT | {arm.name: (0.3, 0.05)})
    return arms.conclude(data, told, arm, RULE)["grad_cam"]


@pytest.mark.parametrize(
    ("arm", "changes", "verdict", "reason"),
    [
        (HALF, {"memorised": 0.8}, "invalid", "half_0 did not memorise its labels: balanced accuracy 0.8000"),
        (HALF, {"auroc_low": 0.4}, "sensitive", "is lost with 50 % of the labels permuted."),
        (HALF, {}, "sensitive", "is lost with 50 % of the labels permuted."),  # as good as true ones, and may be
        (Arm("full", "permuted"), KNOWS, "invalid", "full_0 knows the true labels: AUROC 0.800 on test"),
        (Arm("people", "permuted", unit="patient"), KNOWS, "invalid", "people_0 knows the true labels: AUROC 0.8"),
        (Arm("fresh", "untrained"), KNOWS, "sensitive", "is owed to training."),
        (Arm("sex", "column:sex"), KNOWS, "sensitive", "is lost with sex for labels."),
        (Arm("fresh", "untrained"), {"memorised": None, "auroc_low": 0.3}, "sensitive", "is owed to training."),
        (Arm("sex", "column:sex"), {"memorised": None}, "sensitive", "is lost with sex for labels."),
        (Arm("sex", "column:sex"), {"auroc_low": 0.45}, "invalid", "sex_0 cannot be told from chance on test"),
        (Arm("deep", "true", network="resnet18"), {}, "sensitive", "is lost with another network, resnet18."),
        (Arm("deep", "true", network="resnet18"), {"auroc_low": 0.45}, "invalid", "deep_0 cannot be told from chance"),
    ],
)
def test_what_an_arm_has_to_have_learnt_follows_from_its_labels(arm, changes, verdict, reason):
    found = judged(arm, **changes)
    assert found.verdict == verdict
    assert reason in found.reasons[0]
    assert not [caveat for caveat in found.caveats if caveat.startswith("Nobody")]
    assert found.on_every_film.endswith(f"so nothing measurable changes there with {described(arm)}.")


def test_labels_that_are_partly_true_by_patient_may_be_better_than_chance():
    """Patients with equally many films are more often of one class; these models are clearly worse than true ones."""
    found = judged(Arm("people", "permuted", unit="patient"), auroc=0.674, auroc_low=0.629)
    assert found.verdict == "sensitive"
    assert "people_0 ranks test films better than chance: AUROC 0.674, interval from 0.629." in found.caveats


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        (Arm("a", "permuted", 0.25, "patient"), "25 % of the labels permuted by patient"),
        (Arm("a", "permuted", within=("view", "sex")), "100 % of the labels permuted within view and sex"),
        (Arm("a", "untrained", network="resnet18"), "fresh weights and another network, resnet18"),
        (Arm("a", "true"), "other seeds"),
    ],
)
def test_an_arm_in_words(arm, words):
    assert described(arm) == words
