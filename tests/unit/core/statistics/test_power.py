"""How wide an interval will be, against the formula of the interval itself and a hand-solved case."""

import math

import numpy as np
import pytest
import scipy.stats

from pneumo_batch.core.statistics import label_share, power


def test_the_width_is_that_of_an_interval_made_of_the_same_variances():
    """`combine` given values without each model, and resamples, of these variances."""
    true, others, patients, tau = 4, 6, 80, 0.2
    of_a_model = tau**2 + 0.145 / patients
    of_patients = (0.035 + 0.165 * (1 / true + 1 / others)) / patients

    def without(models):
        """So that the jackknife gives of_a_model / models: (n - 1) / n times the sum of squares."""
        signs = np.resize([1.0, -1.0], models)
        return 1 + signs * math.sqrt(of_a_model / (models * (models - 1)))

    drawn = np.resize([1.0, -1.0], 2000) * math.sqrt(of_patients * 1999 / 2000 * (patients - 1) / patients)
    found = label_share.combine(1.0, without(true), without(others), drawn, patients)
    width = power.width(true, others, patients, tau)
    assert found.ci_high - found.ci_low == pytest.approx(width)


def test_with_many_patients_and_models_it_is_the_normal_interval_of_the_models_alone():
    tau, models = 0.1, 10_000
    reach = scipy.stats.norm.ppf(0.975) * math.sqrt(2 * tau**2 / models)
    assert power.width(models, models, 10**9, tau) == pytest.approx(2 * reach, rel=1e-3)


def test_more_models_and_patients_narrow_it():
    by_models = [power.width(n, n, 100, 0.1) for n in (3, 4, 5, 8)]
    by_patients = [power.width(4, 4, n, 0.1) for n in (25, 100, 400)]
    assert by_models == sorted(by_models, reverse=True)
    assert by_patients == sorted(by_patients, reverse=True)


@pytest.mark.parametrize(
    ("true", "others", "patients", "smallest"),
    [(2, 3, 100, 0.1), (3, 2, 100, 0.1), (3, 3, 4, 0.05), (1, 3, 100, None), (2, 0, 100, None)],
)
def test_with_too_few_there_is_no_interval(true, others, patients, smallest):
    found = power.power(true, others, patients)
    assert found.widths == {}
    assert found.smallest_p == smallest


def test_three_and_three_can_reach_one_twentieth():
    found = power.power(3, 3, 64)
    assert found.smallest_p == pytest.approx(0.05)
    assert list(found.widths) == ["little", "much"]
    assert found.widths["little"] < found.widths["much"]
