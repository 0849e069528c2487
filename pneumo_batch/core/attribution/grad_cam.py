"""Grad-CAM (Selvaraju et al., ICCV 2017), signed: before its final ReLU, at the layer's own resolution.

Array legend: C channels of the layer, h height, w width of the layer.
"""

import math
from types import TracebackType

import torch
from torch import nn


class Activation:
    """Inside the `with` block, one forward pass of one image is watched at a layer.

    The layer's output starts a graph of its own there, so nothing before it is recorded, and the rest of the network
    receives a copy, so an in-place activation (densenet's last) cannot overwrite it.
    """

    def __init__(self, model: nn.Module, path: str) -> None:
        self._layer, self._path = model.get_submodule(path), path
        self._seen: list[object] = []

    def __enter__(self) -> "Activation":
        self._handle = self._layer.register_forward_hook(self._keep)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._handle.remove()

    def _keep(self, _module: nn.Module, _arguments: object, output: object) -> object:
        if not isinstance(output, torch.Tensor):
            self._seen.append(output)
            return output
        watched = output.detach().requires_grad_()
        self._seen.append(watched)
        return watched.clone()

    def map_hw(self, logit: torch.Tensor, *, keep: bool = False) -> torch.Tensor:
        """sum_c mean_hw(d logit / d A_c) A_c, for the scalar `logit` of the watched pass. Returns (h, w).

        `keep` leaves the pass there for another logit of it. Of tokens (1, 1 + h * w, C), a class token and then a
        square of patches row by row, the class token is left out.
        """
        if len(self._seen) != 1:
            raise ValueError(f"Grad-CAM layer {self._path!r} runs {len(self._seen)} times in a forward pass, not once")
        activation = self._seen[0]
        if not isinstance(activation, torch.Tensor):
            raise ValueError(f"{self._no_maps()}: choose a convolution")
        gradient = torch.autograd.grad(logit, activation, allow_unused=True, retain_graph=keep)[0]
        if gradient is None:
            raise ValueError(f"the logit does not depend on the Grad-CAM layer {self._path!r}: choose another")
        gradient_1Chw, activation_1Chw = self._maps(gradient), self._maps(activation.detach())
        if activation.ndim == 3 and not gradient_1Chw.any():
            raise ValueError(
                f"the logit does not depend on the patches at the Grad-CAM layer {self._path!r}: choose one before the "
                "last attention"
            )
        weights_1C11 = gradient_1Chw.mean((2, 3), keepdim=True)
        return (weights_1C11 * activation_1Chw).sum(1)[0]

    def _maps(self, values: torch.Tensor) -> torch.Tensor:
        """(1, C, h, w) of maps or of tokens."""
        if values.ndim == 4 and not isinstance(self._layer, nn.Linear | nn.LayerNorm):
            return values
        side = math.isqrt(values.shape[1] - 1) if values.ndim == 3 else 0
        if not side or side**2 != values.shape[1] - 1:
            raise ValueError(f"{self._no_maps()} or tokens (B, 1 + h * h, C): choose a convolution")
        return values[:, 1:].transpose(1, 2).unflatten(2, (side, side))

    def _no_maps(self) -> str:
        return f"Grad-CAM layer {self._path!r} does not give maps (B, C, h, w)"
