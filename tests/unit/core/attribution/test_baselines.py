import numpy as np
import pytest
import torch
from scipy import ndimage

from pneumo_batch.core.attribution.baselines import BASELINES, CONSTANT, baseline_input, baseline_of, blurred
from pneumo_batch.core.data.images import Preprocess

PREPROCESS = Preprocess(size=32, channels=3, mean=0.345, std=0.282)


@pytest.mark.parametrize(
    "preprocess", [PREPROCESS, Preprocess(32, channels=3, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3))]
)
@pytest.mark.parametrize(("name", "gray"), [("black", 0), ("white", 255)])
def test_black_and_white_are_such_images_after_the_same_preprocessing(name, gray, preprocess):
    expected = preprocess.inputs(np.full((1, 32, 32), gray, dtype=np.uint8))
    torch.testing.assert_close(baseline_input(name, preprocess), expected)


def test_mean_is_zero_and_noise_is_a_gray_film_that_stays_the_same():
    assert baseline_input("mean", PREPROCESS).abs().max() == 0
    noise_1CHW = baseline_input("noise", PREPROCESS)
    assert torch.equal(noise_1CHW, baseline_input("noise", PREPROCESS))
    assert torch.equal(noise_1CHW[:, 0], noise_1CHW[:, 2])
    gray_HW = noise_1CHW[0, 0] * 0.282 + 0.345
    assert gray_HW.min() >= -1e-6
    assert gray_HW.max() <= 1
    assert float(gray_HW.mean()) == pytest.approx(0.5, abs=4 * 12**-0.5 / 32)  # four standard errors


def test_blur_is_a_gaussian_of_a_sixteenth():
    inputs_BCHW = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = ndimage.gaussian_filter(inputs_BCHW.numpy(), (0, 0, 2, 2), mode="mirror", radius=(0, 0, 6, 6))
    np.testing.assert_allclose(blurred(inputs_BCHW).numpy(), expected, rtol=1e-6, atol=1e-7)
    assert torch.equal(baseline_of("blur", PREPROCESS)(inputs_BCHW), blurred(inputs_BCHW))


@pytest.mark.parametrize(("name", "message"), [("blur", "depends on the image"), ("grey", "one of black, mean, white")])
def test_what_is_no_single_baseline_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        baseline_input(name, PREPROCESS)


def test_every_constant_baseline_follows_the_inputs_type():
    assert set(CONSTANT) == set(BASELINES) - {"blur"}
    for name in CONSTANT:
        baseline_1CHW = baseline_of(name, PREPROCESS)(torch.zeros(5, 3, 32, 32, dtype=torch.float64))
        assert baseline_1CHW.shape == (1, 3, 32, 32)
        assert baseline_1CHW.dtype == torch.float64
