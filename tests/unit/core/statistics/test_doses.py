"""Dose and response in a sentence."""

import pytest

from pneumo_batch.core.statistics import doses
from pneumo_batch.core.statistics.estimates import CellTest, Estimate
from pneumo_batch.core.statistics.results import ArmResult, MethodResult, Primary, Results


def arm(fraction, share=None, *, low=None, labels="permuted", verdict="inconclusive", **more):
    high = None if low is None else 2 * share - low
    found = MethodResult(verdict, [], numbers=CellTest(share=Estimate(share, low, high)))
    fields = {"unit": "image", "within": [], "network": None} | more
    return ArmResult(labels, fraction, variants=[], methods={"grad_cam": found}, **fields)


def curve(**arms):
    return doses.doses(Results(Primary("", "", ""), 0.5, {}, {}, {}, arms=arms))


def test_doses_are_arms_that_differ_by_their_fraction_alone():
    found = curve(
        random=arm(1.0, 0.9),
        half=arm(0.5, 0.4),
        by_patient=arm(0.25, 0.3, unit="patient"),
        within=arm(0.75, 0.3, within=["sex"]),
        deep=arm(0.1, 0.3, network="resnet18"),
        fresh=arm(1.0, 0.5, labels="untrained"),
    )
    assert [(one.fraction, one.name) for one in found] == [(0.0, "true"), (0.5, "half"), (1.0, "random")]


@pytest.mark.parametrize("arms", [{}, {"random": arm(1.0)}, {"random": arm(1.0), "again": arm(1.0)}])
def test_one_dose_is_no_curve(arms):
    assert curve(**arms) == []


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        (
            {"c": arm(1.0, 0.9, low=0.8), "a": arm(0.25, 0.1, low=-0.1), "b": arm(0.5, 0.4, low=0.2)},
            "L rises with every step: 0.10 at 25 %, 0.40 at 50 %, 0.90 at 100 % of the labels permuted; its interval"
            " lies above 0 from 50 % on.",
        ),
        (
            {"a": arm(0.0, 0.2, low=0.1), "b": arm(0.5, 0.1, low=-0.1), "c": arm(1.0, 0.9, low=0.5)},
            "L does not rise with every step: 0.20 at 0 %, 0.10 at 50 %, 0.90 at 100 % of the labels permuted; its"
            " interval lies above 0 from 100 % on.",
        ),
        (
            {"a": arm(0.5, 0.1, low=0.05), "b": arm(1.0, 0.2, low=-0.3)},
            "L rises with every step: 0.10 at 50 %, 0.20 at 100 % of the labels permuted; its interval contains 0 at"
            " the highest.",
        ),
        (
            {"a": arm(0.5, 0.1), "b": arm(1.0, 0.2)},
            "L rises with every step: 0.10 at 50 %, 0.20 at 100 % of the labels permuted; without intervals over"
            " models, which take three of each kind.",
        ),
        (
            {"a": arm(0.5, 0.1, verdict="invalid"), "b": arm(1.0, 0.2)},
            "L rises with every step: 0.10 at 50 %, 0.20 at 100 % of the labels permuted; without intervals over"
            " models, which take three of each kind; but the verdict at 50 % is invalid.",
        ),
        ({"a": arm(0.5), "b": arm(1.0, 0.2)}, None),
        ({"a": arm(0.5, 0.1), "b": arm(0.5, 0.2), "c": arm(1.0)}, None),  # of one dose
        (
            {"a": arm(0.5, -0.2, low=-0.4), "b": arm(1.0, -0.5, low=-0.7)},
            "L does not rise with every step: -0.20 at 50 %, -0.50 at 100 % of the labels permuted; its interval lies"
            " below 0 at the highest.",
        ),
        (
            {"a": arm(0.5, 0.4, low=0.2), "b": arm(1.0, 0.8)},
            "L rises with every step: 0.40 at 50 %, 0.80 at 100 % of the labels permuted; without an interval at the"
            " highest.",
        ),
    ],
)
def test_the_curve_is_read(arms, said):
    assert doses.read(curve(**arms), "grad_cam") == said


SAME = {"p50b": arm(0.5, 0.1, low=-0.1, verdict="invalid"), "p50a": arm(0.5, 0.9, low=0.8)}


@pytest.mark.parametrize("order", [("p50b", "p50a"), ("p50a", "p50b")])
@pytest.mark.parametrize(
    ("highest", "way", "where"),
    [
        (arm(1.0, 0.95, low=0.9), "rises", "its interval lies above 0 from 100 % on"),
        (arm(1.0, 0.5, low=-0.1), "does not rise", "its interval contains 0 at the highest"),  # below 0.9
    ],
)
def test_arms_of_one_dose_are_all_told_in_any_order(order, highest, way, where):
    found = curve(**{name: SAME[name] for name in order}, random=highest)
    share = highest.methods["grad_cam"].numbers.share.value
    assert doses.read(found, "grad_cam") == (
        f"L {way} with every step: 0.90 at 50 % (p50a), 0.10 at 50 % (p50b), {share:.2f} at 100 % of the labels"
        f" permuted; {where}; but the verdict at 50 % (p50b) is invalid."
    )
    assert [(dose.name, one.value) for dose, one in doses.shares(found, "grad_cam")] == [
        ("p50a", 0.9),
        ("p50b", 0.1),
        ("random", share),
    ]


def test_of_several_arms_of_the_highest_dose_the_one_whose_interval_decides_is_named():
    found = curve(half=arm(0.5, 0.2, low=0.1), a=arm(1.0, 0.5, low=-0.1), b=arm(1.0, 0.8, low=0.6))
    assert doses.read(found, "grad_cam").endswith("; its interval contains 0 at 100 % (a).")
