"""What somebody with a network and a tensor in memory gives, as the explainer takes it.

Array legend: N images, C channels, S pixels a side.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from pneumo_batch.core import user_code
from pneumo_batch.core.attribution.explainer import Explainer, Explanation
from pneumo_batch.core.data.images import Preprocess, named_normalisation
from pneumo_batch.core.models import programs

Method = str | Callable[..., torch.Tensor]
Methods = Iterable[Method] | Mapping[Method, Mapping[str, Any]]
PerChannel = float | tuple[float, ...]
Normalise = str | tuple[PerChannel, PerChannel]
Target = int | Sequence[int] | torch.Tensor

UNIT = (0.0, 1.0)  # of images that are pixels in [0, 1] themselves
_ROUNDING = 1e-3


@torch.inference_mode(False)  # without gradients there is no map, whatever block the caller is in
def explain(
    model: nn.Module,
    images: torch.Tensor,
    methods: Methods,
    target: Target,
    normalise: Normalise | None,
) -> Explanation:
    """Maps of `images` (N, C, S, S) with their logits; `target` is an output's index, or one for each image.

    Raises ValueError for what does not fit together.
    """
    functions, options = named(methods)
    preprocess = preprocess_of(images, normalise)
    targets_N = targets_of(target, len(images))
    if (highest := int(targets_N.max())) >= outputs_of("model", model, images[:1]):
        raise ValueError(f"target: the network has no output {highest}; they count from 0")
    with user_code.given(functions):
        return Explainer(model, options, preprocess)(images, targets_N)


def outputs_of(place: str, model: nn.Module, image_1CSS: torch.Tensor) -> int:
    """How many logits a network has for an image. Raises ValueError, beginning with its `place`, where it has none."""
    if (weights := next(model.parameters(), None)) is None:
        raise ValueError(f"{place}: the network has no weights")
    shape = tuple(image_1CSS.shape)
    try:
        with torch.no_grad():
            logits_1K = programs.frozen_copy(model)(image_1CSS.to(weights))
    except RuntimeError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{place}: the network cannot take an image of shape {shape}: {reason}") from error
    if not isinstance(logits_1K, torch.Tensor) or logits_1K.ndim != 2 or len(logits_1K) != 1:
        found = tuple(logits_1K.shape) if isinstance(logits_1K, torch.Tensor) else type(logits_1K).__name__
        raise ValueError(f"{place}: the network must return logits (1, K) for an image of shape {shape}, not {found}")
    return logits_1K.shape[1]


def targets_of(target: Target, images: int) -> torch.Tensor:
    """The index of the explained output of each image (N,) int64. Raises ValueError for too few, and below 0."""
    targets_N = torch.as_tensor(target).to(torch.int64)
    if targets_N.ndim and targets_N.shape != (images,):
        raise ValueError(f"target: {tuple(targets_N.shape)} for {images} images: give one index, or one each")
    if int(targets_N.min()) < 0:
        raise ValueError(f"target: {int(targets_N.min())} is no output: outputs count from 0")
    return targets_N.expand(images)


def named(methods: Methods) -> tuple[dict[str, Callable[..., torch.Tensor]], dict[str, dict[str, Any]]]:
    """The functions among methods by the name they get, and the options of every method by name, in their order.

    Raises ValueError where two have one name.
    """
    given = [methods] if isinstance(methods, str) else list(methods)
    names = user_code.names_of("methods", given)
    options = methods if isinstance(methods, Mapping) else {}
    functions = {name: method for name, method in zip(names, given, strict=True) if not isinstance(method, str)}
    return functions, {name: dict(options.get(method, {})) for name, method in zip(names, given, strict=True)}


def preprocess_of(images: torch.Tensor, normalise: Normalise | None) -> Preprocess:
    """The images' shape and what they were normalised with, as a run keeps it of a variant.

    Raises ValueError for images that are not (N, C, S, S), and for such that no pixels in 0 to 1 give.
    """
    if not isinstance(images, torch.Tensor):
        hint = ": torch.from_numpy makes one" if isinstance(images, np.ndarray) else ""
        raise ValueError(f"images: a torch tensor (N, C, S, S) is needed, not {type(images).__name__}{hint}")
    if images.ndim != 4 or images.shape[2] != images.shape[3] or not len(images) or not images.is_floating_point():
        raise ValueError(
            f"images: one or more square images, floats (N, C, S, S), are needed, not {images.dtype}"
            f" {tuple(images.shape)}"
        )
    channels, size = images.shape[1:3]
    given = normalise or UNIT
    mean, std = named_normalisation(given, channels) if isinstance(given, str) else given
    preprocess = Preprocess(size=size, channels=channels, mean=mean, std=std)
    if normalise is not None:
        if not (finite_N := images.isfinite().flatten(1).all(1)).all():
            raise ValueError(f"images: images[{int(finite_N.int().argmin())}] holds nan or inf: leave it out")
        low, high = (float(value) for value in preprocess.gray(images).aminmax())
        if not (-_ROUNDING <= low <= high <= 1 + _ROUNDING):
            raise ValueError(
                f"images: with normalise = {normalise!r} undone they lie in {low:g} to {high:g}, not in 0 to 1: give"
                " the (mean, std) they were normalised with"
            )
    return preprocess
