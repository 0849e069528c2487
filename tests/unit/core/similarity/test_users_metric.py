"""A metric of the user's own: what it gets, what it may return, and that it scores as the built-in it equals."""

import numpy as np
import pytest

from pneumo_batch.core import user_code
from pneumo_batch.core.similarity import metrics, options, users_metric
from pneumo_batch.core.similarity.features import Features, Regions
from pneumo_batch.errors import JobError

ALL = np.indices((4, 4)).reshape(2, -1).T


def pearson(a_HW, b_HW):
    return float(np.corrcoef(a_HW.ravel(), b_HW.ravel())[0, 1])


def features(seed=0, grid=8):
    maps_VHW = np.random.default_rng(seed).standard_normal((4, 64, 64)).astype(np.float32)
    maps_VHW[2] = 1  # constant: no similarity to anything
    return Features(maps_VHW, "signed", grid)


@pytest.mark.parametrize("scale", options.SCALES)
def test_it_scores_as_the_built_in_metric_it_equals(scale):
    with user_code.given({"mine:pearson": pearson}):
        for b in (features(), features(seed=1)):
            mine = metrics.scores(features(), b, ALL, "mine:pearson", scale)
            np.testing.assert_allclose(mine, metrics.scores(features(), b, ALL, "pearson", scale), rtol=1e-9)
            assert np.isnan(mine).sum() == 7


def test_its_floor_is_that_of_the_built_in_metric_it_equals():
    others = Regions.joined([features(seed).regions for seed in (1, 2, 3)])
    with user_code.given({"mine:pearson": pearson}):
        mine_VV = metrics.floor(features().regions, others, "mine:pearson")
        table_VV = metrics.table(features(), features(1), "mine:pearson", "pixel")
    np.testing.assert_allclose(mine_VV, metrics.floor(features().regions, others, "pearson"), rtol=1e-9)
    np.testing.assert_allclose(table_VV, metrics.table(features(), features(1), "pearson", "pixel"), rtol=1e-9)


def test_constant_maps_are_not_given_to_it():
    seen = []

    def note(a_HW, b_HW):
        seen.append(np.ptp(a_HW) * np.ptp(b_HW))
        assert not a_HW.flags.writeable
        return 0.5

    with user_code.given({"mine:note": note}):
        metrics.scores(features(), features(), ALL, "mine:note", "pixel")
    assert len(seen) == 9
    assert min(seen) > 0


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda a, b: 1.5, "returned 1.5: a similarity lies in -1 to 1"),
        (lambda a, b: float("inf"), "returned inf: a similarity lies in -1 to 1"),
        (lambda a, b: None, "has to return a number for two maps"),
        (lambda a, b: 0.25, "of a map with itself is 0.25, and has to be 1"),
        (lambda a, b: 1.0 if a is b or (a == b).all() else float(np.tanh(a[0, 0])), "has to be symmetric"),
        (lambda a, b: a[100, 100], "failed at region scale.*IndexError.*where it has no value it has to return NaN"),
    ],
)
def test_what_is_no_similarity_is_one_line_before_work_begins(function, message):
    shapes = {"region": (8, 8), "pixel": (64, 64)}
    with (
        user_code.given({"mine:wrong": function}),
        pytest.raises(JobError, match=f"^compare.metrics: mine:wrong {message}"),
    ):
        users_metric.check("mine:wrong", shapes)


def test_a_metric_may_have_no_value_at_a_scale():
    with user_code.given({"mine:pixels": lambda a, b: pearson(a, b) if a.size > 64 else float("nan")}):
        assert users_metric.check("mine:pixels", {"pixel": (64, 64), "region": (8, 8)}) == {
            "pixel": True,
            "region": False,
        }
        assert metrics.self_pair_error(features(), "mine:pixels", "region") == 0


def test_two_functions_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"metrics: two are called .*lambda"):
        user_code.names_of("metrics", ["spearman", lambda a, b: 1.0, lambda a, b: 0.0])
