"""Max pooling moved in front of what follows a convolution: the same network with a quarter of its element-wise work.

ReLU, BatchNorm in eval mode and Dropout in eval mode are monotone in each channel, and the maximum commutes with
increasing functions: pool(f(z)) = f(pool(z)); with decreasing ones it is pool(f(z)) = f(-pool(-z)). So
convolution -> f -> pool becomes (negated where f decreases) convolution -> pool -> sign -> f. Logits and gradients are
the same; only where two values of a window differ by less than rounding may another one of them win.

Array legend: B images, C channels, H height, W width.
"""

import torch
from torch import nn

_MONOTONE = (nn.ReLU, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.Identity)


class _Sign(nn.Module):
    """Times 1 or -1 for each channel."""

    sign_1C11: torch.Tensor

    def __init__(self, sign_C: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("sign_1C11", sign_C.view(1, -1, 1, 1))

    def forward(self, maps_BCHW: torch.Tensor) -> torch.Tensor:
        return maps_BCHW * self.sign_1C11


def pool_first(model: nn.Module) -> nn.Module:
    """Rewrite, in place, every Sequential in which Conv2d, monotone layers and MaxPool2d follow each other.

    `model` must be frozen and in eval mode, and a copy nobody else holds: layers move and weights change sign.
    """
    for sequential in [module for module in model.modules() if type(module) is nn.Sequential]:
        layers = list(sequential)
        for start, layer in enumerate(layers):
            end = _pool_after(layers, start)
            if isinstance(layer, nn.Conv2d) and end is not None:
                layers[start : end + 1] = _reordered(layer, layers[start + 1 : end], layers[end])
        # The same indices, so that layers before and behind keep their paths; none is added or lost.
        for index, layer in enumerate(layers):
            sequential[index] = layer
    return model


def _pool_after(layers: list[nn.Module], start: int) -> int | None:
    """The index of the max pooling that only monotone layers separate from `start`."""
    for index in range(start + 1, len(layers)):
        layer = layers[index]
        if isinstance(layer, nn.MaxPool2d) and not layer.return_indices:
            return index if index > start + 1 else None
        if type(layer) not in _MONOTONE:
            return None
    return None


def _reordered(convolution: nn.Conv2d, monotone: list[nn.Module], pool: nn.Module) -> list[nn.Module]:
    sign_C = torch.ones(convolution.out_channels).to(convolution.weight)
    for layer in monotone:
        if isinstance(layer, nn.BatchNorm2d) and layer.weight is not None:
            sign_C = torch.where(layer.weight < 0, -sign_C, sign_C)
    last = nn.Sequential(_Sign(sign_C), *monotone) if bool((sign_C < 0).any()) else nn.Sequential(*monotone)
    convolution.weight = nn.Parameter(convolution.weight * sign_C.view(-1, 1, 1, 1), requires_grad=False)
    if convolution.bias is not None:
        convolution.bias = nn.Parameter(convolution.bias * sign_C, requires_grad=False)
    padding = [nn.Identity() for _ in monotone[1:]]
    return [convolution, pool, last, *padding]
