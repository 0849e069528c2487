"""Rows of each image against `collections.Counter`, and what does not balance."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pneumo_batch.rundir.accounts import ImbalanceError, Tally, check_balance

IDS = ["b", "a", "b", "ä", "b", "a"]


def ids_of(names):
    return pa.array(names, pa.string())


def counted(tally):
    return dict(zip(tally.ids.to_pylist(), tally.rows.tolist(), strict=True))


def test_a_tally_counts_as_a_counter_does():
    rng = np.random.default_rng(0)
    parts = [[f"film {number}" for number in rng.integers(40, size=size)] for size in (100, 0, 1, 57)]
    joined = Tally.joined(Tally.of(ids_of(part)) for part in parts)
    expected = Counter(name for part in parts for name in part)

    assert counted(joined) == expected
    assert len(joined) == len(expected)
    assert joined.rows_of(ids_of(["film 3", "nobody", "film 3"])).tolist() == [
        expected["film 3"],
        0,
        expected["film 3"],
    ]


def test_texts_count_alike_encoded_or_not_and_in_any_chunks():
    plain = Tally.of(ids_of(IDS))
    encoded = pa.chunked_array([ids_of(IDS[:2]).dictionary_encode(), ids_of(IDS[2:]).dictionary_encode()])

    assert counted(plain) == Counter(IDS)
    assert counted(Tally.of(encoded)) == Counter(IDS)


def test_a_tally_without_files_is_empty():
    assert counted(Tally.joined([])) == {}
    assert Tally.joined([]).rows_of(ids_of(["a"])).tolist() == [0]


def test_some_images_and_the_others_are_all():
    tally, some = Tally.of(ids_of(IDS)), pa.chunked_array([ids_of(["a", "x"])])

    assert counted(tally.only(some)) == {"a": 2}
    assert counted(tally.without(some)) == {"b": 3, "ä": 1}


def test_every_image_once_or_excused_balances():
    check_balance(ids_of(["a", "b", "c"]), Tally.of(ids_of(["b", "a"])), ["c"], "maps")
    check_balance(ids_of(["a"]), Tally.of(ids_of(["a", "a"])), [], "scores", rows=2)
    check_balance(ids_of(["a", "a"]), Tally.of(ids_of(["a"])), ["somebody else"], "maps")
    check_balance(ids_of([]), Tally.joined([]), [], "maps")


@pytest.mark.parametrize(
    ("found", "excused", "told"),
    [
        (["a", "b"], [], "1 images missing, 0 too often, 0 unknown"),
        (["a", "b", "c", "c"], [], "0 images missing, 1 too often, 0 unknown"),
        (["a", "b", "c", "d", "e"], [], "0 images missing, 0 too often, 2 unknown"),
        (["d", "d"], ["a"], "2 images missing, 1 too often, 1 unknown"),
    ],
)
def test_what_does_not_balance_is_counted(found, excused, told):
    with pytest.raises(ImbalanceError, match=f"the maps table does not balance with the manifest: {told}"):
        check_balance(ids_of(["a", "b", "c"]), Tally.of(ids_of(found)), excused, "maps")
