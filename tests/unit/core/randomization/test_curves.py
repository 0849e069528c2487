import numpy as np
import pyarrow as pa
import pytest

from pneumo_batch.core import tables
from pneumo_batch.core.randomization import complexity, curves
from pneumo_batch.core.randomization.cascade import Derived, Layer
from pneumo_batch.core.similarity import metrics
from pneumo_batch.core.similarity.comparison import Comparison
from pneumo_batch.core.similarity.features import Features
from pneumo_batch.core.similarity.per_image import Cell
from pneumo_batch.core.statistics import bootstrap
from pneumo_batch.core.statistics.randomised import Bounded
from pneumo_batch.core.variants import Variant

PLAN = Comparison(
    variants=(Variant("true_0", "true"),),
    methods=("integrated_gradients", "grad_cam"),
    metrics=("spearman", "ssim"),
    region_grid=4,
    size=32,
    seed=0,
)
SIZES = {"integrated_gradients": 32, "grad_cam": 4}
TOP, DEEP = Layer("fc", ("fc.weight",)), Layer("conv", ("conv.weight",))


def test_cells_are_those_of_the_scores_table_without_its_kinds():
    found = curves.cells(PLAN)
    assert found[:3] == [
        Cell("integrated_gradients", "signed", "pixel", "spearman"),
        Cell("integrated_gradients", "signed", "pixel", "ssim"),
        Cell("integrated_gradients", "signed", "region", "spearman"),
    ]
    assert len(found) == 2 * 2 * 3
    assert {(c.method, c.view, c.scale, c.metric) for c in PLAN.cells} == {tuple(cell) for cell in found}


def test_scores_are_those_of_one_pair_at_a_time():
    rng = np.random.default_rng(0)
    original = {name: rng.normal(size=(size, size)).astype(np.float32) for name, size in SIZES.items()}
    # More than are taken at once, the original itself and a constant map among them.
    derived = {name: rng.normal(size=(37, size, size)).astype(np.float32) for name, size in SIZES.items()}
    for name in SIZES:
        derived[name][0], derived[name][20] = original[name], 0
    scores_DR = curves.to_original(PLAN, original, derived)
    assert scores_DR.dtype == np.float32
    np.testing.assert_allclose(scores_DR[0], 1, atol=1e-6)
    assert np.isnan(scores_DR[20]).all()
    for r, cell in enumerate(curves.cells(PLAN)):
        for d in (1, 15, 16, 17, 36):
            maps_2hw = np.stack([original[cell.method], derived[cell.method][d]])
            prepared = metrics.prepare(maps_2hw, cell.method, cell.view, 32)
            features = Features(prepared, cell.view, 4)
            expected = metrics.scores(features, features, np.array([[0, 1]]), cell.metric, cell.scale)
            np.testing.assert_allclose(scores_DR[d, r], expected[0], atol=1e-6)


def identity(ids, patients):
    return pa.table({"image_id": ids, "label": pa.array([0] * len(ids), pa.int32()), "patient_id": patients})


def test_the_table_has_one_row_per_image_network_and_cell_in_that_order():
    derived = [Derived("cascade", 0, 5, ()), Derived("independent", 2, 5, (DEEP,))]
    cells = curves.cells(PLAN)
    scores_BDR = np.arange(2 * 2 * len(cells), dtype=np.float32).reshape(2, 2, -1)
    scores_BDR[1, 1, 2] = np.nan
    entropy_BD = np.array([[0.25, 0.5], [0.75, 1.0]], np.float32)
    found = curves.Measured(scores_BDR, entropy_BD, scores_BDR / 2)
    table = curves.table(identity(["x", "y"], ["p", "q"]), PLAN, derived, found)
    assert table.schema.equals(tables.CASCADES)
    rows = table.to_pylist()
    assert len(rows) == 2 * 2 * len(cells)
    second = rows[len(cells) + 1]
    assert second == {
        "image_id": "x",
        "label": 0,
        "patient_id": "p",
        "method": "integrated_gradients",
        "view": "signed",
        "scale": "pixel",
        "metric": "ssim",
        "variant": "true_0",
        "mode": "independent",
        "layer": "conv",
        "depth": 2,
        "seed": 5,
        "score": len(cells) + 1,
        "degenerate": False,
        "entropy": 0.5,
        "map_entropy": (len(cells) + 1) / 2,
        "smooth_score": None,
    }
    last = rows[3 * len(cells) + 2]
    assert (last["image_id"], last["patient_id"], last["degenerate"], last["entropy"]) == ("y", "q", True, 1.0)
    assert np.isnan(last["score"])


