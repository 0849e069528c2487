from dataclasses import asdict

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from helpers import recomputed
from helpers.recomputed import flat

from pneumo_batch import statistics
from pneumo_batch.core import tables
from pneumo_batch.core.similarity import pairs, per_image
from pneumo_batch.core.similarity.per_image import Cell, PerImage, ScoredPair
from pneumo_batch.core.statistics import bootstrap, label_share
from pneumo_batch.core.statistics.label_share import Deviations, Estimate, Interval
from pneumo_batch.core.variants import Variant

CELL = Cell("grad_cam", "magnitude", "region", "spearman")
NAN = float("nan")


def study(true, random, patients, rng, missing=0.0):
    """A scores table with film, model and pair effects, and the images it names."""
    names = [*true, *random]
    films = np.array([f"film_{i:03}" for i in range(len(patients))])
    of_film, of_model = rng.normal(0, 0.05, len(films)), dict(zip(names, rng.normal(0, 0.05, len(names)), strict=True))
    rows = []
    level = {"true_true": 0.7, "true_random": 0.4, "random_random": 0.5, "true_true_cross": 0.3,
             "true_random_cross": 0.25, "random_random_cross": 0.2}  # fmt: skip
    for kind, found in pairs.plan([Variant(name, "true" if name in true else "random") for name in names]).items():
        for a, b in found if kind in level else []:
            score = level[kind] + of_film + of_model[a] + of_model[b] + rng.normal(0, 0.1, len(films))
            score[rng.random(len(films)) < missing] = NAN
            rows.append(pd.DataFrame({"image_id": films, "patient_id": patients, "kind": kind, "variant_a": a,
                                      "variant_b": b, "score": score.astype(np.float32)}))  # fmt: skip
    table = pd.concat(rows).assign(label=0, degenerate=lambda frame: frame.score.isna(), **CELL._asdict())
    columns = [
        pa.array(table[field.name], from_pandas=field.name != "score").cast(field.type) for field in tables.SCORES
    ]
    images = pa.table({"image_id": films, "label": np.zeros(len(films), np.int32), "patient_id": patients})
    return pa.table(columns, schema=tables.SCORES), images


@pytest.mark.parametrize(("true", "random", "missing"), [(3, 4, 0.0), (5, 3, 0.3)])
def test_every_number_is_that_of_a_few_lines_of_pandas(true, random, missing):
    rng = np.random.default_rng(true)
    names = [f"t{i}" for i in range(true)], [f"r{i}" for i in range(random)]
    patients = np.array([f"p{i:02}" for i in np.sort(rng.integers(0, 20, 50))])
    scores, images = study(*names, patients, rng, missing)
    found = label_share.randomization_test(per_image.gather(scores, images), *names, resamples=300)[CELL]
    expected = recomputed.of_cell(scores.to_pandas(), *names, resamples=300)
    plain = {key: value for key, value in asdict(found).items() if key != "means"}
    assert flat(plain) == pytest.approx(flat(expected), rel=1e-9, abs=1e-12)
    assert found.difference.value == pytest.approx(found.everywhere.value + found.image_specific.value, abs=1e-12)
    assert found.share.value == pytest.approx(found.image_specific.value / found.headroom.value, abs=1e-12)


def of_kinds(patients, **kinds):
    """One pair of two models a kind, so that a kind's scores are its means."""
    scores = {
        ScoredPair(kind, "t0", "t1" if kind.startswith("true_true") else "r0"): np.array(values, dtype=np.float32)
        for kind, values in kinds.items()
    }
    return PerImage(np.zeros(len(patients), dtype=int), np.array(patients), {CELL: scores} if kinds else {})


def test_the_two_parts_by_hand():
    # integrated gradients on 624 films: TT, TN, TTx, TNx
    found = label_share.quantities(np.array([0.787, 0.657, 0.690, 0.575]))
    assert found == pytest.approx([0.130, 0.115, 0.015, 0.097, 0.082, 1 - 0.082 / 0.097])
    assert np.isnan(label_share.quantities(np.array([0.5, 0.4, 0.5, 0.4]))[-1])  # nothing to divide by


def test_a_quantity_with_its_interval_by_hand():
    # jackknife variances 2/3 * (0.01 + 0 + 0.01) and 3/4 * 4 * 0.04; the drawn ones 1, 2, 3 have variance 1, of ten
    # patients 10/9
    found = label_share.combine(
        0.5, np.array([0.4, 0.5, 0.6]), np.array([0.3, 0.7, 0.3, 0.7]), np.array([1.0, 2, 3]), 10
    )
    parts = np.array([2 / 3 * 0.02, 3 / 4 * 0.16, 10 / 9])
    df = parts.sum() ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3 + parts[2] ** 2 / 9)
    assert found.df == pytest.approx(df)
    assert 10.7 < df < 11.1  # t is 2.20 there
    assert (
        found.ci_high - 0.5 == pytest.approx(0.5 - found.ci_low) == pytest.approx(2.2 * np.sqrt(parts.sum()), rel=2e-3)
    )
    assert asdict(found.sd) == pytest.approx(dict(zip(("true", "random", "patients"), np.sqrt(parts), strict=True)))
    assert found.patients == Interval(1.05, 2.95)
    assert found.for_these_models == Estimate(0.5, 1.05, 2.95, found.patients, None, found.sd)


