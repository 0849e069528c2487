"""Spoilt films for minutes, through the code that the stages run in their tasks; no crash of the process, no hang."""

import pytest
from helpers.mutated_films import mutated, through_the_stages
from hypothesis import HealthCheck, given, settings

pytestmark = pytest.mark.faults


@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(spoilt=mutated())
def test_spoilt_films_for_longer(spoilt, tmp_path):
    reason = through_the_stages(tmp_path, spoilt[1])
    assert reason
    assert "\n" not in reason
    assert "Secret" not in reason
