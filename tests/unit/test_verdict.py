import json

import pytest

from pneumo_batch.core.per_image import Cell
from pneumo_batch.core.verdict import VariantFacts, conclude, decide, disagreements

MODELS = [
    VariantFacts("true_0", True, memorised=0.99, auroc=0.95, auroc_low=0.93),
    VariantFacts("true_1", True, memorised=0.99, auroc=0.94, auroc_low=0.92),
    VariantFacts("random_0", False, memorised=0.97, majority=0.743, auroc=0.5, auroc_low=0.45),
    VariantFacts("random_1", False, memorised=0.95, majority=0.743, auroc=0.5, auroc_low=0.45),
]
MEANS = {"true_true": 0.8, "true_random": 0.5, "true_true_cross": 0.35, "true_random_cross": 0.3}
PERMUTATION = {"statistic": 0.3, "p": 1 / 6, "smallest_p": 1 / 6, "relabelings": 6}


def span(low, high):
    return {"mean": (low + high) / 2, "ci_low": low, "ci_high": high}


def permutation(p, smallest_p):
    return {"statistic": 0.3, "p": p, "smallest_p": smallest_p, "relabelings": round(1 / smallest_p)}


def numbers(difference=(0.28, 0.32), headroom=(0.4, 0.5), p=1e-9, index=None, models=PERMUTATION):
    return {
        "means": MEANS,
        "images": 600,
        "patients": 400,
        "difference": span(*difference),
        "headroom": span(*headroom),
        "sensitivity_index": index,
        "wilcoxon_p": p / 2,
        "holm_p": p,
        "rank_biserial": 0.9,
        "permutation": models,
    }


@pytest.mark.parametrize(
    ("difference", "p", "expected"),
    [
        ((0.28, 0.32), 1e-9, "sensitive"),
        ((0.051, 0.32), 0.049, "sensitive"),
        ((0.05, 0.32), 1e-9, "inconclusive"),  # above the margin, not at it
        ((0.28, 0.32), 0.05, "inconclusive"),
        ((-0.049, 0.049), 1.0, "insensitive"),
        ((0.01, 0.04), 1e-9, "insensitive"),  # significant, and too small to matter
        ((-0.05, 0.01), 1.0, "inconclusive"),
        ((0.01, 0.05), 1.0, "inconclusive"),
        ((-0.4, -0.3), 1.0, "inconclusive"),
    ],
)
def test_the_rule(difference, p, expected):
    assert decide(MODELS, numbers(difference, p=p), 0.05).verdict == expected


def test_two_and_two_models_are_too_few_to_refuse_and_a_caveat_says_so():
    found = decide(MODELS, numbers(models=permutation(1 / 6, 1 / 6)), 0.05)
    assert found.verdict == "sensitive"
    assert "2 true and 2 random models can reach 0.1667 at best" in found.caveats[0]
    # Even the worst relabeling refuses nothing: no outcome of four models could have passed.
    assert decide(MODELS, numbers(models=permutation(1.0, 1 / 6)), 0.05).verdict == "sensitive"


@pytest.mark.parametrize(
    ("p", "smallest_p", "expected"),
    [
        (1 / 20, 1 / 20, "sensitive"),  # 3 + 3, complete separation: exactly 0.05
        (2 / 20, 1 / 20, "inconclusive"),
        (3 / 70, 1 / 70, "sensitive"),  # 4 + 4
        (4 / 70, 1 / 70, "inconclusive"),
    ],
)
def test_models_that_are_enough_have_to_bear_the_effect_out(p, smallest_p, expected):
    assert decide(MODELS, numbers(models=permutation(p, smallest_p)), 0.05).verdict == expected


def test_without_a_permutation_the_patients_decide():
    assert decide(MODELS, numbers(models=None), 0.05).verdict == "sensitive"


def test_disagreeing_models_do_not_touch_an_insensitive_method():
    assert decide(MODELS, numbers((-0.01, 0.01), p=1.0, models=permutation(0.5, 1 / 70)), 0.05).verdict == "insensitive"


