"""A network cut behind its linear first convolution, so that a straight path of inputs passes it only twice.

With conv(x) = K x + b, conv(x' + a d) = conv(x') + a K d; and the gradient at the input, summed over the path, is K^T
applied once to the sum of the gradients behind the convolution. Exact in exact arithmetic.

Array legend: B points, C channels of the input, H height, W width; an "entry" is what the rest of the network takes:
the first convolution's output, or the input itself where nothing could be hoisted.
"""

import copy
from typing import Any

import torch
from torch import nn

from pneumo_batch.core.attribution.pooling import pool_first

_EXACT = 1e-9  # relative, in float64: what the cut network must agree to with the whole one


class _Slot(nn.Module):
    """Stands where the first convolution was, and returns what was put in."""

    def __init__(self) -> None:
        super().__init__()
        self.entry: torch.Tensor | None = None

    def forward(self, _inputs: torch.Tensor) -> torch.Tensor:
        assert self.entry is not None
        return self.entry


class Cut:
    """A frozen network in eval mode, as entry -> logits.

    `hoisted` is the first convolution's path, or None where the plain path is taken: networks whose input reaches
    anything but one Conv2d, or whose cut copy does not give the same logits and gradients.
    """

    def __init__(self, model: nn.Module, example_1CHW: torch.Tensor) -> None:
        self._example_1CHW = example_1CHW
        self._slot: _Slot | None = None
        self.model = model
        self.hoisted = first_convolution(model, example_1CHW)
        if self.hoisted is None or not _is_exact(_trial(model, self.hoisted, example_1CHW), model, example_1CHW):
            self.hoisted = None
            return
        self._cut(pool_first(copy.deepcopy(model)), self.hoisted)

    def _cut(self, model: nn.Module, path: str) -> None:
        self._first = model.get_submodule(path)
        self._linear = copy.deepcopy(self._first)
        self._linear.register_parameter("bias", None)
        self._slot = _Slot()
        model.set_submodule(path, self._slot)
        self.model = model

    def entry(self, inputs_BCHW: torch.Tensor) -> torch.Tensor:
        """What the rest of the network takes for these inputs."""
        return _channels_last(inputs_BCHW if self._slot is None else self._first(inputs_BCHW))

    def step(self, difference_BCHW: torch.Tensor) -> torch.Tensor:
        """The change of the entry for a change of the input."""
        return _channels_last(difference_BCHW if self._slot is None else self._linear(difference_BCHW))

    def logits(self, entry: torch.Tensor) -> torch.Tensor:
        """Logits (B, outputs) from entries (B, ...)."""
        if self._slot is None:
            return self.model(entry)
        self._slot.entry = entry
        try:
            return self.model(self._example_1CHW.expand(len(entry), -1, -1, -1))
        finally:
            self._slot.entry = None

    def pull_back(self, gradient: torch.Tensor, difference_BCHW: torch.Tensor) -> torch.Tensor:
        """A gradient at the entry, carried to the input; `difference_BCHW` gives the input's shape."""
        if self._slot is None:
            return gradient
        with torch.enable_grad():
            leaf = difference_BCHW.detach().requires_grad_()
            # Not as grad_outputs: torch would import half a second of symbolic mathematics for the first of them.
            return torch.autograd.grad((self._linear(leaf) * gradient).sum(), leaf)[0]


def first_convolution(model: nn.Module, example_1CHW: torch.Tensor) -> str | None:
    """The path of the one Conv2d that takes exactly the network's input, once; None if there is none."""
    takers: list[str] = []

    def note(path: str) -> Any:
        def hook(_module: nn.Module, arguments: tuple[Any, ...]) -> None:
            if arguments and arguments[0] is example_1CHW:
                takers.append(path)

        return hook

    # Subclasses and parametrized convolutions may do more than convolve.
    convolutions = [(path, module) for path, module in model.named_modules() if type(module) is nn.Conv2d and path]
    handles = [module.register_forward_pre_hook(note(path)) for path, module in convolutions]
    try:
        with torch.no_grad():
            model(example_1CHW)
    finally:
        for handle in handles:
            handle.remove()
    return takers[0] if len(takers) == 1 else None


def _channels_last(maps_BCHW: torch.Tensor) -> torch.Tensor:
    # A convolution of one channel gives torch's default layout, and everything behind it would inherit that.
    return maps_BCHW.contiguous(memory_format=torch.channels_last)


def _trial(model: nn.Module, path: str, example_1CHW: torch.Tensor) -> Cut:
    """The cut network in float64."""
    cut = Cut.__new__(Cut)
    cut._example_1CHW = example_1CHW.double()
    cut._cut(pool_first(copy.deepcopy(model).double()), path)
    return cut


def _is_exact(cut: Cut, model: nn.Module, example_1CHW: torch.Tensor) -> bool:
    """Compare logits and input gradients of the cut and the whole network, in float64, at two random inputs."""
    whole = copy.deepcopy(model).double()
    shape = (2, *example_1CHW.shape[1:])
    inputs_BCHW = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs_BCHW = inputs_BCHW.to(example_1CHW.device).requires_grad_()
    try:
        with torch.enable_grad():
            logits = whole(inputs_BCHW)
            gradient_BCHW = torch.autograd.grad(logits.sum(), inputs_BCHW)[0]
            entry = cut.entry(inputs_BCHW).detach().requires_grad_()
            cut_logits = cut.logits(entry)
            cut_gradient_BCHW = cut.pull_back(torch.autograd.grad(cut_logits.sum(), entry)[0], inputs_BCHW)
    except RuntimeError:
        return False  # such as an in-place operation on the entry, or an input that is used elsewhere
    return _close(logits, cut_logits) and _close(gradient_BCHW, cut_gradient_BCHW)


def _close(wanted: torch.Tensor, found: torch.Tensor) -> bool:
    return bool((wanted - found).norm() <= _EXACT * wanted.norm())
