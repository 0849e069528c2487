import hashlib

import numpy as np
import pytest

from pneumo_batch.core.similarity import pairs
from pneumo_batch.core.variants import Variant, contrast

TWO_AND_TWO = [
    Variant("true_0", "true"),
    Variant("true_1", "true"),
    Variant("random_5", "random"),
    Variant("random_6", "random"),
]


def test_plan_of_two_true_and_two_random_variants():
    assert pairs.plan(TWO_AND_TWO) == {
        "true_true": [("true_0", "true_1")],
        "true_random": [
            ("true_0", "random_5"),
            ("true_0", "random_6"),
            ("true_1", "random_5"),
            ("true_1", "random_6"),
        ],
        "random_random": [("random_5", "random_6")],
        "true_true_cross": [("true_0", "true_1")],
        "true_random_cross": [
            ("true_0", "random_5"),
            ("true_0", "random_6"),
            ("true_1", "random_5"),
            ("true_1", "random_6"),
        ],
        "random_random_cross": [("random_5", "random_6")],
        "edge": [("true_0", "edge"), ("true_1", "edge")],
        "random_map": [("true_0", "random_map"), ("true_1", "random_map")],
    }
    assert tuple(pairs.plan(TWO_AND_TWO)) == pairs.KINDS
    assert not pairs.same_model_floor(TWO_AND_TWO)


def test_further_arms_are_paired_with_true_models_and_among_themselves():
    further = [Variant("half_7", "half"), Variant("half_8", "half")]
    found = pairs.plan([*TWO_AND_TWO, *further])
    assert {kind: found[kind] for kind in pairs.plan(TWO_AND_TWO)} == pairs.plan(TWO_AND_TWO)
    of_half = [("true_0", "half_7"), ("true_0", "half_8"), ("true_1", "half_7"), ("true_1", "half_8")]
    added = {kind: found[kind] for kind in found if kind not in pairs.KINDS}
    both = [("half_7", "half_8")]
    assert added == {
        "true_half": of_half,
        "half_half": both,
        "true_half_cross": of_half,
        "half_half_cross": both,
    }
    assert {kind for kind in found if pairs.is_cross(kind)} == {kind for kind in found if kind.endswith("_cross")}
    assert [kind for kind in found if pairs.is_within(kind)] == [*pairs.WITHIN_KINDS, "true_half", "half_half"]


def test_an_arm_stands_in_the_place_of_the_random_one():
    alone = [TWO_AND_TWO[0], TWO_AND_TWO[1], Variant("half_7", "half"), Variant("half_8", "half")]
    found, contrasted = pairs.plan(alone), pairs.plan(contrast([*alone, *TWO_AND_TWO[2:]], "half"))
    assert list(contrasted) == list(pairs.KINDS)
    assert {called: found[kind] for kind, called in pairs.as_contrast("half").items()} == contrasted


def test_numbers_of_pairs_of_four_and_four():
    variants = [Variant(f"true_{i}", "true") for i in range(4)] + [Variant(f"random_{i}", "random") for i in range(4)]
    counts = {kind: len(found) for kind, found in pairs.plan(variants).items()}
    assert counts == {
        "true_true": 6,
        "true_random": 16,
        "random_random": 6,
        "true_true_cross": 6,
        "true_random_cross": 16,
        "random_random_cross": 6,
        "edge": 4,
        "random_map": 4,
    }


def test_a_single_true_variant_is_crossed_with_itself_and_says_so():
    variants = [Variant("true_0", "true"), Variant("random_0", "random")]
    found = pairs.plan(variants)
    assert found["true_true"] == []
    assert found["true_true_cross"] == [("true_0", "true_0")]
    assert pairs.same_model_floor(variants)


def test_no_true_variant_leaves_only_random_pairs():
    found = pairs.plan([Variant("random_0", "random"), Variant("random_1", "random")])
    assert {kind for kind, some in found.items() if some} == {"random_random", "random_random_cross"}


def by_definition(image_ids, patient_ids, seed, count):
    """Partners as the page words the rule, one image at a time."""
    patient = dict(zip(image_ids, patient_ids, strict=True))
    order = sorted(image_ids, key=lambda i: hashlib.sha256(f"{seed}:{i}".encode()).hexdigest())
    found = []
    for image_id in image_ids:
        start = order.index(image_id)
        following = order[start + 1 :] + order[:start]
        other = [i for i in following if patient[i] != patient[image_id]]
        chosen = [image_ids.index(i) for i in (other or following[:1] or [image_id])[:count]]
        found.append(chosen + [-1] * (count - len(chosen)))
    return found


@pytest.mark.parametrize("patients", [1, 2, 3, 40])
@pytest.mark.parametrize("count", [1, 16, 50])
@pytest.mark.parametrize("seed", [0, 7])
def test_partners_are_those_of_the_definition(patients, count, seed):
    image_ids = [f"test/NORMAL/ä{i}.jpeg" for i in range(40)]
    patient_ids = [f"person{min(i, patients - 1)}" for i in range(40)]  # the last one has most of the images
    found = pairs.partners(image_ids, patient_ids, seed, count)
    assert found.tolist() == by_definition(image_ids, patient_ids, seed, count)


def test_partners_do_not_depend_on_the_order_of_the_images():
    image_ids = [f"{i}.png" for i in range(50)]
    patient_ids = [str(i // 3) for i in range(50)]
    shuffled = np.random.default_rng(0).permutation(50)
    partners = pairs.partners(image_ids, patient_ids, 3, 4)
    again = pairs.partners([image_ids[i] for i in shuffled], [patient_ids[i] for i in shuffled], 3, 4)
    assert {image_ids[i]: [image_ids[p] for p in some] for i, some in enumerate(partners)} == {
        image_ids[shuffled[i]]: [image_ids[shuffled[p]] for p in some] for i, some in enumerate(again)
    }


def test_one_image_and_no_image():
    assert pairs.partners(["a"], ["p"], 0, 2).tolist() == [[0, -1]]
    assert pairs.partners([], [], 0, 2).tolist() == []


def test_hash_order_is_that_of_the_hexadecimal_digests():
    ids = [f"image {i}" for i in range(300)]
    expected = sorted(range(300), key=lambda i: hashlib.sha256(f"12:{ids[i]}".encode()).hexdigest())
    assert pairs.hash_order(ids, 12).tolist() == expected


def test_most_partners_are_neighbours_in_hash_order():
    ids, patients = [str(i) for i in range(200)], [str(i) for i in range(200)]
    order = pairs.hash_order(ids, 0)
    assert pairs.partners(ids, patients, 0)[order, 0].tolist() == np.roll(order, -1).tolist()


def test_the_generator_of_random_maps_depends_on_image_method_view_and_seed_only():
    every = [("a.png", "m", "signed", 0), ("b.png", "m", "signed", 0), ("a.png", "n", "signed", 0)]
    every += [("a.png", "m", "magnitude", 0), ("a.png", "m", "signed", 1)]
    drawn = [pairs.map_rng(*one).random() for one in every]
    assert [pairs.map_rng(*one).random() for one in every] == drawn
    assert len(set(drawn)) == len(every)
