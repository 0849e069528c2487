"""Whether an image has one map: networks that answer twice differently, or by what else is in the batch, have none.

And whether a network gives logits, whose maps they are meant to be.

Array legend: B images, C channels, H height, W width.
"""

import random

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pneumo_batch.core.attribution.methods import seeded
from pneumo_batch.core.models import programs

_KNOWN = ("torch.nn.", "torchvision.", "torchxrayvision.", "pneumo_batch.")  # whose eval mode is one
# Of gradients, relative: the same pass again; the same image in a batch, where rounding may flip a few ReLUs.
_AGAIN, _BESIDE = 1e-4, 2e-2


def check(model: nn.Module, example_1CHW: torch.Tensor) -> None:
    """Raise ValueError unless a network in eval mode gives an image the same logits and gradients again and in a batch.

    Costs a few passes of noise of the example's shape; a network whose code is known to be sound costs nothing.
    """
    if is_known(model):
        return
    shaken = programs.shaken_copy(model)
    images_BCHW = torch.randn((2, *example_1CHW.shape[1:]), generator=torch.Generator().manual_seed(1)).to(example_1CHW)
    images_BCHW[1:] = 4 * images_BCHW[1:] + 2  # of other statistics, that those of the batch are others too
    with seeded(0, example_1CHW.device):
        once, after_one = _answer(shaken, images_BCHW[:1]), _random_state(example_1CHW.device)
        again, after_two = _answer(shaken, images_BCHW[:1]), _random_state(example_1CHW.device)
        if after_one != after_two:  # a rare change would hide from a few passes
            raise ValueError(
                "the network draws random numbers in eval mode, so that an image has another map each time: let its "
                "dropout or noise follow self.training, F.dropout(x, p, self.training)"
            )
        if not _agree(once, again, _AGAIN):
            raise ValueError(
                "the network answers differently when it sees the same image again: it must keep nothing from one call "
                "to the next, and draw nothing at random in eval mode"
            )
        if not _agree(once, _together(shaken, images_BCHW), _BESIDE):
            raise ValueError(
                "the network's answer to an image depends on the images beside it: give its batch norm running "
                "statistics and leave it in eval mode, or take group norm"
            )


@torch.no_grad()
def gives_probabilities(model: nn.Module, example_1CHW: torch.Tensor) -> bool:
    """Whether all outputs lie in 0 to 1 even for deafening noise, which takes logits far away."""
    shape = (4, *example_1CHW.shape[1:])
    noise_BCHW = 1e3 * torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(example_1CHW)
    outputs_BK = programs.frozen_copy(model)(noise_BCHW)
    return bool(((outputs_BK >= 0) & (outputs_BK <= 1)).all())


def is_known(model: nn.Module) -> bool:
    """Whether all of a network's code is torch's, torchvision's, torchxrayvision's or ours, and in eval mode sound."""
    return all(
        type(module).__module__.startswith(_KNOWN)
        and not (isinstance(module, _BatchNorm) and module.running_mean is None)
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and "forward" not in vars(module)
        for module in model.modules()
    )


_Answer = tuple[torch.Tensor, torch.Tensor]  # logits (K,) and the gradient of their sum (C, H, W) of the first image


def _answer(model: nn.Module, images_BCHW: torch.Tensor) -> _Answer:
    with torch.enable_grad():
        leaf = images_BCHW.clone().requires_grad_()
        logits_BK = model(leaf)
        if len(logits_BK) != len(leaf):
            raise IndexError(f"it returned {len(logits_BK)} rows for {len(leaf)} images")
        if not logits_BK.requires_grad:  # a network that cuts the graph: methods that need gradients say so
            return _numbers(logits_BK[0]), torch.zeros_like(leaf[0])
        gradient_BCHW = torch.autograd.grad(logits_BK.sum(), leaf)[0]
    return _numbers(logits_BK[0].detach()), _numbers(gradient_BCHW[0])


def _numbers(values: torch.Tensor) -> torch.Tensor:
    """Zeros where there is none: noise is below 0 too, of which a network may take the logarithm."""
    return values.nan_to_num(0.0, 0.0, 0.0)


def _together(model: nn.Module, images_BCHW: torch.Tensor) -> _Answer:
    try:
        return _answer(model, images_BCHW)
    except (RuntimeError, IndexError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"the network takes no batches (B, C, H, W), only one image at a time: {reason}") from error


def _agree(one: _Answer, other: _Answer, tolerance: float) -> bool:
    differences = [
        (a - b).norm() / torch.maximum(a.norm(), b.norm()).clamp_min(1e-30) for a, b in zip(one, other, strict=True)
    ]
    return float(max(differences)) <= tolerance


def _random_state(device: torch.device) -> tuple[bytes, ...]:
    states = [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])
    _, keys, place, *_ = np.random.get_state()
    others = (np.asarray(keys).tobytes(), str(place).encode(), repr(random.getstate()).encode())
    return (*(state.numpy().tobytes() for state in states), *others)