def test_reasons_of_a_sensitive_method():
    index = {"value": 0.667, "ci_low": 0.6, "ci_high": 0.75}
    found = decide(MODELS, numbers(index=index), 0.05)
    assert found.reasons == [
        "Maps of two models trained on true labels are more alike than maps of a true and a random one by 0.300"
        " (95 % interval 0.280 to 0.320), over 600 images of 400 patients: above the margin of 0.05;"
        " corrected p below 0.0001.",
        "Sensitivity index 0.67 (95 % interval 0.60 to 0.75): the part of what two correct models share that is owed"
        " to the labels.",
    ]
    assert found.caveats == [
        "Over models, exact permutation p = 0.1667; 2 true and 2 random models can reach 0.1667 at best."
        " Intervals and p above hold for these models."
    ]
    assert found.numbers == numbers(index=index)


@pytest.mark.parametrize(
    ("difference", "p", "words"),
    [
        ((-0.01, 0.01), 1.0, "within the margin of 0.05 around 0"),
        ((0.28, 0.32), 0.2, "above the margin of 0.05, but corrected p = 0.2000 is not below 0.05"),
        ((-0.4, -0.3), 1.0, "random labels make maps more alike"),
        ((0.01, 0.2), 1e-3, "neither above the margin of 0.05 nor within it"),
    ],
)
def test_reasons_say_why(difference, p, words):
    assert words in decide(MODELS, numbers(difference, p=p), 0.05).reasons[0]


def test_the_reason_of_disagreeing_models_is_in_words():
    found = decide(MODELS, numbers(models=permutation(4 / 70, 1 / 70)), 0.05)
    assert found.reasons == [
        "Maps of two models trained on true labels are more alike than maps of a true and a random one by 0.300"
        " (95 % interval 0.280 to 0.320), over 600 images of 400 patients: above the margin of 0.05, but over models"
        " the exact permutation p = 0.0571 is above 0.05: the models differ too much among themselves."
    ]


def test_a_random_variant_that_did_not_memorise_makes_the_test_invalid():
    models = [*MODELS[:3], VariantFacts("random_1", False, memorised=0.9499, majority=0.743)]
    found = decide(models, numbers(), 0.05)
    assert found.verdict == "invalid"
    assert found.reasons == [
        "random_1 did not memorise its labels: accuracy 0.9499 on them, 0.95 required; a majority guess scores 0.743."
        " A model that fitted nothing is no reference for random labels."
    ]


def test_a_true_variant_at_chance_makes_the_test_invalid():
    models = [VariantFacts("true_0", True, auroc=0.55, auroc_low=0.5), *MODELS[1:]]
    found = decide(models, numbers(), 0.05)
    assert found.verdict == "invalid"
    assert found.reasons[0].startswith("true_0 is no better than chance on test: AUROC 0.550, interval from 0.500.")


def test_a_ceiling_that_does_not_exceed_the_floor_makes_the_test_invalid():
    found = decide(MODELS, numbers(headroom=(0.0, 0.1)), 0.05)
    assert found.verdict == "invalid"
    assert "0.050 (95 % interval 0.000 to 0.100)" in found.reasons[0]
    assert decide(MODELS, numbers(headroom=(1e-9, 0.1)), 0.05).verdict == "sensitive"


def test_all_that_is_invalid_is_said_and_comes_before_inconclusive():
    models = [VariantFacts("true_0", True, auroc_low=0.4), VariantFacts("random_0", False, memorised=0.7)]
    found = decide(models, numbers(), 0.05)
    assert found.verdict == "invalid"
    assert [reason.split()[0] for reason in found.reasons] == ["true_0", "random_0"]


def test_a_difference_that_is_not_of_images_is_a_caveat():
    means = {**MEANS, "true_true_cross": 0.7, "true_random_cross": 0.45}
    found = decide(MODELS, {**numbers(), "means": means}, 0.05)
    assert found.verdict == "sensitive"
    assert found.caveats[0] == (
        "A true and a random model agree on an image (0.500) less than two true ones on different images (0.700):"
        " models differ by what they show on every image. Beyond that the difference is 0.050."
    )