def score_table(scores_BDR, entropy_BD, derived, patients, **more):
    plan = Comparison((Variant("true_0", "true"),), ("grad_cam",), ("spearman",), 4, 32, 0)
    of_maps_BDR = np.repeat(entropy_BD[:, :, None], scores_BDR.shape[2], axis=2)
    found = curves.Measured(scores_BDR, entropy_BD, **{"map_entropy_BDR": of_maps_BDR, **more})
    return curves.table(identity(["a", "b", "c"], patients), plan, derived, found)


def test_curves_average_seeds_within_images_and_resample_patients():
    derived = [Derived("cascade", depth, seed, (TOP, DEEP)[:depth]) for seed in (1, 2) for depth in (0, 1, 2)]
    rng = np.random.default_rng(1)
    scores_BDR = rng.uniform(size=(3, 6, 4)).astype(np.float32)  # cells: signed and magnitude, pixel and region
    scores_BDR[0, 1, 0] = np.nan  # image a has no score at depth 1 with seed 1, and still counts with seed 2
    scores_BDR[1, [2, 5], 0] = np.nan  # image b has none at depth 2 at all
    entropy_BD = rng.uniform(size=(3, 6)).astype(np.float32)
    found = curves.curves(score_table(scores_BDR, entropy_BD, derived, ["p", "p", "q"]), resamples=500)
    assert found.schema.equals(tables.CASCADE_SUMMARY)
    assert found.num_rows == 3 * 4
    rows = {(row["view"], row["scale"], row["depth"]): row for row in found.to_pylist()}
    s = scores_BDR.astype(np.float64)
    per_image = {
        0: (s[:, 0, 0] + s[:, 3, 0]) / 2,
        1: np.array([s[0, 4, 0], (s[1, 1, 0] + s[1, 4, 0]) / 2, (s[2, 1, 0] + s[2, 4, 0]) / 2]),
        2: np.array([(s[0, 2, 0] + s[0, 5, 0]) / 2, np.nan, (s[2, 2, 0] + s[2, 5, 0]) / 2]),
    }
    patients_N = np.array([0, 0, 1])
    for depth, (images, degenerate, layer) in enumerate([(3, 0, ""), (3, 1, "fc"), (2, 2, "conv")]):
        row = rows["signed", "pixel", depth]
        assert row["mean"] == pytest.approx(np.nanmean(per_image[depth]), abs=1e-12)
        limits = bootstrap.interval(bootstrap.means(per_image[depth][:, None], patients_N, 500, 0))[:, 0]
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(limits), abs=1e-12)
        assert (row["images"], row["pairs"], row["degenerate"], row["layer"]) == (images, 6, degenerate, layer)
        assert row["entropy"] == pytest.approx(entropy_BD[:, [depth, depth + 3]].astype(np.float64).mean(), abs=1e-12)
        assert (row["mode"], row["variant"]) == ("cascade", "true_0")


def test_curves_do_not_depend_on_the_order_of_rows():
    derived = [Derived("cascade", depth, 1, (TOP, DEEP)[:depth]) for depth in (0, 1, 2)]
    scores_BDR = np.random.default_rng(2).uniform(size=(3, 3, 4)).astype(np.float32)
    table = score_table(scores_BDR, scores_BDR[:, :, 0], derived, ["p", "q", "p"])
    shuffled = table.take(pa.array(np.random.default_rng(3).permutation(table.num_rows)))
    straight, other = (curves.curves(part, resamples=100) for part in (table, shuffled))
    for name in straight.column_names:
        if pa.types.is_floating(straight[name].type):
            np.testing.assert_allclose(straight[name].to_numpy(), other[name].to_numpy(), atol=1e-12)
        else:
            assert straight[name].equals(other[name])


