"""Labels of random variants: what is exchanged with what."""

import numpy as np
import pyarrow as pa
import pytest

from pneumo_batch.core.models import labels
from pneumo_batch.core.tables import UNKNOWN
from pneumo_batch.core.variants import Arm

PERMUTED = Arm("random", "permuted")


def films(*patients, **columns):
    """Rows of a manifest: the patient of each film, and further columns."""
    ids = [f"train/{k:03}" for k in range(len(patients))]
    return pa.table({"image_id": ids, "patient_id": list(patients), **columns})


def given(rows, labels_N, unit="image", within=(), seeds=range(100, 160)):
    structure = labels.exchange(rows, unit, within)
    labels_N = np.array(labels_N)
    return np.stack([labels.training_labels(PERMUTED, seed, labels_N, structure) for seed in seeds])


def test_patients_of_as_many_films_exchange_the_sequence_of_their_labels():
    """Solved by hand: A and B have two films, C and D one, E alone has three."""
    rows = films("A", "B", "A", "B", "C", "D", "E", "E", "E")
    found_SN = given(rows, [0, 1, 1, 1, 0, 1, 0, 1, 0], "patient")
    pairs = {(tuple(row[[0, 2]]), tuple(row[[1, 3]])) for row in found_SN}
    assert pairs == {((0, 1), (1, 1)), ((1, 1), (0, 1))}
    assert {tuple(row[[4, 5]]) for row in found_SN} == {(0, 1), (1, 0)}
    assert (found_SN[:, 6:] == [0, 1, 0]).all()


def test_labels_move_within_their_stratum_only():
    rows = films(*"ABCDEF", view=["PA", "AP", "PA", "AP", None, None])
    found_SN = given(rows, [0, 0, 1, 1, 0, 1], within=["view"])
    for stratum in ([0, 2], [1, 3], [4, 5]):
        assert {tuple(row) for row in found_SN[:, stratum]} == {(0, 1), (1, 0)}


def test_patients_exchange_films_of_one_stratum_with_those_of_the_same():
    """A and B have a PA and an AP film each, in another order; C has two PA films and nobody like it."""
    rows = films("A", "A", "B", "B", "C", "C", view=["PA", "AP", "AP", "PA", "PA", "PA"])
    found_SN = given(rows, [0, 1, 2, 3, 4, 5], "patient", ["view"])
    assert {tuple(row) for row in found_SN} == {(0, 1, 2, 3, 4, 5), (3, 2, 1, 0, 4, 5)}


@pytest.mark.parametrize(("unit", "within"), [("patient", ()), ("image", ("view", "sex")), ("patient", ("view",))])
def test_counts_stay_in_every_stratum_whatever_is_exchanged(unit, within):
    rng = np.random.default_rng(0)
    patients = rng.integers(0, 60, 300).astype(str)
    view, sex = rng.choice(["PA", "AP"], 300), rng.choice(["M", "F"], 300)
    true_N = rng.integers(0, 3, 300)
    rows = films(*patients, view=view, sex=sex)
    found_SN = given(rows, true_N, unit, within, seeds=range(5))
    keys = np.array([repr([rows[name][k].as_py() for name in within]) for k in range(300)])
    for key in np.unique(keys):
        for found_N in found_SN:
            assert sorted(found_N[keys == key]) == sorted(true_N[keys == key])
    assert (found_SN != true_N).any(axis=1).all()


def test_rows_of_several_labels_move_as_one():
    rows = films(*"ABCD")
    labels_N2 = np.array([[0, 10], [1, 11], [2, 12], [3, 13]])
    found_N2 = labels.exchange(rows, "patient", ()).permuted(labels_N2, np.random.default_rng(3))
    assert (found_N2[:, 1] - found_N2[:, 0] == 10).all()
    assert sorted(found_N2[:, 0]) == [0, 1, 2, 3]


