import itertools

import numpy as np
import pytest
import scipy.stats

from pneumo_batch.core import bootstrap, statistics, tables
from pneumo_batch.core.per_image import Cell, PerImage, Tally

CELL = Cell("grad_cam", "magnitude", "region", "spearman")
NAN = float("nan")


def tally(means, rows=2):
    means = np.array(means, dtype=float)
    there = ~np.isnan(means)
    return Tally(np.where(there, rows * means, 0), rows * there, np.full(len(means), rows))


def data_of(patients, labels=None, models=None, **kinds):
    cells = {(CELL, kind): tally(means) for kind, means in kinds.items()}
    labels = np.zeros(len(patients), dtype=int) if labels is None else np.array(labels)
    return PerImage(labels, np.array(patients), cells, models or {}, {})


# ------------------------------------------------------------------------------------------------------- bootstrap


def by_repetition(values, patients, resamples, seed):
    """Means by copying the images of the drawn patients, one resample at a time."""
    rng = np.random.default_rng(seed)
    count = patients.max() + 1
    drawn = rng.integers(count, size=(resamples, count))
    rows = [np.concatenate([np.flatnonzero(patients == p) for p in one]) for one in drawn]
    return np.array([np.nanmean(values[r], axis=0) for r in rows])


def test_bootstrap_means_are_those_of_copied_patients():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(12), rng.integers(1, 5, 12))
    values = rng.normal(size=(len(patients), 3))
    values[rng.random(values.shape) < 0.2] = NAN
    order = rng.permutation(len(patients))
    found = bootstrap.means(values[order], patients[order], 50, seed=8)
    np.testing.assert_allclose(found, by_repetition(values, patients, 50, seed=8), atol=1e-12)


def test_bootstrap_draws_the_same_in_chunks_of_any_size(monkeypatch):
    whole = np.concatenate(list(bootstrap.draws(7, 20, seed=1)))
    monkeypatch.setattr(bootstrap, "_CHUNK", 21)
    chunks = list(bootstrap.draws(7, 20, seed=1))
    assert [len(chunk) for chunk in chunks] == [3, 3, 3, 3, 3, 3, 2]
    np.testing.assert_array_equal(np.concatenate(chunks), whole)
    assert (whole.sum(axis=1) == 7).all()


def test_bootstrap_of_nothing_is_nan():
    values = np.array([[NAN, 1.0], [NAN, 1.0]])
    found = bootstrap.means(values, np.array([0, 1]), 10, seed=0)
    assert np.isnan(found[:, 0]).all()
    np.testing.assert_array_equal(bootstrap.interval(found), [[NAN, 1], [NAN, 1]])
    assert np.isnan(bootstrap.means(np.empty((0, 1)), np.empty(0, dtype=int), 10, seed=0)).all()


def test_interval_is_the_percentile_one():
    draws = np.arange(1001.0)[:, None]
    np.testing.assert_allclose(bootstrap.interval(draws), [[25], [975]])


# ----------------------------------------------------------------------------------------------------------- tests


def test_signed_rank_by_hand():
    # ranks of |d| = 1, 2, 3, 4; only the smallest is against: 9 for, 1 against; 2 of 16 sign patterns reach 9
    found = statistics.signed_rank(np.array([-0.1, 0.2, 0.3, 0.4]))
    assert found == {"patients": 4, "wilcoxon_p": 2 / 16, "rank_biserial": pytest.approx(0.8)}


def test_signed_rank_leaves_out_zeros():
    found = statistics.signed_rank(np.array([0.0, 0.1, 0.2, 0.0, 0.3]))
    assert found == {"patients": 5, "wilcoxon_p": 1 / 8, "rank_biserial": 1.0}


def test_signed_rank_without_a_difference_or_a_patient():
    assert statistics.signed_rank(np.zeros(9)) == {"patients": 9, "wilcoxon_p": 1.0, "rank_biserial": 0.0}
    assert statistics.signed_rank(np.empty(0)) == {"patients": 0, "wilcoxon_p": None, "rank_biserial": None}


def test_patient_means_leave_out_nan_and_patients_without_values():
    values = np.array([1.0, 3.0, NAN, 5.0, NAN])
    assert statistics.patient_means(values, np.array([4, 4, 4, 0, 2])).tolist() == [5.0, 2.0]