def test_map_entropies_are_those_of_each_view_whatever_the_scale_and_metric():
    rng = np.random.default_rng(4)
    derived = {name: rng.normal(size=(3, size, size)).astype(np.float32) for name, size in SIZES.items()}
    found_DR = curves.map_entropies(PLAN, derived, bins=20)
    for r, cell in enumerate(curves.cells(PLAN)):
        prepared_DHW = metrics.prepare(derived[cell.method], cell.method, cell.view, 32)
        np.testing.assert_allclose(found_DR[:, r], complexity.histogram_entropy(prepared_DHW, 20), rtol=1e-6)


def test_the_end_of_a_curve_is_worked_out_by_hand():
    """Two films of two patients, a network of two layers, two draws; map entropies of 2 bits become 3 and 5, and 3."""
    derived = [Derived("cascade", depth, seed, (TOP, DEEP)[:depth]) for seed in (1, 2) for depth in (0, 2)]
    derived.append(Derived("independent", 2, 1, (DEEP,)))  # of which eMPRT does not speak
    scores_BDR = np.full((3, 5, 4), 0.5, np.float32)
    entropies = np.array([[2, 3, 2, 5, 9], [2, 3, 2, 3, 9], [0, 3, 0, 3, 9]], np.float32)  # the last film's map is flat
    smooth = np.array([[0.9, 0.2, 0.9, 0.4, 1], [0.7, 0.1, 0.7, 0.3, 1], [0.8, np.nan, 0.8, np.nan, 1]], np.float32)
    of_cells = {"map_entropy_BDR": entropies, "smooth_BDR": smooth}
    more = {name: np.repeat(values[:, :, None], 4, axis=2) for name, values in of_cells.items()}
    table = score_table(scores_BDR, entropies, derived, ["p", "q", "r"], **more)
    summary = curves.curves(table, resamples=100)
    found = curves.at_full_depth(summary, "magnitude", "region", "spearman")["grad_cam"]
    assert (found.variant, found.layers, found.images) == ("true_0", 2, 3)
    assert found.mprt == Bounded(0.5, 0.5, 0.5)
    assert found.emprt.value == pytest.approx(((0.5 + 1.5) / 2 + 0.5) / 2)
    assert (found.emprt.ci_low, found.emprt.ci_high) == pytest.approx((0.5, 1.0))
    assert found.smprt.value == pytest.approx((0.3 + 0.2) / 2, abs=1e-6)
    assert found.smprt_ceiling.value == pytest.approx(0.8, abs=1e-6)
    rows = {row["depth"]: row for row in summary.to_pylist() if row["mode"] == "cascade"}
    assert rows[0]["rise"] == 0
    assert rows[2]["map_entropy"] == pytest.approx((3 + 5 + 3 + 3 + 3 + 3) / 6)


def test_tables_of_older_runs_have_curves_without_what_they_did_not_measure():
    derived = [Derived("cascade", depth, 1, (TOP, DEEP)[:depth]) for depth in (0, 1, 2)]
    scores_BDR = np.random.default_rng(2).uniform(size=(3, 3, 4)).astype(np.float32)
    table = score_table(scores_BDR, scores_BDR[:, :, 0], derived, ["p", "q", "p"])
    new = curves.curves(table, resamples=100)
    older = table.set_column(
        table.column_names.index("map_entropy"), "map_entropy", pa.nulls(table.num_rows, pa.float32())
    )
    found = curves.curves(older, resamples=100)
    kept = [name for name in found.column_names if not name.startswith(("rise", "map_entropy"))]
    assert found.select(kept).equals(new.select(kept))
    assert found["rise"].null_count == found.num_rows
    end = curves.at_full_depth(found, "signed", "pixel", "spearman")["grad_cam"]
    assert (end.emprt, end.smprt, end.smprt_ceiling) == (Bounded(), Bounded(), Bounded())
    assert end.mprt.value == pytest.approx(scores_BDR[:, 2, 0].mean(), abs=1e-6)
