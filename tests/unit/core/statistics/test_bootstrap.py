import tempfile
from pathlib import Path

import numpy as np
import pytest

from pneumo_batch import memory
from pneumo_batch.core.statistics import bootstrap

NAN = float("nan")


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


@pytest.mark.parametrize(("clusters", "resamples"), [(7, 50), (3000, 20)])
def test_what_is_drawn_is_the_same_whether_it_is_kept_or_not(monkeypatch, clusters, resamples):
    kept = [list(bootstrap.draws(clusters, resamples, 3)) for _ in range(2)]
    monkeypatch.setattr(bootstrap, "_KEPT", 0)
    anew = list(bootstrap.draws(clusters, resamples, 3))

    for found in kept:
        np.testing.assert_array_equal(np.concatenate(found), np.concatenate(anew))
    assert (np.concatenate(anew).sum(axis=1) == clusters).all()


def test_without_room_for_the_file_they_are_drawn_anew(monkeypatch, tmp_path):
    expected = np.concatenate(list(bootstrap.draws(11, 30, 5)))
    bootstrap._kept.cache_clear()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    np.testing.assert_array_equal(np.concatenate(list(bootstrap.draws(11, 30, 5))), expected)
    bootstrap._kept.cache_clear()


def test_what_is_kept_is_memory_that_the_system_can_take_back():
    bootstrap._kept.cache_clear()
    before = _anonymous()
    assert sum(len(counts_bC) for counts_bC in bootstrap.draws(20_000, 2_000, 0)) == 2_000
    assert bootstrap._kept(20_000, 2_000, 0).nbytes == 40_000_000
    memory.give_back()
    assert _anonymous() - before < 20_000_000
    bootstrap._kept.cache_clear()


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
