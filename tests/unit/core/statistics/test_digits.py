"""How numbers are written: one rule, whatever their size."""

import pytest

from pneumo_batch.core.statistics import digits


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (0.8994, 3, "0.899"),
        (-0.2995, 2, "-0.30"),
        (-0.0004, 3, "0.000"),
        (3e-07, 3, "0.000"),
        (-0.0, 2, "0.00"),
        (7.5, 0, "8"),
    ],
)
def test_decimals_are_fixed_and_zero_has_no_sign(value, places, text):
    assert digits.fixed(value, places) == text


def test_a_p_value_is_never_written_as_0():
    assert digits.p_is(1 / 20) == "p = 0.0500"
    assert digits.p_is(1 / 252) == "p = 0.0040"  # 5 + 5 models
    assert digits.p_is(1 / 12870) == "p < 0.0001"  # 8 + 8
    assert digits.small(0.0004) == "< 0.001"
    assert digits.small(0.001) == "0.001"
    assert digits.small(0.0) == "0.000"
