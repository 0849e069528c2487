"""Planted methods whose verdict is known, through the real comparison, statistics and decision, on 4 + 4 models."""

import sys
import types

import numpy as np
import pytest
import scipy.ndimage
import torch

from pneumo_batch.core import tables
from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.data import phantom
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.similarity import controls, pairs, per_image
from pneumo_batch.core.similarity.comparison import Comparison, Others
from pneumo_batch.core.statistics import label_share, verdict
from pneumo_batch.core.statistics.model_facts import VariantFacts
from pneumo_batch.core.statistics.results import Primary
from pneumo_batch.core.variants import Variant

SIZE, IMAGES, PATIENTS = 64, 60, 40
THRESHOLD, PRIMARY = 0.5, Primary("magnitude", "region", "spearman")
TRUE, RANDOM = [f"true_{i}" for i in range(4)], [f"random_{i}" for i in range(4)]
VARIANTS = tuple(Variant(name, "true" if name in TRUE else "random") for name in TRUE + RANDOM)
KNOWING, IGNORANT = {"auroc": 0.95, "auroc_low": 0.9}, {"memorised": 1.0, "auroc": 0.52, "auroc_low": 0.45}
FACTS = [VariantFacts(one.name, one.kind, **(KNOWING if one.is_true else IGNORANT)) for one in VARIANTS]


@pytest.fixture(scope="module")
def films():
    kinds = ("bacteria", "virus", None)
    return np.stack([phantom.render(np.random.default_rng(n), SIZE, kinds[n % 3]).image_HW for n in range(IMAGES)])


def smooth(rng, shape=()):
    return scipy.ndimage.gaussian_filter(rng.standard_normal((*shape, SIZE, SIZE)), (*(0 for _ in shape), 5, 5))


