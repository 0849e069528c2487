"""Films with several findings: what a mask says is where the film changed, and looks as the finding does."""

import numpy as np
import pytest

from pneumo_batch.core.data import phantom, runs
from pneumo_batch.core.data.phantom import cases, findings, lateral, thorax
from pneumo_batch.core.data.phantom.findings import EFFUSION, ENLARGED_HEART, FINDINGS, OPACITY, PNEUMOTHORAX

SIZE = 96
SEEDS = range(12)


def film(seed, *names, size=SIZE):
    return findings.render(np.random.default_rng((seed, 0)), np.random.default_rng((seed, 1)), size, names)


def scene(seed, *names):
    """The same before exposure, which levels the whole film."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom, "expose", lambda _, attenuation_HW: attenuation_HW)
        return film(seed, *names)


def whole(parts):
    return np.any(parts, axis=0)


@pytest.mark.parametrize("name", [OPACITY, EFFUSION, PNEUMOTHORAX])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_film_changes_exactly_where_the_mask_says(name, seed):
    healthy, sick = scene(seed), scene(seed, name)
    assert healthy.parts == {}
    np.testing.assert_array_equal(healthy.image_HW != sick.image_HW, whole(sick.parts[name]))
    assert whole(sick.parts[name]).mean() > 0.004


@pytest.mark.parametrize("seed", SEEDS)
def test_all_at_once_share_no_pixel_of_a_lung(seed):
    parts = film(seed, *FINDINGS).parts
    assert {EFFUSION, PNEUMOTHORAX, ENLARGED_HEART} <= set(parts)
    in_lungs = [mask_HW for name in (EFFUSION, PNEUMOTHORAX, OPACITY) for mask_HW in parts.get(name, [])]
    assert np.sum(in_lungs, axis=0).max() == 1
    assert len(parts[ENLARGED_HEART]) == 1


def test_fluid_is_bright_and_low_and_free_air_is_dark_and_lateral():
    for seed in SEEDS:
        healthy = scene(seed)
        for name, sign in ((EFFUSION, 1), (PNEUMOTHORAX, -1)):
            sick = scene(seed, name)
            mask_HW = whole(sick.parts[name])
            assert sign * (sick.image_HW - healthy.image_HW)[mask_HW].mean() > 0.03
        rows = {name: np.nonzero(whole(film(seed, name).parts[name]))[0].mean() for name in (EFFUSION, PNEUMOTHORAX)}
        assert rows[EFFUSION] > rows[PNEUMOTHORAX] + 0.05 * SIZE


def test_the_fluid_climbs_along_the_wall():
    """A meniscus: the highest pixel of the fluid is at its outer edge."""
    for seed in SEEDS:
        for part_HW in film(seed, EFFUSION, size=160).parts[EFFUSION]:
            rows, columns = np.nonzero(part_HW)
            outer = np.abs(columns - 79.5)
            assert outer[rows == rows.min()].mean() > np.median(outer)


def test_the_heart_is_wider_than_half_of_the_chest_where_it_is_enlarged_and_only_there():
    """In body coordinates, where a turned film widens nothing."""
    for seed in SEEDS:
        for low_high, least, most in ((findings._NORMAL_RATIO, 0.36, 0.5), (findings._ENLARGED_RATIO, 0.55, 0.7)):
            person_rng, pose_rng, heart_rng = (np.random.default_rng((seed, k)) for k in range(3))
            chest = thorax.draw(person_rng, pose_rng, 192, heart_rng.uniform(*low_high))
            inner_HW = (chest.wall_HW() > 0) & (chest.air_HW > 0)
            assert least < np.ptp(chest.x_HW[chest.heart_HW()]) / np.ptp(chest.x_HW[inner_HW]) < most


def test_the_heart_of_the_mask_is_the_one_of_the_film():
    """Whether or not it is enlarged, the heart is brighter than the lung beside it."""
    for seed in SEEDS:
        sick = film(seed, ENLARGED_HEART)
        heart_HW = sick.parts[ENLARGED_HEART][0]
        rows = np.flatnonzero(heart_HW.sum(1) == heart_HW.sum(1).max())
        row, columns = rows[0], np.flatnonzero(heart_HW[rows[0]])
        beside = sick.image_HW[row, columns[0] - 8 : columns[0] - 3]
        assert sick.image_HW[row, columns].mean() > beside.mean() + 20


def test_the_same_generators_give_the_same_films():
    first, second = film(3, *FINDINGS), film(3, *FINDINGS)
    np.testing.assert_array_equal(first.image_HW, second.image_HW)
    sides = [lateral.render(np.random.default_rng(1), np.random.default_rng(k), 64) for k in (2, 2, 3)]
    np.testing.assert_array_equal(sides[0], sides[1])
    assert (sides[0] != sides[2]).any()
    assert (sides[0].shape, sides[0].dtype) == ((64, 64), np.uint8)


# Film of 96 pixels by seed and subtype: mean and deviation of its gray values, pixels of its mask.
EARLIER = {
    (0, None): (102.047, 53.845, 0),
    (1, None): (113.576, 71.141, 0),
    (0, "bacteria"): (102.097, 52.710, 635),
    (1, "bacteria"): (113.864, 69.239, 587),
    (0, "virus"): (102.087, 52.463, 1825),
    (1, "virus"): (113.987, 68.721, 1626),
}


@pytest.mark.parametrize(("seed", "subtype"), EARLIER)
def test_films_with_opacities_alone_are_what_they_were(seed, subtype):
    """Runs of the demonstration keep their fingerprint and so must keep their films."""
    rendered = phantom.render(np.random.default_rng(seed), SIZE, subtype)
    mean, deviation, inside = EARLIER[seed, subtype]
    assert rendered.image_HW.mean() == pytest.approx(mean, abs=0.002)
    assert rendered.image_HW.std() == pytest.approx(deviation, abs=0.002)
    assert abs(int(rendered.mask_HW.sum()) - inside) <= 1


def test_run_lengths_solved_by_hand():
    mask_HW = np.array([[0, 1, 1], [0, 1, 0]], bool)
    assert runs.counted(mask_HW) == [2, 3, 1]
    assert runs.counted(~mask_HW) == [0, 2, 3, 1]
    assert runs.box(mask_HW) == (1, 0, 2, 2)
    for either_HW in (mask_HW, ~mask_HW, np.zeros((3, 2), bool), np.ones((2, 5), bool)):
        np.testing.assert_array_equal(runs.mask_HW(runs.counted(either_HW), *either_HW.shape), either_HW)
    # From the fourth on a difference to the last but one: 6, 1, 40, then 4 - 1 and 5 - 40.
    assert runs.compressed([6, 1, 40, 4, 5]) == "61X13mN"


def test_every_finding_and_pair_has_its_share_of_any_stretch_of_studies():
    shares = {OPACITY: 0.35, EFFUSION: 0.3, PNEUMOTHORAX: 0.15, ENLARGED_HEART: 0.3}
    dealt = [set(cases._dealt(study, shares)) for study in range(1, 401)]
    for name, share in shares.items():
        assert np.mean([name in found for found in dealt]) == pytest.approx(share, abs=0.01)
        assert any(name in found for found in dealt[:16])
    both = np.mean([{OPACITY, EFFUSION} <= found for found in dealt])
    assert both == pytest.approx(0.35 * 0.3, abs=0.03)


def test_a_person_ages_from_study_to_study_and_keeps_the_sex():
    planned = cases.plan(1, {"train": 60, "test": 20}, {}, laterals=True, published=True)
    people = {}
    for case in planned:
        people.setdefault(case.person, []).append(case)
    assert all(len({case.sex for case in films}) == 1 for films in people.values())
    assert all(len({case.age - case.study for case in films}) == 1 for films in people.values())
    assert len(set(planned)) == 80
    assert {case.split for case in planned} == {"train", "validate", "test"}
    twice = [person for person, films in people.items() if len({case.split for case in films} - {"validate"}) == 2]
    assert twice == [planned[0].person]


def test_more_films_leave_the_first_ones_as_they_are():
    few = cases.plan(1, {"train": 10}, {OPACITY: 0.5}, laterals=True, published=False)
    many = cases.plan(1, {"train": 40}, {OPACITY: 0.5}, laterals=True, published=False)
    assert many[:10] == few
