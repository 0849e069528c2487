"""Where the paths of Integrated Gradients start, as network inputs.

Array legend: B images, C channels, H height, W width.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from pneumo_batch.core.attribution.options import BASELINES

if TYPE_CHECKING:
    from pneumo_batch.core.data.images import Preprocess

CONSTANT = ("black", "mean", "white", "noise")  # the same for every image
NOISE_SEED = 0
_GRAY = {"black": 0.0, "white": 1.0}  # of full scale, before normalising


def baseline_input(name: str, preprocess: "Preprocess") -> torch.Tensor:
    """The baseline (1, C, H, W) float32 as the network sees it, after the images' own preprocessing.

    `black` and `white`: a black or white film; `mean`: the mean gray, which normalises to 0; `noise`: uniform gray
    noise, always the same. Raises ValueError for `blur`, which depends on the image, and for unknown names.
    """
    shape = (1, preprocess.channels, preprocess.size, preprocess.size)
    if name == "noise":
        generator = torch.Generator().manual_seed(NOISE_SEED)
        gray_11HW = torch.rand(1, 1, *shape[2:], generator=generator)
    elif name == "mean":
        return torch.zeros(shape)
    elif name in _GRAY:
        gray_11HW = torch.full((1, 1, *shape[2:]), _GRAY[name])
    elif name == "blur":
        raise ValueError("the baseline 'blur' depends on the image: there is no single one")
    else:
        raise ValueError(f"unknown baseline {name!r}: choose one of {', '.join(BASELINES)}")
    return preprocess.normalised(gray_11HW)


def baseline_of(name: str, preprocess: "Preprocess") -> Callable[[torch.Tensor], torch.Tensor]:
    """A function from inputs (B, C, H, W) to their baselines: (1, C, H, W) where constant, else (B, C, H, W)."""
    if name == "blur":
        return lambda inputs_BCHW: blurred(inputs_BCHW)
    constant_1CHW = baseline_input(name, preprocess)
    return lambda inputs_BCHW: constant_1CHW.to(inputs_BCHW)


def blurred(inputs_BCHW: torch.Tensor) -> torch.Tensor:
    """The images under a Gaussian whose sigma is 1/16 of the image's height, mirrored at the borders."""
    from torchvision.transforms.functional import gaussian_blur

    sigma = inputs_BCHW.shape[2] / 16
    kernel = 2 * round(3 * sigma) + 1
    return gaussian_blur(inputs_BCHW, [kernel, kernel], [sigma, sigma])
