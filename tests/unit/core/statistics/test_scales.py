"""From which scale on maps agree: planted agreement at a known scale, and numbers recomputed pair by pair."""

import numpy as np
import pytest
import scipy.stats
import torch

from pneumo_batch.core import tables
from pneumo_batch.core.similarity import metrics, pairs
from pneumo_batch.core.similarity.features import Features
from pneumo_batch.core.statistics import scales
from pneumo_batch.core.variants import Variant

VARIANTS = (Variant("true_0", "true"), Variant("true_1", "true"), Variant("random_0", "random"))
SIZE = 32


def planted(count=24, cell=8, patients=None, seed=0):
    """Maps whose cells of `cell` pixels two true models share exactly, and whose pixels no two models share."""
    rng = np.random.default_rng(seed)
    side = SIZE // cell
    maps = {}
    for n in range(count):
        shared = np.kron(rng.standard_normal((side, side)), np.ones((cell, cell)))
        own = rng.standard_normal((3, SIZE, SIZE))
        # noise without a cell mean: it vanishes from grids of `side` cells and coarser ones
        blocks = own.reshape(3, side, cell, side, cell)
        own = (blocks - blocks.mean(axis=(2, 4), keepdims=True)).reshape(3, SIZE, SIZE)
        own[:2] = 0.01 * shared + own[:2]
        own[2] += 0.01 * np.kron(rng.standard_normal((side, side)), np.ones((cell, cell)))
        maps[f"image_{n}"] = own.astype(np.float32)
    ids = list(maps)
    return scales.sample(ids, patients or ids, seed=0), maps


def rows_of(table, view):
    return {row["grid"]: row for row in table.to_pylist() if row["view"] == view}


def test_agreement_planted_at_four_cells_is_found_there_and_not_at_finer_grids():
    images, maps = planted()
    table = scales.Curve("saliency", VARIANTS, SIZE).table(images, maps.__getitem__, resamples=500)
    signed = rows_of(table, "signed")
    assert list(signed) == [2, 4, 8, 16, 32]
    for grid in (2, 4):
        assert signed[grid]["mean_tt"] == pytest.approx(1, abs=0.02)
        assert signed[grid]["difference_low"] > 0.5
    for grid in (8, 16, 32):
        assert signed[grid]["mean_tt"] == pytest.approx(0, abs=0.1)
    assert scales.reproducible(table, "saliency")["signed"] == [2, 4]
    (sentence,) = scales.in_words(table, "saliency", "signed")
    assert sentence.startswith(
        "In the signed view, on a sample of 24 images, two true models agree beyond the floor at 2"
    )
    assert "; it cannot be told at 8 x 8 cells (" in sentence


def test_the_means_are_those_of_scipy_pair_by_pair():
    images, maps = planted(count=5)
    table = scales.Curve("saliency", VARIANTS, SIZE).table(images, maps.__getitem__, resamples=100)

    def similar(a_HW, b_HW):
        pooled = [
            torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(np.abs(m))[None], 8)[0] for m in (a_HW, b_HW)
        ]
        return scipy.stats.spearmanr(*(m.numpy().ravel() for m in pooled))[0]

    own = [maps[image_id] for image_id in images.image_ids]
    crossed = [own[i] for i in images.partners_N]
    row = rows_of(table, "magnitude")[8]
    assert row["mean_tt"] == pytest.approx(np.mean([similar(a[0], a[1]) for a in own]), abs=1e-9)
    assert row["mean_tn"] == pytest.approx(np.mean([similar(a[k], a[2]) for a in own for k in (0, 1)]), abs=1e-9)
    floor = [similar(a[k], b[1 - k]) for a, b in zip(own, crossed, strict=True) for k in (0, 1)]
    assert row["mean_ttx"] == pytest.approx(np.mean(floor), abs=1e-9)
    assert row["difference_low"] <= row["mean_tt"] - row["mean_ttx"] <= row["difference_high"]


def test_grids_finer_than_the_image_are_left_out():
    assert scales.grids_within(64) == [2, 4, 8, 16, 32, 64]
    assert scales.grids_within(63) == [2, 4, 8, 16, 32]
    assert scales.grids_within(224) == [2, 4, 8, 16, 32, 64]


def test_a_sample_is_the_same_in_any_order_and_crosses_other_patients():
    ids = [f"image_{n}" for n in range(200)]
    patients = [f"patient_{n // 2}" for n in range(200)]
    chosen = scales.sample(ids, patients, seed=3)
    assert len(chosen.image_ids) == scales.SAMPLE
    assert set(chosen.image_ids) == {ids[i] for i in pairs.hash_order(ids, 3)[: scales.SAMPLE]}
    assert (chosen.patients_N != chosen.patients_N[chosen.partners_N]).all()
    again = scales.sample(ids[::-1], patients[::-1], seed=3)
    assert again.image_ids == chosen.image_ids
    np.testing.assert_array_equal(again.partners_N, chosen.partners_N)


