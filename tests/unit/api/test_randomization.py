"""The test of networks in memory, on networks whose maps are known: linear ones, of which saliency is the weights."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from pneumo_batch import Verdict, randomization_test
from pneumo_batch.errors import DataError, JobError

SIZE, COUNT = 16, 12


def network(weights_HW):
    """Logits and gradients grow with the images under these weights: input x gradient is weights x image."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 1, bias=False))
    model[1].weight.data = torch.as_tensor(weights_HW, dtype=torch.float32).reshape(1, -1)
    return model


def noise(seed):
    return np.random.default_rng(seed).standard_normal((SIZE, SIZE))


@pytest.fixture(scope="module")
def images():
    return torch.rand(COUNT, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def models():
    """True networks nearly agree on weights; random ones have others, each its own."""
    true = [network(noise(0) + 0.1 * noise(seed)) for seed in (1, 2, 3)]
    return true, [network(noise(seed)) for seed in (10, 11, 12)]


SMALL = {"metrics": ["spearman", "pearson"], "resamples": 100}
PIXELS = {"view": "signed", "scale": "pixel", "metric": "spearman"}
METHOD = ["input_x_gradient"]


@pytest.fixture(scope="module")
def found(models, images):
    return randomization_test(*models, images, METHOD, **SMALL, primary=PIXELS)


def test_maps_that_follow_what_was_learned_are_told_from_those_that_do_not(found):
    numbers = found["input_x_gradient"].details["cells"]["signed/pixel/spearman"]["means"]
    assert numbers["true_true"] > 0.9
    assert abs(numbers["true_random"]) < 0.1
    # weights are on every film alike: true networks agree on films of different patients nearly as much
    assert numbers["true_true_cross"] > 0.5
    assert found["input_x_gradient"].share.value == pytest.approx(1, abs=0.2)


def test_the_order_of_images_changes_no_number(models, images, found):
    ids = [f"{i:02d}" for i in range(COUNT)]
    turned = randomization_test(*models, images.flip(0), METHOD, ids=ids[::-1], **SMALL, primary=PIXELS)
    assert turned.as_dict() == found.as_dict()


def without_noise(cell):
    """The means but that of random maps, which are seeded by the name of the method."""
    return {kind: mean for kind, mean in cell["means"].items() if kind != "random_map"}


def test_functions_stand_where_names_do(models, images, found):
    def gradient_times_input(model, inputs_1CHW, targets_1):
        logit = model(inputs_1CHW)[0, targets_1[0]]
        return torch.autograd.grad(logit, inputs_1CHW)[0] * inputs_1CHW

    def correlation(a_HW, b_HW):
        return float(np.corrcoef(a_HW.ravel(), b_HW.ravel())[0, 1])

    own = randomization_test(
        *models, images, [gradient_times_input], resamples=100, metrics=["spearman", correlation],
        primary={**PIXELS, "metric": correlation},
    )  # fmt: skip
    (method,) = own.methods
    assert method == f"{__name__}:{gradient_times_input.__qualname__}"
    assert own.primary["metric"] == f"{__name__}:{correlation.__qualname__}"
    for view, scale in (("signed", "pixel"), ("magnitude", "region")):
        mine = own[method].details["cells"][f"{view}/{scale}/{own.primary['metric']}"]
        theirs = found["input_x_gradient"].details["cells"][f"{view}/{scale}/pearson"]
        assert without_noise(mine) == pytest.approx(without_noise(theirs), rel=1e-5)
        ranks = own[method].details["cells"][f"{view}/{scale}/spearman"]
        theirs = found["input_x_gradient"].details["cells"][f"{view}/{scale}/spearman"]
        assert without_noise(ranks) == pytest.approx(without_noise(theirs), rel=1e-5)


def test_labels_tell_networks_that_know_nothing(models, images):
    labels = np.arange(COUNT) % 2  # noise has no classes
    told = randomization_test(*models, images, METHOD, labels=labels, memorised=[1.0, 0.5, 1.0], **SMALL)
    reasons = told["input_x_gradient"].reasons
    assert told["input_x_gradient"].verdict == "invalid"
    assert any(reason.startswith("true_0 cannot be told from chance on test") for reason in reasons)
    assert any(reason.startswith("random_1 did not memorise its labels") for reason in reasons)


def test_labels_tell_random_networks_that_know_them(images):
    """Five networks of nearly the same weights, and labels that these tell: the last two were never given others."""
    first, *others = [network(noise(0) + 0.01 * noise(seed)) for seed in range(1, 6)]
    with torch.no_grad():
        logits_N = first(images)[:, 0]
    labels = (logits_N > logits_N.median()).long().tolist()
    told = randomization_test([first, *others[:2]], others[2:], images, METHOD, labels=labels, **SMALL)
    assert told["input_x_gradient"].verdict == "invalid"
    reasons = told["input_x_gradient"].reasons
    assert [reason.partition(":")[0] for reason in reasons] == [f"random_{i} knows the true labels" for i in range(2)]


def test_labels_tell_networks_whose_output_is_turned_round(images):
    """True networks as above, and labels that they rank from last to first."""
    networks = [network(noise(0) + 0.01 * noise(seed)) for seed in range(1, 4)]
    with torch.no_grad():
        logits_N = networks[0](images)[:, 0]
    labels = (logits_N < logits_N.median()).long().tolist()
    told = randomization_test(networks, [network(noise(9)), network(noise(8))], images, METHOD, labels=labels, **SMALL)
    assert told["input_x_gradient"].verdict == "invalid"
    assert told["input_x_gradient"].reasons[0].startswith("true_0 ranks test films the wrong way round: AUROC 0.0")


def test_what_nobody_measured_is_a_caveat(found):
    caveats = " ".join(found["input_x_gradient"].details["caveats"])
    assert "It was not measured whether random_0, random_1, random_2 memorised" in caveats
    assert "It was not measured whether true_0, true_1, true_2 are better than chance" in caveats


def test_images_of_one_patient_count_once(models, images):
    patients = [i // 2 for i in range(COUNT)]
    grouped = randomization_test(*models, images, METHOD, patients=patients, **SMALL)
    assert grouped["input_x_gradient"].details["numbers"]["patients"] == COUNT / 2


def test_one_verdict_as_text_page_and_json(found):
    assert isinstance(found, Verdict)
    one = found["input_x_gradient"]
    assert repr(found).startswith(found.headline)
    assert f"Input X Gradient: {one.verdict}, label share {one.share.value:.2f}" in repr(found)
    page = found._repr_html_()
    assert found.headline.replace("'", "&#x27;") in page
    assert 'src="data:image/svg+xml;base64,' in page
    assert json.loads(json.dumps(found.as_dict()))["methods"]["input_x_gradient"]["verdict"] == one.verdict
    words = [text.get_text() for text in found.plot().axes[0].texts]
    assert one.verdict in words


def test_one_film_is_drawn_without_a_warning(models, images):
    """Its floor is the film itself, so that h and all parts of it are 0."""
    alone = randomization_test(*models, images[:1], METHOD, **SMALL)
    assert alone["input_x_gradient"].result.numbers.headroom.value == 0
    left, right = alone.plot().axes[0].get_xlim()
    assert left == 0 < right


def test_without_a_second_true_network_nothing_is_drawn(models, images):
    (first, *_), random = models
    alone = randomization_test({"mine": first}, random, images, METHOD, **SMALL)
    assert alone["input_x_gradient"].verdict == "inconclusive"
    assert "<img" not in alone._repr_html_()
    with pytest.raises(ValueError, match="two true models and a random one"):
        alone.plot()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"threshhold": 0.4}, JobError, r"no setting 'threshhold' \(did you mean threshold\?\); there are: normalise,"),
        ({"patient": None}, JobError, r"no setting 'patient' \(did you mean patients\?\); there are: normalise, ids,"),
        ({"metrics": ["hog"], "primary": {"scale": "pixel", "metric": "hog"}}, JobError, "hog needs images of 48"),
        ({"metrics": ["mse"]}, JobError, "unknown metric 'mse'"),
        ({"region_grid": 32}, JobError, "region_grid: 32 cells per side are more than the 16 pixels of the images"),
        ({"patients": ["a"]}, ValueError, "patients: 1 given for 12 images"),
        ({"ids": ["a"] * COUNT}, ValueError, "ids: 'a' appears twice"),
        ({"memorised": [1.0]}, ValueError, "memorised: 1 given for 3 random networks"),
        ({"memorised": [1.0, 98.5, 1.0]}, ValueError, r"memorised: 98.5 for random\[1\] is no accuracy from 0 to 1"),
        ({"memorised": [1.0, float("nan"), 1.0]}, ValueError, "memorised: nan for"),
        ({"labels": [0]}, ValueError, "labels: 1 given for 12 images"),
        ({"labels": [0, 1, 2] * 4}, ValueError, "labels: one whole number from 0 to 1 for each image is needed, not 2"),
        ({"labels": [0, 0.5] * 6}, ValueError, "labels: one whole number .* not 0.5"),
        ({"labels": ["PNEUMONIA"] * COUNT}, ValueError, "labels: one whole number .*: could not convert"),
        ({"labels": torch.zeros(COUNT, 1)}, ValueError, r"labels: one whole number .* not \(12, 1\)"),
        ({"normalise": (0.5, 2.0)}, ValueError, r"images: with normalise = \(0.5, 2.0\) undone they lie in 0.5"),
        ({"target": [0, 0]}, ValueError, r"target: \(2,\) for 12 images"),
        ({"target": -1}, ValueError, "target: -1 is no output"),
        ({"target": 1}, ValueError, "target: the network has no output 1"),
        ({"methods": ["saliensy"]}, ValueError, r"unknown method 'saliensy' \(did you mean saliency\?\)"),
    ],
)
def test_what_does_not_fit_is_one_line(models, images, changes, error, message):
    arguments = {"methods": METHOD, **SMALL, **changes}
    with pytest.raises(error, match=message) as caught:
        randomization_test(*models, images, **arguments)
    assert "\n" not in str(caught.value)