def test_fewer_than_three_models_of_a_kind_leave_the_interval_of_the_patients():
    found = label_share.combine(0.5, np.array([0.4, 0.6]), np.array([0.3, 0.7, 0.5]), np.array([1.0, 2, 3]), 10)
    assert (found.value, found.ci_low, found.ci_high, found.df) == (0.5, None, None, None)
    assert found.patients == Interval(1.05, 2.95)


def test_a_quantity_that_many_resamples_lack_has_no_interval():
    models = np.array([0.4, 0.5, 0.6])
    drawn = np.linspace(0, 1, 100)
    some, many = drawn.copy(), drawn.copy()
    some[:2], many[:3] = NAN, NAN
    assert label_share.combine(0.5, models, models, some, 10).ci_low is not None
    found = label_share.combine(0.5, models, models, many, 10)
    assert (found.ci_low, found.patients, found.sd.patients) == (None, Interval(), None)


def test_a_ratio_varies_as_its_tangent_does_however_near_to_nothing_it_is_divided():
    rng = np.random.default_rng(0)
    h, k = 0.1, 0.05
    h_B, k_B = rng.normal(h, 0.03, 10**5), rng.normal(k, 0.02, 10**5)
    of_ratio = label_share.tangent(k_B, h_B, k / h, h)
    assert of_ratio.std() == pytest.approx(np.hypot(0.02, 0.5 * 0.03) / h, rel=0.01)
    models, drawn = np.array([0.4, 0.5, 0.6]), 1 - k_B / np.where(h_B > 0, h_B, NAN)
    found = label_share.combine(0.5, models, models, drawn, 10**6, of_ratio)
    assert found.sd.patients == pytest.approx(0.25, rel=0.01)
    assert found.patients.ci_low == pytest.approx(np.nanpercentile(drawn, 2.5))  # of the draws as they are
    assert np.nanstd(drawn) > 1  # which a few decide


def test_patients_with_more_films_than_others_count_as_fewer():
    assert bootstrap.effective(np.array([1, 1, 2, 2, 3, 3])) == pytest.approx(3)
    assert bootstrap.effective(np.array(["a"] * 4 + ["b", "c"])) == pytest.approx(36 / 18)


def test_maps_that_no_model_changes_have_a_share_of_zero_without_spread():
    kinds = dict(zip(label_share.KINDS, ([1.0] * 6, [1.0] * 6, [0.25] * 6, [0.25] * 6), strict=True))
    scores = {
        ScoredPair(kind, f"t{a}", f"t{b}" if kind.startswith("true_true") else f"r{b}"): np.array(values, np.float32)
        for kind, values in kinds.items()
        for a in range(3)
        for b in range(3)
        if a != b or kind.startswith("true_random")
    }
    data = PerImage(np.zeros(6, int), np.arange(6), {CELL: scores})
    found = label_share.randomization_test(data, ["t0", "t1", "t2"], ["r0", "r1", "r2"], resamples=50)[CELL]
    nothing = Estimate(0.0, 0.0, 0.0, Interval(0.0, 0.0), None, Deviations(0.0, 0.0, 0.0))
    assert found.difference == found.everywhere == found.image_specific == found.share == nothing
    assert found.headroom.value == found.remainder.value == 0.75


def test_images_without_one_of_the_kinds_are_left_out_of_all():
    data = of_kinds(range(6), true_true=[0.9, 0.9, 0.9, 0.9, 0.9, NAN], true_random=[NAN, 0.5, 0.5, 0.5, 0.5, 0.5],
                    true_true_cross=[0.1] * 6, true_random_cross=[0.2] * 6)  # fmt: skip
    found = label_share.randomization_test(data, ["t0", "t1"], ["r0"], resamples=50)[CELL]
    assert (found.images, found.patients) == (4, 4)
    assert found.means == pytest.approx(
        {"true_true": 0.9, "true_random": 0.5, "true_true_cross": 0.1, "true_random_cross": 0.2}
    )
    assert found.difference.patients == Interval()  # four patients
    assert found.difference.value == pytest.approx(0.4)


def test_five_patients_have_an_interval():
    kinds = dict.fromkeys(label_share.KINDS, np.linspace(0, 1, 5)) | {"true_true": np.linspace(0.5, 2, 5)}
    found = label_share.randomization_test(of_kinds(range(5), **kinds), ["t0", "t1"], ["r0"], resamples=200)[CELL]
    assert found.patients == 5
    assert found.difference.patients.ci_low < found.difference.value < found.difference.patients.ci_high


