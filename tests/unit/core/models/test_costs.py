import pytest

from pneumo_batch.core.models import costs


@pytest.mark.parametrize(("side", "seconds"), [(64, 0.044), (224, 0.54)])
def test_what_was_measured_comes_out_again(side, seconds):
    """Seconds an image and model on two cores."""
    assert costs.attribution_hours(1, 1, side, 50) * 3600 / 2 == pytest.approx(seconds, rel=0.03)


def test_hours_grow_with_images_models_and_steps():
    once = costs.attribution_hours(100, 2, 224, 50)
    assert costs.attribution_hours(200, 4, 224, 25) == pytest.approx(2 * once)