def test_a_network_without_a_number_for_an_image_is_named(models, images):
    true, random = models
    broken = network(np.full((SIZE, SIZE), np.inf))
    with pytest.raises(DataError, match="images: 00: the network random_0 gives inf for it; leave it out"):
        randomization_test(true, [broken, *random], images, METHOD, **SMALL)


def test_one_network_given_twice_is_refused(models, images):
    (first, *others), (noise, *_) = models
    copy, wrapped = network(first[1].weight.data), nn.Sequential(first)
    for true, random, message in (
        (
            [first, copy],
            [noise],
            r"true\[1\] has the weights of true\[0\]: several models of a kind must differ",
        ),
        ([first, *others, wrapped], [noise], r"true\[3\] has the weights of true\[0\]"),
        ([first], {"a": noise, "b": noise}, r"random\['b'\] has the weights of random\['a'\]: several models"),
        (
            [first],
            [noise, copy],
            r"random\[1\] has the weights of true\[0\]: a random model is one that was",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            randomization_test(true, random, images, METHOD, **SMALL)


def test_what_are_no_networks_is_named(models, images):
    true, random = models
    for wrong, message in (
        (true[0], "^true: a list of networks is needed, not Sequential"),
        (nn.Linear(2, 2), "^true: a list of networks is needed, not Linear"),
        ([true[0], "mine.pth"], r"^true\[1\]: a torch.nn.Module is needed, not str"),
        ([nn.Flatten()], r"^true\[0\]: the network has no weights"),
        ([], "^true: no network: one or more are needed"),
        ({}, "^true: no network: one or more are needed"),
        (
            [nn.Conv2d(1, 1, 3)],
            r"^true\[0\]: the network must return logits .* not \(1, 1, 14, 14\)",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            randomization_test(wrong, random, images, METHOD, **SMALL)


def test_images_of_other_channels_are_refused_with_what_torch_says(models):
    with pytest.raises(
        ValueError, match=r"true\[0\]: the network cannot take an image of shape \(1, 3, 16, 16\): mat1 and mat2"
    ) as caught:
        randomization_test(*models, torch.rand(COUNT, 3, SIZE, SIZE), METHOD, **SMALL)
    assert "\n" not in str(caught.value)


def test_images_that_are_no_numbers_are_refused(models, images):
    with pytest.raises(ValueError, match=r"images: a torch tensor .* not ndarray: torch.from_numpy makes one"):
        randomization_test(*models, images.numpy(), METHOD, **SMALL)
    for value in (np.nan, np.inf):
        spoilt = images.clone()
        spoilt[3, 0, 0, 0] = value
        with pytest.raises(ValueError, match=r"images: images\[3\] holds nan or inf: leave it out"):
            randomization_test(*models, spoilt, METHOD, **SMALL)


def test_images_that_are_no_films_are_refused(models):
    with pytest.raises(ValueError, match=r"images: one or more square images, floats \(N, C, S, S\), are needed"):
        randomization_test(*models, torch.zeros(3, SIZE, SIZE), METHOD, **SMALL)