@pytest.mark.parametrize(("most", "counted"), [(300, 330**2 / (30 + 300**2)), (5, 35**2 / 55), (14, 44**2 / 226)])
def test_patients_who_count_as_fewer_than_five_have_no_interval(most, counted):
    patients_N = np.repeat(np.arange(31), [1] * 30 + [most])
    rng = np.random.default_rng(0)
    kinds = {
        kind: rng.normal(mean, 0.01, len(patients_N))
        for kind, mean in zip(label_share.KINDS, (0.8, 0.4, 0.3, 0.3), strict=True)
    }
    found = label_share.randomization_test(of_kinds(patients_N, **kinds), ["t0", "t1"], ["r0"], resamples=50)[CELL]
    assert (found.patients, found.effective_patients) == (31, pytest.approx(counted))
    assert (found.headroom.patients == Interval()) == (counted < 5)


def test_one_true_variant_leaves_means_alone():
    data = of_kinds([0, 1], true_random=[0.25, 0.5], true_true_cross=[0.5, 0.5])
    found = label_share.randomization_test(data, ["t0"], ["r0"], resamples=10)[CELL]
    assert found == label_share.CellTest(0, 0, {"true_random": 0.375, "true_true_cross": 0.5})


def test_no_scores_no_tests():
    assert label_share.randomization_test(of_kinds([0, 1]), ["t0", "t1"], ["r0"], resamples=10) == {}


def test_the_public_interval_is_that_of_a_run():
    """From its parts by pandas, with patients of one to seven films."""
    rng = np.random.default_rng(4)
    true, random = ["t0", "t1", "t2"], ["r0", "r1", "r2", "r3"]
    patients = np.repeat([f"p{i:02}" for i in range(12)], rng.integers(1, 8, 12))
    table, images = study(true, random, patients, rng)
    run = label_share.randomization_test(per_image.gather(table, images), true, random, resamples=300)[CELL]
    scores = table.to_pandas().astype({"score": float, "kind": str, "variant_a": str, "variant_b": str})
    kinds = recomputed.kind_means(scores)
    drawn = recomputed.resampled(kinds, scores, 300)
    value = recomputed.quantities(kinds.mean())
    without = [
        [recomputed.quantities(recomputed.kind_means(scores[(scores.variant_a != m) & (scores.variant_b != m)]).mean())
         for m in models]
        for models in (true, random)
    ]  # fmt: skip
    films = np.unique(patients, return_counts=True)[1]
    varying = (drawn.remainder - (1 - value.share) * drawn.headroom) / value.headroom
    for name, tangent_B in (("share", varying), ("headroom", None)):
        parts = [[one[name] for one in of_models] for of_models in without]
        counted = films.sum() ** 2 / (films**2).sum()
        found = statistics.interval_over_models(value[name], *parts, drawn[name], counted, tangent_B)
        assert flat(asdict(found)) == pytest.approx(flat(asdict(getattr(run, name))), rel=1e-9)
    without_tangent = statistics.interval_over_models(
        value.share, *([one.share for one in of_models] for of_models in without), drawn.share, counted
    )
    assert without_tangent.sd.patients != pytest.approx(run.share.sd.patients, rel=1e-3)


@pytest.mark.parametrize("patients", [1, 0, -3, 0.5, NAN])
def test_the_public_interval_takes_more_than_one_patient(patients):
    with pytest.raises(ValueError, match="an interval over patients takes more than one"):
        statistics.interval_over_models(0.8, [0.7, 0.8, 0.9], [0.7, 0.8, 0.9], [0.7, 0.8, 0.9], patients)


def test_the_public_interval_takes_a_tangent_of_every_resample():
    with pytest.raises(ValueError, match="tangent_B has 2 values and drawn_B 3"):
        statistics.interval_over_models(0.8, [0.7, 0.8, 0.9], [0.7, 0.8, 0.9], [0.7, 0.8, 0.9], 5, [0.1, 0.2])


def test_the_public_bootstrap_takes_a_patient_of_every_value():
    for patients in (["a", "b"], ["a", "a", "b", "b"]):
        with pytest.raises(ValueError, match="values and patients have shapes"):
            statistics.bootstrap_interval([0.1, 0.2, 100.0], patients)


def test_scores_of_two_targets_are_not_taken_for_those_of_one():
    table, _ = study(["t0", "t1", "t2"], ["r0", "r1", "r2"], list("abcdef"), np.random.default_rng(0))
    one = table.to_pandas().assign(target="Mass", target_b="Mass")
    other = one.assign(target="Effusion", target_b="Effusion", score=one.score / 2)
    alone = statistics.label_share(one, resamples=100)
    assert alone == statistics.label_share(one.drop(columns=["target", "target_b"]), resamples=100)
    with pytest.raises(ValueError, match=r"scores: film_000 has two scores of one pair of models: .*run.scores"):
        statistics.label_share(pd.concat([one, other]), resamples=100)


def test_the_public_permutation_takes_both_orders_of_a_pair():
    values = np.random.default_rng(0).normal(size=(6, 6))
    assert statistics.permutation_test(values + values.T, 3) is not None
    for wrong in (np.triu(values + values.T), values[:5], values[0]):
        with pytest.raises(ValueError, match=r"a symmetric matrix .* is needed"):
            statistics.permutation_test(wrong, 3)