UNDEFINED = {
    **numbers(),
    "means": {"true_true": None},
    "difference": {"mean": None, "ci_low": None, "ci_high": None},
    "headroom": {"mean": None, "ci_low": None, "ci_high": None},
    "holm_p": None,
    "permutation": None,
}


def test_one_true_variant_is_inconclusive_and_its_floor_too_high():
    found = decide([MODELS[0], MODELS[2]], UNDEFINED, 0.05)
    assert found.verdict == "inconclusive"
    assert found.reasons == ["One true variant: no reproducibility ceiling to compare with."]
    assert found.caveats == ["The cross-image floor compares one model with itself, which makes it too high."]


def test_no_random_variant_and_no_true_variant_are_inconclusive():
    assert decide(MODELS[:2], UNDEFINED, 0.05).reasons == ["No random variant: nothing to compare with."]
    assert decide(MODELS[2:], UNDEFINED, 0.05).reasons[0].startswith("No true variant")


def test_maps_without_any_similarity_are_inconclusive():
    found = decide(MODELS, UNDEFINED, 0.05)
    assert found.verdict == "inconclusive"
    assert "constant" in found.reasons[0]


def test_what_nobody_measured_is_a_caveat():
    models = [VariantFacts("mine", True), MODELS[1], VariantFacts("theirs", False), MODELS[3]]
    found = decide(models, numbers(), 0.05)
    assert found.verdict == "sensitive"
    assert found.caveats[:2] == [
        "Nobody measured whether theirs memorised the random labels: a model that did not is no reference for them.",
        "Nobody measured whether mine is better than chance on test.",
    ]


def test_conclude_reads_the_primary_cell_of_each_method_and_tells_who_disagrees():
    def cell(method, view, scale, metric):
        return Cell(method, view, scale, metric)

    tests = {
        cell("grad_cam", "magnitude", "region", "spearman"): numbers(),
        cell("grad_cam", "signed", "pixel", "spearman"): numbers(),
        cell("saliency", "magnitude", "region", "spearman"): numbers(),
        cell("saliency", "magnitude", "pixel", "spearman"): numbers((-0.01, 0.01)),
        cell("saliency", "magnitude", "pixel", "ssim"): numbers((-0.01, 0.02)),
        cell("saliency", "magnitude", "pixel", "hog"): numbers(headroom=(-0.1, 0.1)),
        cell("saliency", "magnitude", "pixel", "top10"): numbers(),
    }
    found = conclude(MODELS, tests, ("magnitude", "region", "spearman"), 0.05)
    assert list(found) == ["grad_cam", "saliency"]
    assert found["grad_cam"]["disagreements"] == []
    assert found["saliency"]["verdict"] == "sensitive"
    assert found["saliency"]["primary"] == {"view": "magnitude", "scale": "region", "metric": "spearman"}
    assert found["saliency"]["disagreements"] == [
        "In the magnitude view at pixel scale the method would be insensitive by spearman, ssim, invalid by hog."
    ]
    assert found["saliency"]["cells"]["magnitude/pixel/ssim"]["verdict"] == "insensitive"
    assert found["saliency"]["cells"]["magnitude/pixel/ssim"]["difference"] == span(-0.01, 0.02)
    assert json.loads(json.dumps(found)) == found


def test_disagreements_name_each_view_and_scale_once():
    primary = Cell("m", "magnitude", "region", "spearman")
    outcomes = {
        primary: "sensitive",
        Cell("m", "signed", "pixel", "ssim"): "invalid",
        Cell("m", "signed", "region", "spearman"): "sensitive",
        Cell("m", "signed", "region", "pearson"): "inconclusive",
    }
    assert disagreements(primary, outcomes) == [
        "In the signed view at pixel scale the method would be invalid by ssim.",
        "In the signed view at region scale the method would be inconclusive by pearson.",
    ]
