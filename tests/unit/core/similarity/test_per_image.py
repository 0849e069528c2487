import numpy as np
import pyarrow as pa
import pytest

from pneumo_batch.core import tables
from pneumo_batch.core.similarity.per_image import Cell, ScoredPair, gather, needed

CELL = Cell("grad_cam", "signed", "pixel", "ssim")
NAN = float("nan")
# image, kind, variant_a, variant_b, score
ROWS = [
    ("a", "true_true", "t0", "t1", 0.5),
    ("a", "true_true", "t0", "t2", 0.25),
    ("a", "true_true", "t1", "t2", NAN),
    ("a", "true_random", "t0", "r0", 0.125),
    ("a", "true_true_cross", "t0", "t1", 0.75),
    ("a", "edge", "t0", "edge", 0.0),
    ("a", "edge", "t1", "edge", NAN),
    ("b", "true_true", "t0", "t1", 1.0),
    ("b", "true_true", "t0", "t2", NAN),
    ("b", "true_true", "t1", "t2", NAN),
    ("b", "true_random", "t0", "r0", NAN),
]
IMAGES = pa.table(
    {"image_id": ["b", "a", "c"], "label": pa.array([1, 0, 1], pa.int32()), "patient_id": ["p", "q", "p"]}
)


def table(rows, cell=CELL):
    columns = {"image_id": [r[0] for r in rows], "label": [0] * len(rows), "patient_id": ["p"] * len(rows)}
    columns |= {name: [value] * len(rows) for name, value in cell._asdict().items()}
    columns |= {name: [r[i] for r in rows] for i, name in ((1, "kind"), (2, "variant_a"), (3, "variant_b"))}
    columns |= {"score": [r[4] for r in rows], "degenerate": [np.isnan(r[4]) for r in rows]}
    return pa.table([pa.array(columns[f.name]).cast(f.type) for f in tables.SCORES], schema=tables.SCORES)


def test_means_per_image_in_the_order_of_the_images():
    data = gather(table(ROWS), IMAGES)
    assert data.cells == [CELL]
    np.testing.assert_array_equal(data.means(CELL, "true_true"), [1.0, 0.375, NAN])
    np.testing.assert_array_equal(data.means(CELL, "true_random"), [NAN, 0.125, NAN])
    np.testing.assert_array_equal(data.means(CELL, "random_random"), [NAN, NAN, NAN])
    np.testing.assert_array_equal(data.table(CELL, "true_true"), [[1.0, NAN, NAN], [0.5, 0.25, NAN], [NAN, NAN, NAN]])
    assert data.labels_N.tolist() == [1, 0, 1]
    assert data.patients_N[0] == data.patients_N[2] != data.patients_N[1]


def test_a_model_taken_out_takes_its_pairs_with_it():
    data = gather(table(ROWS), IMAGES)
    found = data.means_without(CELL, "true_true", ["t2", "t0"])
    np.testing.assert_array_equal(found.T, [[1.0, 0.5, NAN], [NAN, NAN, NAN]])
    np.testing.assert_array_equal(data.means_without(CELL, "true_random", ["t1"])[:, 0], [NAN, 0.125, NAN])
    assert data.means_without(CELL, "random_random", ["t1"]).shape == (3, 1)


def test_matrix_of_models_is_symmetric_and_of_the_kinds_and_images_asked_for():
    data, every = gather(table(ROWS), IMAGES), np.array([True, True, True])
    within = ("true_true", "true_random")
    found = data.matrix(CELL, within, ["t0", "t1", "t2", "r0"], every)
    expected = [[NAN, 0.75, 0.25, 0.125], [0.75, NAN, NAN, NAN], [0.25, NAN, NAN, NAN], [0.125, NAN, NAN, NAN]]
    np.testing.assert_array_equal(found, expected)
    of_a = data.matrix(CELL, within, ["t0", "t1"], np.array([False, True, False]))
    np.testing.assert_array_equal(of_a, [[NAN, 0.5], [0.5, NAN]])


def test_both_orders_of_a_crossed_pair_count_alike():
    rows = [("a", "true_true_cross", "t0", "t1", 0.75), ("a", "true_true_cross", "t1", "t0", 0.25)]
    found = gather(table(rows), IMAGES).matrix(CELL, ("true_true_cross",), ["t0", "t1"], np.array([False, True, False]))
    np.testing.assert_array_equal(found, [[NAN, 0.5], [0.5, NAN]])


