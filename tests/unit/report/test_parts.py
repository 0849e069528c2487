from pneumo_batch.report import parts


def test_number():
    assert parts.number(0.12345) == "0.123"
    assert parts.number(-0.5) == "−0.500"
    assert parts.number(-0.0004) == "−0.0004"
    assert parts.number(0.0) == "0.000"
    assert parts.number(7) == "7"
    assert parts.number(float("nan")) == parts.number(None) == "–"
