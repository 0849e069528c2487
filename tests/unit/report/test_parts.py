from pneumo_batch.report import parts


def test_number():
    assert parts.number(0.12345) == "0.123"
    assert parts.number(-0.5) == "−0.500"
    assert parts.number(-0.0004) == parts.number(3e-07) == "0.000"
    assert parts.number(-0.0006) == "−0.001"
    assert parts.number(parts.Small(3e-07)) == "< 0.001"
    assert parts.number(parts.Small(0.0143)) == "0.014"
    assert parts.number(0.0) == "0.000"
    assert parts.number(7) == "7"
    assert parts.number(float("nan")) == parts.number(None) == "–"


def test_shortened():
    assert parts.shortened("module:function", 15) == "module:function"
    assert parts.shortened("module:function", 8) == "modu…ion"
    assert len(parts.shortened("module:function", 9)) == 9