def test_a_degenerate_map_is_one_without_any_score_on_its_image():
    data = gather(table(ROWS[:-4]), IMAGES.slice(1, 1))
    # only single pairs of image a lack a score
    assert data.degenerate(CELL) == {"t0": 0, "t1": 0, "t2": 0, "r0": 0}
    data = gather(table(ROWS[-4:]), IMAGES.slice(0, 1))
    assert data.degenerate(CELL) == {"t0": 0, "t1": 0, "t2": 1, "r0": 1}


def test_a_crossed_score_does_not_make_a_constant_map_alive():
    """It is the mean of two ways, of which one is from the map of the other model."""
    constant = [
        ("a", "true_true", "t0", "t1", NAN),
        ("a", "edge", "t0", "edge", NAN),
        ("a", "edge", "t1", "edge", 0.5),
        ("a", "true_random", "t0", "r0", NAN),
        ("a", "true_random", "t1", "r0", 0.25),
        ("a", "true_true_cross", "t0", "t1", 0.75),
        ("a", "true_random_cross", "t0", "r0", 0.5),
    ]
    data = gather(table(constant), IMAGES.slice(1, 1))
    assert data.degenerate(CELL) == {"t0": 1, "t1": 0, "r0": 0}


@pytest.mark.parametrize(("crossed", "count"), [(0.5, 0), (NAN, 1)])
def test_a_random_map_beside_constant_true_ones_is_told_by_the_film_it_is_crossed_with(crossed, count):
    beside = [
        ("a", "edge", "t0", "edge", NAN),
        ("a", "true_random", "t0", "r0", NAN),
        ("a", "true_random_cross", "t0", "r0", crossed),
    ]
    assert gather(table(beside), IMAGES.slice(1, 1)).degenerate(CELL) == {"t0": 1, "r0": count}


@pytest.mark.parametrize("size", [1, 2, 5])
def test_any_order_and_any_cut_gives_the_same(size):
    other = Cell("integrated_gradients", "magnitude", "region", "top10")
    mixed = pa.concat_tables([table(ROWS), table(ROWS[:4], other)]).unify_dictionaries()
    shuffled = mixed.take(pa.array(np.random.default_rng(0).permutation(mixed.num_rows)))
    whole = gather(mixed, IMAGES)
    # every batch with a dictionary of its own, as different files have
    names = [f.name for f in tables.SCORES if pa.types.is_dictionary(f.type)]
    batches = []
    for start in range(0, mixed.num_rows, size):
        part = shuffled.slice(start, size)
        for name in names:
            encoded = part[name].cast(pa.string()).dictionary_encode().cast(pa.dictionary(pa.int16(), pa.string()))
            part = part.set_column(part.schema.get_field_index(name), tables.SCORES.field(name), encoded)
        batches += part.combine_chunks().to_batches()
    cut = gather(batches, IMAGES)
    assert cut.cells == whole.cells == [CELL, other]
    for cell in (CELL, other):
        assert cut.scores[cell].keys() == whole.scores[cell].keys()
        for pair, scores_N in whole.scores[cell].items():
            np.testing.assert_array_equal(cut.scores[cell][pair], scores_N)


def test_an_empty_file_adds_nothing():
    batches = [table(ROWS).slice(0, 0).to_batches(), table(ROWS[:1]).to_batches()]
    found = gather([batch for part in batches for batch in part], IMAGES)
    assert list(found.scores[CELL]) == [ScoredPair("true_true", "t0", "t1")]


def test_what_is_needed_of_the_scores_is_enough():
    wanted = needed(tables.scores_schema(["a", "b"])).names
    assert not {"label", "patient_id", "degenerate"} & set(wanted)
    whole, some = (gather(rows, IMAGES) for rows in (table(ROWS), table(ROWS).select(needed(tables.SCORES).names)))
    assert some.scores.keys() == whole.scores.keys()
    for pair, scores_N in whole.scores[CELL].items():
        np.testing.assert_array_equal(some.scores[CELL][pair], scores_N)
