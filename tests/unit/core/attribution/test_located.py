"""Maps of films that show a finding against where they show it, solved by hand: own maps, mean masks, other films."""

import numpy as np
import pytest

from pneumo_batch.core.attribution import localisation, located
from pneumo_batch.core.attribution.located import Films, Pointing
from pneumo_batch.core.statistics.pointing import CROSS_IMAGE, MEASURES

SIDE = 4
HIT = MEASURES.index("hit")


def mask(*inside):
    found = np.zeros((SIDE, SIDE), bool)
    for place in inside:
        found[place] = True
    return found


def peak(place):
    found = np.zeros((SIDE, SIDE), np.float32)
    found[place] = 1
    return found


FIRST, SECOND, THIRD = mask((0, 0), (0, 1)), mask((0, 0)), mask((3, 3))


def films():
    return Films(["a", "b", "empty", "c"], ["p", "p", "q", "q"], [FIRST, SECOND, mask(), THIRD])


def test_films_keep_their_masks_and_those_without_a_pixel_are_none():
    found = films()
    assert (found.image_ids, found.patient_ids) == (["a", "b", "c"], ["p", "p", "q"])
    assert [found.mask(place).tolist() for place in range(3)] == [one.tolist() for one in (FIRST, SECOND, THIRD)]
    assert found.inside_N.tolist() == [2 / 16, 1 / 16, 1 / 16]


def test_the_mean_mask_of_other_films_leaves_out_those_of_the_same_patient():
    first, second, third = located.mean_masks(films(), films())
    assert np.array_equal(first, THIRD)
    assert np.array_equal(second, THIRD)
    assert np.array_equal(third, (FIRST + SECOND.astype(float)) / 2)


def test_the_mean_mask_of_training_films_is_theirs_alone():
    trained = Films(["x", "y"], ["r", "q"], [FIRST, SECOND])
    first, _, third = located.mean_masks(films(), trained)
    assert np.array_equal(first, (FIRST + SECOND.astype(float)) / 2)
    assert np.array_equal(third, FIRST)  # y shows the same patient
    assert list(located.mean_masks(films(), Films([], [], []))) == [None, None, None]


def test_measures_stand_in_their_order():
    map_SS = np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(np.float32)
    found = dict(zip(MEASURES, localisation.measure(map_SS, FIRST), strict=True))
    assert found == {
        "hit": localisation.points_inside(map_SS, FIRST),
        "auprc": localisation.average_precision(map_SS, FIRST),
        "iou": localisation.otsu_overlap(map_SS, FIRST),
        "positive_share": localisation.positive_share(map_SS, FIRST),
    }
    assert np.isnan(localisation.measure(np.full((SIDE, SIDE), np.inf), FIRST)).all()


def test_own_maps_and_those_of_a_partner_under_true_variants():
    """c's partner is a, a's is b; b has none but itself. Maps come in any order and are asked for once."""
    pointing = Pointing(films(), {"a": "b", "b": "b", "c": "a"}, ["true_0", "true_1"], SIDE)
    assert pointing.image_ids == {"a", "b", "c"}
    peaks = {("a", "true_0"): (3, 3), ("b", "true_0"): (0, 1), ("c", "true_0"): (0, 0)}
    peaks |= {("a", "true_1"): (0, 1), ("b", "true_1"): (2, 2), ("c", "true_1"): (3, 3)}
    peaks |= {(film, "random_9"): (0, 0) for film in "abc"}
    for (film, variant), place in reversed(peaks.items()):
        pointing.add(film, "saliency", variant, peak(place))
    values = pointing.values()
    assert values["saliency", "true_0"][:, HIT].tolist() == [0, 0, 0]
    assert values["saliency", "true_1"][:, HIT].tolist() == [1, 0, 1]
    assert values["saliency", "random_9"][:, HIT].tolist() == [1, 1, 0]
    crossed = values["saliency", CROSS_IMAGE][:, HIT]
    assert crossed[0] == 0.5  # of b's maps the one at (0, 1) hits, that at (2, 2) does not
    assert np.isnan(crossed[1])
    assert crossed[2] == 0.5  # of a's maps the one at (3, 3)
    assert set(values) == {("saliency", name) for name in ("true_0", "true_1", "random_9", CROSS_IMAGE)}


def test_a_map_of_a_layer_is_held_against_the_regions_at_the_size_of_the_input():
    pointing = Pointing(films(), {}, ["true_0"], SIDE)
    pointing.add("c", "grad_cam", "true_0", np.array([[0.0, 0.0], [0.0, 1.0]], np.float32))
    values = pointing.values()["grad_cam", "true_0"]
    assert values[2, HIT] == 1
    assert values[2, MEASURES.index("positive_share")] == pytest.approx(1 / 4)  # weights of a row: 0, 1/4, 3/4, 1
    assert np.isnan(values[:2]).all()
