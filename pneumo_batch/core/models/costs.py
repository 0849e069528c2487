"""About how long a job takes, from what was measured once: to plan nodes by, never to be held to.

Measured on 2026-11-23 with cnn5 on two cores of a Xeon with AVX-512, both busy. 50 steps of Integrated Gradients and
Grad-CAM, one image and model: 0.044 s at 64 px and 0.54 s at 224 px, which is about 10.8 s a megapixel at either size.
An epoch of 1024 images at 64 px, validation included: 2.38 s.
"""

CORE_SECONDS_PER_MEGAPIXEL = 2 * 10.8  # of the network's input, one image and model
TRAINING_CORE_SECONDS_PER_MEGAPIXEL = 2 * 2.38 / (1024 * 64**2 / 1e6)  # one image and epoch
MEASURED_STEPS = 50
MEASURED_NETWORK = "cnn5"


def attribution_hours(images: int, models: int, side: int, steps: int) -> float:
    """Core-hours, about; other networks than cnn5 cost more or less by what they compute."""
    megapixels = images * models * side**2 / 1e6
    return CORE_SECONDS_PER_MEGAPIXEL * megapixels * steps / MEASURED_STEPS / 3600


def of_targets(count: int) -> float:
    """How many times the attribution of one target that of `count` costs, about.

    They share the forward pass, which is half of it: measured with cnn5 at 224 px, 1.4 for two and 2.0 for three.
    """
    return (1 + count) / 2


def training_hours(images: int, epochs: int, side: int) -> float:
    """Core-hours of `epochs` over `images`, about."""
    return TRAINING_CORE_SECONDS_PER_MEGAPIXEL * images * epochs * side**2 / 1e6 / 3600