def test_one_true_variant_has_no_ceiling_and_nothing_is_said():
    images, maps = planted(count=4)
    two = {image_id: maps_VHW[1:] for image_id, maps_VHW in maps.items()}
    table = scales.Curve("saliency", VARIANTS[1:], SIZE).table(images, two.__getitem__, resamples=100)
    assert table.schema == tables.SCALES
    row = rows_of(table, "signed")[8]
    assert (row["images"], row["mean_tt"], row["difference_low"]) == (0, None, None)
    assert row["mean_tn"] is not None
    assert scales.reproducible(table, "saliency") == {"signed": [], "magnitude": []}
    assert scales.in_words(table, "saliency", "signed") == []


def test_constant_maps_are_left_out():
    images, maps = planted(count=6)
    broken = images.image_ids[0]
    maps[broken] = np.zeros_like(maps[broken])
    table = scales.Curve("saliency", VARIANTS, SIZE).table(images, maps.__getitem__, resamples=100)
    # the broken image, and the one whose partner it is, have no TT - TTx
    assert rows_of(table, "signed")[4]["images"] == 4


def test_class_activation_maps_of_a_layer_are_resized_after_the_view():
    images, _ = planted(count=3)
    rng = np.random.default_rng(0)
    maps = {image_id: rng.standard_normal((3, 4, 4)).astype(np.float32) for image_id in images.image_ids}
    table = scales.Curve("grad_cam", VARIANTS, SIZE).table(images, maps.__getitem__, resamples=100)
    expected = []
    for maps_Vhw in maps.values():
        features = Features(metrics.prepare(maps_Vhw, "grad_cam", "magnitude", SIZE), "magnitude", 16)
        expected.append(metrics.scores(features, features, np.array([(0, 1)]), "spearman", "region")[0])
    assert rows_of(table, "magnitude")[16]["mean_tt"] == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (
            ((0.1, 0.3), (0.2, 0.3)),
            "two true models agree beyond the floor at every grid: 2 x 2 cells (0.50 | 0.05), 4 x 4 cells"
            " (0.25 | 0.03)",
        ),
        (
            ((-0.1, 0.3), (0.0, 0.1)),
            "it cannot be told at any grid whether two true models agree beyond the floor: 2 x 2 cells (0.50 |"
            " 0.05), 4 x 4"
            " cells (0.25 | 0.03)",
        ),
        (
            ((0.1, 0.2), (0.0, 0.2)),
            "two true models agree beyond the floor at 2 x 2 cells (0.50 | 0.05); it cannot be told at 4 x 4"
            " cells (0.25 | 0.03)",
        ),
        (
            ((0.1, 0.2), (-0.2, -0.1)),
            "two true models agree beyond the floor at 2 x 2 cells (0.50 | 0.05); they do not at 4 x 4 cells"
            " (0.25 | 0.03)",
        ),
        (
            ((-0.2, -0.1), (-0.1, 0.0)),
            "two true models do not agree beyond the floor at 2 x 2 cells (0.50 | 0.05); it cannot be told at 4"
            " x 4 cells"
            " (0.25 | 0.03)",
        ),
    ],
)
def test_words(limits, words):
    rows = [
        {
            "method": "m", "view": "signed", "grid": grid, "images": 9, "mean_tt": 1 / grid, "mean_ttx": 0.1 / grid,
            "difference_low": low,
            "difference_high": high,
        }
        for grid, (low, high) in zip((2, 4), limits, strict=True)
    ]  # fmt: skip
    table = tables.pa.Table.from_pylist(rows, schema=tables.SCALES)
    assert scales.in_words(table, "m", "signed") == [
        f"In the signed view, on a sample of 9 images, {words} (mean spearman and, behind the line, its floor;"
        " intervals hold for these models)."
    ]


@pytest.mark.parametrize(
    ("patients", "given"),
    [
        ([f"p{n // 3}" for n in range(15)], True),
        ([f"p{n // 3}" for n in range(12)], False),  # four
        ([f"p{min(n, 6)}" for n in range(40)], False),  # seven, who count as 40^2 / (6 + 34^2) = 1.4
    ],
)
def test_fewer_than_five_patients_have_no_interval_and_nothing_is_said(patients, given):
    images, maps = planted(count=len(patients), patients=patients)
    table = scales.Curve("saliency", VARIANTS, SIZE).table(images, maps.__getitem__, resamples=100)
    row = rows_of(table, "signed")[4]
    assert row["mean_tt"] > 0.9
    assert [row["difference_low"] is not None, row["difference_high"] is not None] == [given, given]
    assert bool(scales.in_words(table, "saliency", "signed")) == given