def test_holm_by_hand():
    # sorted 0.005 0.01 0.03 0.04, times 4 3 2 1, never decreasing: 0.02 0.03 0.06 0.06
    found = statistics.holm([0.01, 0.04, None, 0.03, 0.005])
    assert found == [pytest.approx(0.03), pytest.approx(0.06), None, pytest.approx(0.06), pytest.approx(0.02)]
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert statistics.holm([]) == []


@pytest.mark.parametrize(("true", "random", "smallest"), [(2, 2, 1 / 6), (3, 3, 1 / 20), (4, 4, 1 / 70), (2, 1, 1 / 3)])
def test_the_smallest_p_of_a_permutation_is_reached_by_complete_separation(true, random, smallest):
    is_true = np.arange(true + random) < true
    matrix = np.where(is_true[:, None] & is_true, 0.9, 0.1)
    np.fill_diagonal(matrix, NAN)
    found = statistics.model_permutation(matrix, true)
    assert found["p"] == found["smallest_p"] == pytest.approx(smallest)
    assert found["statistic"] == pytest.approx(0.8)


@pytest.mark.parametrize("chunk", [7, 65_536])
def test_permutation_counts_every_relabeling(monkeypatch, chunk):
    monkeypatch.setattr(statistics, "_CHUNK", chunk)
    rng = np.random.default_rng(2)
    matrix = rng.random((6, 6))
    matrix = matrix + matrix.T

    def separation(chosen):
        rest = [m for m in range(6) if m not in chosen]
        within = [matrix[a, b] for a, b in itertools.combinations(chosen, 2)]
        return np.mean(within) - np.mean([matrix[a, b] for a in chosen for b in rest])

    every = [separation(chosen) for chosen in itertools.combinations(range(6), 3)]
    found = statistics.model_permutation(matrix, 3)
    assert found["statistic"] == pytest.approx(every[0], abs=1e-12)
    assert found["p"] == sum(value >= every[0] - 1e-12 for value in every) / 20
    assert found["relabelings"] == 20


def test_permutation_of_models_that_are_all_alike_has_p_one():
    assert statistics.model_permutation(np.full((4, 4), 1 / 3), 2)["p"] == 1.0


def test_permutation_needs_two_true_models_a_random_one_and_every_pair():
    assert statistics.model_permutation(np.ones((3, 3)), 1) is None
    assert statistics.model_permutation(np.ones((3, 3)), 3) is None
    missing = np.ones((4, 4))
    missing[0, 1] = missing[1, 0] = NAN
    assert statistics.model_permutation(missing, 2) is None


# -------------------------------------------------------------------------------------------------- calibrated test


def test_every_number_of_a_study_without_spread():
    models = {(CELL, "t0", "t1"): 0.9, (CELL, "r0", "r1"): 0.5}
    models |= {(CELL, t, r): 0.3 for t in ("t0", "t1") for r in ("r0", "r1")}
    data = data_of(
        [0, 0, 1, 2, 2, 2], models=models, true_true=[0.75] * 6, true_random=[0.25] * 6, true_true_cross=[0.5] * 6
    )
    found = statistics.calibrated_test(data, ["t0", "t1"], ["r0", "r1"], resamples=100)[CELL]
    assert found == {
        "means": {"true_true": 0.75, "true_random": 0.25, "true_true_cross": 0.5},
        "images": 6,
        "difference": {"mean": 0.5, "ci_low": 0.5, "ci_high": 0.5},
        "headroom": {"mean": 0.25, "ci_low": 0.25, "ci_high": 0.25},
        "sensitivity_index": {"value": 2.0, "ci_low": 2.0, "ci_high": 2.0},
        "patients": 3,
        "wilcoxon_p": 1 / 8,
        "rank_biserial": 1.0,
        "permutation": {"statistic": pytest.approx(0.6), "p": 1 / 6, "smallest_p": 1 / 6, "relabelings": 6},
        "holm_p": 1 / 8,
    }