def standardised(maps):
    """Mean 0 and, over the 8 x 8 regions that are compared, standard deviation 1."""
    regions = maps.reshape(*maps.shape[:-2], 8, SIZE // 8, 8, SIZE // 8).mean(axis=(-3, -1))
    return (maps - maps.mean(axis=(-2, -1), keepdims=True)) / regions.std(axis=(-2, -1), keepdims=True)


def judge(films_NSS, maps_NVSS, method="planted"):
    """The verdict on maps of every image under every model."""
    ids = [f"test/image_{n:03}.png" for n in range(IMAGES)]
    patients = [f"patient_{n % PATIENTS}" for n in range(IMAGES)]
    identity = tables.pa.table({"image_id": ids, "label": [n % 2 for n in range(IMAGES)], "patient_id": patients})
    identity = identity.set_column(1, "label", identity["label"].cast("int32"))
    plan = Comparison(VARIANTS, (method,), ("spearman", "top10"), region_grid=8, size=SIZE, seed=0)
    features = [plan.features({method: maps_VSS.astype(np.float32)}) for maps_VSS in maps_NVSS]
    plan.check_self_pairs(features[0])
    partners_NC = pairs.partners(ids, patients, 0, 16)
    others = [Others(features[some[0]], [features[n].regions for n in some]) for some in partners_NC]
    rows = [plan.score(ids[n], films_NSS[n], features[n], others[n]) for n in range(IMAGES)]
    data = per_image.gather(plan.table(identity, np.stack(rows)), identity)
    tests = label_share.randomization_test(data, TRUE, RANDOM, resamples=1000)
    return verdict.conclude(FACTS, tests, PRIMARY, THRESHOLD)[method]


def test_a_method_that_ignores_the_model_is_insensitive(films):
    rng = np.random.default_rng(1)
    edges_NSS = np.stack([controls.sobel_edges(film_SS) for film_SS in films])
    of_the_model_NVSS = 0.1 * edges_NSS.std() * rng.standard_normal((IMAGES, len(VARIANTS), SIZE, SIZE))
    found = judge(films, edges_NSS[:, None] + of_the_model_NVSS)
    assert found.verdict == "insensitive"
    assert found.numbers.means["true_random"] > 0.95
    assert found.numbers.means["edge"] > 0.95
    assert found.numbers.headroom.ci_low > 0  # it does show the image
    assert found.numbers.share.value == pytest.approx(0, abs=0.01)
    assert "most of what true models agree on about a film is there without the labels" in found.reasons[0]


def test_a_method_that_follows_the_labels_is_sensitive(films):
    rng = np.random.default_rng(2)
    learned_N1SS = smooth(rng, (IMAGES, 1))
    maps_NVSS = smooth(rng, (IMAGES, len(VARIANTS)))
    maps_NVSS[:, : len(TRUE)] += 2 * learned_N1SS
    found = judge(films, maps_NVSS)
    assert found.verdict == "sensitive"
    assert found.numbers.permutation.image_specific.p == 1 / 70
    assert found.numbers.share.value == pytest.approx(1, abs=0.1)  # they share nothing else
    assert found.numbers.everywhere.value == pytest.approx(0, abs=0.05)
    assert found.disagreements == []


def test_models_whose_maps_are_noise_are_invalid(films):
    found = judge(films, smooth(np.random.default_rng(3), (IMAGES, len(VARIANTS))))
    assert found.verdict == "invalid"
    h = found.numbers.headroom
    assert h.ci_low < 0 < 0.02 < h.ci_high < 0.1  # 60 films are too few to tell nothing from an h of 0.04
    assert found.reasons[0].startswith("It cannot be told whether two true models agree on a film more than")


def test_one_true_model_whose_maps_are_noise_leaves_nothing_reproducible(films):
    rng = np.random.default_rng(4)
    image_N1SS, learned_N1SS = smooth(rng, (2, IMAGES, 1))
    maps_NVSS = 0.5 * smooth(rng, (IMAGES, len(VARIANTS))) + image_N1SS
    maps_NVSS[:, : len(TRUE)] += learned_N1SS
    maps_NVSS[:, 0] = smooth(rng, (IMAGES,))
    found = judge(films, maps_NVSS)
    assert found.verdict == "invalid"
    # patients alone would not have seen it: the three that agree carry the mean
    assert found.numbers.headroom.patients.ci_low > 0 > found.numbers.headroom.ci_low
    # swapped with any of the four random models it would stand out more: those four relabelings and the true one
    assert found.numbers.permutation.image_specific.p >= 5 / 70


def test_models_that_look_elsewhere_on_every_film_are_not_thereby_sensitive(films):
    """What the first rule took for sensitivity: true models share a place, random ones another, the film the rest."""
    rng = np.random.default_rng(5)
    place_2SS = 3 * smooth(rng, (2,))
    maps_NVSS = smooth(rng, (IMAGES, 1)) + 0.5 * smooth(rng, (IMAGES, len(VARIANTS)))
    maps_NVSS[:, : len(TRUE)] += place_2SS[0] + 10  # above 0: the magnitude of a sum depends on both signs
    maps_NVSS[:, len(TRUE) :] += place_2SS[1] + 10
    found = judge(films, maps_NVSS)
    assert found.numbers.difference.ci_low > 0.05
    assert found.numbers.everywhere.value > 0.7 * found.numbers.difference.value
    assert found.verdict == "insensitive"


def test_the_label_share_of_a_mixture_rises_with_the_weight_of_what_was_learned(films):
    """w of a map that true models share and random ones do not, 1 - w of the film's edges."""
    rng = np.random.default_rng(6)
    learned_NVSS = 0.5 * smooth(rng, (IMAGES, len(VARIANTS)))
    learned_NVSS[:, : len(TRUE)] += smooth(rng, (IMAGES, 1))
    learned_NVSS = standardised(learned_NVSS)
    edges_N1SS = standardised(np.stack([controls.sobel_edges(film_SS) for film_SS in films]))[:, None]
    weights = (0.0, 0.25, 0.5, 0.75, 1.0)
    # above 0: the magnitude of a sum depends on both signs
    found = [judge(films, w * learned_NVSS + (1 - w) * edges_N1SS + 20) for w in weights]
    shares = [one.numbers.share.value for one in found]
    assert shares == sorted(set(shares))
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(1, abs=0.05)
    assert [one.verdict for one in found] == 2 * ["insensitive"] + 3 * ["sensitive"]
    # three quarters edges: the first rule's d lies above its margin of 0.05 all the same
    assert found[1].numbers.difference.ci_low > 0.05


def test_a_method_of_ones_own_that_ignores_the_model_is_insensitive(films, monkeypatch):
    def gradient_of_the_image(_model, inputs_1CHW, _targets_1):
        return inputs_1CHW - torch.nn.functional.avg_pool2d(inputs_1CHW, 5, stride=1, padding=2)

    module = types.ModuleType("mine")
    module.gradient_of_the_image = gradient_of_the_image
    monkeypatch.setitem(sys.modules, "mine", module)
    method, preprocess = "mine:gradient_of_the_image", Preprocess(SIZE)
    inputs_NCSS = preprocess.inputs(films)
    maps = []
    for seed in range(len(VARIANTS)):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIZE * SIZE, 1))
        found = Explainer(model, {method: {}}, preprocess)(inputs_NCSS, torch.zeros(IMAGES, dtype=torch.int64))
        maps.append(found.maps[method].numpy())
    found = judge(films, np.stack(maps, axis=1), method)
    assert found.verdict == "insensitive"
    for name in ("difference", "everywhere", "image_specific", "share"):
        assert (getattr(found.numbers, name).ci_low, getattr(found.numbers, name).ci_high) == (0.0, 0.0)
    assert found.numbers.permutation.image_specific.p == 1.0