def test_labels_that_cannot_change_are_counted():
    rows = films("A", "A", "B", "C", "D", view=["PA", "PA", "PA", "AP", "AP"])
    labels_N = np.array([0, 1, 0, 1, 0])
    assert labels.exchange(rows, "patient", ()).fixed(labels_N) == 2  # nobody has two films but A
    assert labels.exchange(rows, "image", ["view"]).fixed(labels_N) == 0
    assert labels.exchange(rows, "image", ["view"]).fixed(np.array([0, 0, 0, 1, 0])) == 3  # all PA films have a 0
    assert labels.exchange(rows, "patient", ["view"]).fixed(np.array([0, 1, 0, 1, 1])) == 5


def test_without_structure_labels_are_those_they_always_were():
    labels_N = np.arange(20) % 2
    expected_N = np.random.default_rng([100, 0x1ABE1]).permutation(labels_N)
    np.testing.assert_array_equal(labels.training_labels(PERMUTED, 100, labels_N), expected_N)


def partly(fraction, **structure):
    return Arm("some", "permuted", fraction, **structure)


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75])
def test_of_a_fraction_so_many_films_exchange_their_labels_and_the_rest_keep_theirs(fraction):
    """Labels that are all different show where each one went."""
    true_N = np.arange(40)
    for seed in range(100, 120):
        found_N = labels.training_labels(partly(fraction), seed, true_N)
        assert sorted(found_N) == list(true_N)
        moved = (found_N != true_N).sum()
        assert 0 < moved <= 40 * fraction  # one that is drawn may get its own back
    every_SN = np.stack([labels.training_labels(partly(fraction), seed, true_N) for seed in range(400)])
    # of n films among which labels move, a permutation leaves 1 in its place on average
    expected = 40 * fraction - 1
    assert abs((every_SN != true_N).sum(axis=1).mean() - expected) < 0.25
    assert (every_SN != true_N).any(axis=0).all()  # whichever film


def test_of_none_labels_stay_and_of_all_they_are_those_of_a_random_variant():
    labels_N = np.arange(20) % 2
    np.testing.assert_array_equal(labels.training_labels(partly(0), 100, labels_N), labels_N)
    random_N = labels.training_labels(PERMUTED, 100, labels_N)
    np.testing.assert_array_equal(labels.training_labels(partly(1), 100, labels_N), random_N)


def test_a_fraction_of_patients_exchanges_within_groups():
    """A to H have two films each; of half of them four exchange, and a patient's films go together."""
    rows = films(*"AABBCCDDEEFFGGHH")
    true_N = np.arange(16)
    for seed in range(30):
        found_N = labels.training_labels(partly(0.5), seed, true_N, labels.exchange(rows, "patient", ()))
        pairs = found_N.reshape(8, 2)
        assert (pairs[:, 1] - pairs[:, 0] == 1).all()
        assert (pairs[:, 0] % 2 == 0).all()
        assert (pairs[:, 0] != true_N[::2]).sum() <= 4


@pytest.mark.parametrize("arm", [Arm("true", "true"), Arm("fresh", "untrained"), Arm("sex", "column:sex")])
def test_labels_that_are_not_permuted_stay(arm):
    labels_N = np.arange(5)
    assert labels.training_labels(arm, 3, labels_N) is labels_N


SEXES = {"split": ["train", "train", "train", "test", "test"], "sex": ["M", None, "F", "X", "F"]}


def test_another_column_becomes_labels_by_its_two_values():
    rows = films(*"ABCDE", **SEXES)
    assert labels.column_values(rows, "sex") == ("F", "M")
    assert labels.column_labels(rows, "sex", "train").tolist() == [1, UNKNOWN, 0]
    assert labels.column_labels(rows, "sex", "test").tolist() == [UNKNOWN, 0]
    assert labels.column_labels(rows, "sex", "val").tolist() == []


@pytest.mark.parametrize(
    ("values", "there"), [(["M", "M", None], "M"), (["M", "F", "X"], "F, M, X"), ([None, None, None], "none")]
)
def test_a_column_of_other_than_two_values_is_refused(values, there):
    rows = films(*"ABC", split=["train"] * 3, sex=pa.array(values, pa.string()))
    with pytest.raises(ValueError, match=f"^two classes need two values of sex .*: there is {there}$"):
        labels.column_values(rows, "sex")