def test_intervals_are_joint_and_by_patient():
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(20), 3)
    ceiling, tested, floor = 0.6 + 0.1 * rng.normal(size=(3, 60)) - np.array([[0], [0.2], [0.4]])
    tested[:4] = NAN
    data = data_of(patients, true_true=ceiling, true_random=tested, true_true_cross=floor)
    found = statistics.calibrated_test(data, ["t0", "t1"], ["r0"], resamples=300, seed=5)[CELL]
    values = np.stack([ceiling - tested, ceiling - floor], axis=1)
    drawn = by_repetition(values, patients, 300, seed=5)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    assert found["images"] == 56
    assert found["patients"] == 19
    for name, q in (("difference", 0), ("headroom", 1)):
        expected = {"mean": np.nanmean(values[:, q]), "ci_low": low[q], "ci_high": high[q]}
        assert found[name] == pytest.approx(expected, abs=1e-12)
    ratio = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    value = np.nanmean(values[:, 0]) / values[:, 1].mean()
    assert found["sensitivity_index"] == pytest.approx({"value": value, "ci_low": ratio[0], "ci_high": ratio[1]})
    expected_p = scipy.stats.wilcoxon(
        [np.nanmean(v) for v in values[3:, 0].reshape(-1, 3)], alternative="greater"
    ).pvalue
    assert found["wilcoxon_p"] == pytest.approx(expected_p)
    assert found["permutation"] is None


def test_no_index_unless_the_ceiling_is_above_the_floor():
    spread = np.tile([-0.2, 0.2], 10)
    data = data_of(range(20), true_true=0.5 + spread, true_random=np.full(20, 0.4), true_true_cross=np.full(20, 0.5))
    found = statistics.calibrated_test(data, ["t0", "t1"], ["r0"], resamples=200)[CELL]
    assert found["headroom"]["ci_low"] < 0 < found["headroom"]["ci_high"]
    assert found["sensitivity_index"] is None


def test_one_true_variant_leaves_no_difference():
    data = data_of([0, 1], true_random=[0.1, 0.2], true_true_cross=[0.3, 0.3])
    found = statistics.calibrated_test(data, ["t0"], ["r0"], resamples=10)[CELL]
    assert found["difference"] == {"mean": None, "ci_low": None, "ci_high": None}
    assert found["wilcoxon_p"] is found["holm_p"] is found["sensitivity_index"] is found["permutation"] is None


def test_no_scores_no_tests():
    assert statistics.calibrated_test(data_of([0, 1]), ["t0", "t1"], ["r0"], resamples=10) == {}
    assert statistics.summarise(data_of([0, 1]), ["NORMAL"], resamples=10).num_rows == 0


# ---------------------------------------------------------------------------------------------------------- summary


def test_summary_of_all_and_of_each_class():
    data = data_of([0, 1, 2, 2], labels=[0, 1, 1, 1], true_true=[0.5, 0.25, 0.75, NAN])
    found = statistics.summarise(data, ["NORMAL", "PNEUMONIA", "VIRUS"], resamples=500, seed=3)
    assert found.schema == tables.SUMMARY
    rows = {row.pop("class_name"): row for row in found.to_pylist()}
    low, high = np.percentile(
        by_repetition(np.array([[0.5], [0.25], [0.75], [NAN]]), data.patients_N, 500, 3), [2.5, 97.5]
    )
    common = {**CELL._asdict(), "kind": "true_true"}
    assert rows["all"] == common | {
        "images": 3, "pairs": 8, "degenerate": 2, "mean": 0.5, "std": 0.25, "median": 0.5,
        "ci_low": pytest.approx(low), "ci_high": pytest.approx(high),
    }  # fmt: skip
    assert rows["NORMAL"] == common | {
        "images": 1, "pairs": 2, "degenerate": 0, "mean": 0.5, "std": None, "median": 0.5,
        "ci_low": 0.5, "ci_high": 0.5,
    }  # fmt: skip
    assert rows["PNEUMONIA"] == common | {
        "images": 2, "pairs": 6, "degenerate": 2, "mean": 0.5, "std": pytest.approx(0.5 / np.sqrt(2)), "median": 0.5,
        "ci_low": 0.25, "ci_high": 0.75,
    }  # fmt: skip
    assert rows["VIRUS"] == common | {
        "images": 0, "pairs": 0, "degenerate": 0, "mean": None, "std": None, "median": None,
        "ci_low": None, "ci_high": None,
    }  # fmt: skip
