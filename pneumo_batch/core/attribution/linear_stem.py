"""A network without its stem, a linear first convolution, so that a straight path of inputs passes that only twice.

With conv(x) = K x + b, conv(x' + a d) = conv(x') + a K d; and the gradient at the input, summed over the path, is K^T
applied once to the sum of the gradients behind the convolution. Exact in exact arithmetic.

Array legend: B points, C channels of the input, H height, W width; "features" are what the rest of the network takes:
the stem's output, or the input itself where a network has no such stem.
"""

import copy
from collections.abc import Callable

import torch
from torch import nn

from pneumo_batch.core.attribution.pooling import pool_first

_EXACT = 1e-9  # relative, in float64: what the parted network must agree to with the whole one


class _Slot(nn.Module):
    """Stands where the stem was, and returns what was put in."""

    def __init__(self) -> None:
        super().__init__()
        self.features: torch.Tensor | None = None

    def forward(self, _inputs: torch.Tensor) -> torch.Tensor:
        assert self.features is not None
        return self.features


class LinearStem:
    """A frozen network in eval mode, parted behind its stem: input -> features -> logits.

    `path` is the stem's, or None where the features are the input itself. `model` loses its stem.
    """

    def __init__(self, model: nn.Module, path: str | None, example_1CHW: torch.Tensor) -> None:
        self.model, self.path = model, path
        self._example_1CHW = example_1CHW
        self._slot: _Slot | None = None
        if path is not None:
            self._stem = model.get_submodule(path)
            self._linear = copy.deepcopy(self._stem)
            self._linear.register_parameter("bias", None)
            self._slot = _Slot()
            model.set_submodule(path, self._slot)

    @classmethod
    def of(cls, model: nn.Module, example_1CHW: torch.Tensor) -> "LinearStem":
        """Of a network, which stays as it is.

        It is not parted where its input reaches anything but one Conv2d, or where the parts do not give the same logits
        and gradients as the whole.
        """
        path = first_convolution(model, example_1CHW)
        if path is not None:
            trial = cls(pool_first(copy.deepcopy(model).double()), path, example_1CHW.double())
            if _is_exact(trial, model, example_1CHW):
                return cls(pool_first(copy.deepcopy(model)), path, example_1CHW)
        return cls(model, None, example_1CHW)

    def features(self, inputs_BCHW: torch.Tensor) -> torch.Tensor:
        """What the rest of the network takes for these inputs."""
        return _channels_last(inputs_BCHW if self._slot is None else self._stem(inputs_BCHW))

    def step(self, difference_BCHW: torch.Tensor) -> torch.Tensor:
        """The change of the features for a change of the input."""
        return _channels_last(difference_BCHW if self._slot is None else self._linear(difference_BCHW))

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (B, outputs) from features (B, ...)."""
        if self._slot is None:
            return self.model(features)
        self._slot.features = features
        try:
            return self.model(self._example_1CHW.expand(len(features), -1, -1, -1))
        finally:
            self._slot.features = None

    def pull_back(self, gradient: torch.Tensor, difference_BCHW: torch.Tensor) -> torch.Tensor:
        """A gradient at the features, carried to the input; `difference_BCHW` gives the input's shape."""
        if self._slot is None:
            return gradient
        with torch.enable_grad():
            leaf = difference_BCHW.detach().requires_grad_()
            # Not as grad_outputs: torch would import half a second of symbolic mathematics for the first of them.
            return torch.autograd.grad((self._linear(leaf) * gradient).sum(), leaf)[0]


def first_convolution(model: nn.Module, example_1CHW: torch.Tensor) -> str | None:
    """The path of the one Conv2d that takes exactly the network's input, once; None if there is none."""
    takers: list[str] = []

    def note(path: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        def hook(_module: nn.Module, arguments: tuple[object, ...]) -> None:
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


def _is_exact(parted: LinearStem, model: nn.Module, example_1CHW: torch.Tensor) -> bool:
    """Compare logits and input gradients of the parted and the whole network, in float64, at two random inputs.

    One at a time: all that a large network keeps for a gradient, in float64, is the most that loading it takes.
    """
    whole = copy.deepcopy(model).double()
    shape = (2, *example_1CHW.shape[1:])
    inputs_BCHW = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs_BCHW = inputs_BCHW.to(example_1CHW.device)
    try:
        return all(_is_exact_at(inputs_BCHW[i : i + 1], parted, whole) for i in range(len(inputs_BCHW)))
    except RuntimeError:
        return False  # such as an in-place operation on the features, or an input that is used elsewhere


def _is_exact_at(inputs_1CHW: torch.Tensor, parted: LinearStem, whole: nn.Module) -> bool:
    inputs_1CHW.requires_grad_()
    with torch.enable_grad():
        logits = whole(inputs_1CHW)
        gradient_1CHW = torch.autograd.grad(logits.sum(), inputs_1CHW)[0]
        features = parted.features(inputs_1CHW).detach().requires_grad_()
        parted_logits = parted.logits(features)
        parted_gradient_1CHW = parted.pull_back(torch.autograd.grad(parted_logits.sum(), features)[0], inputs_1CHW)
    return _close(logits, parted_logits) and _close(gradient_1CHW, parted_gradient_1CHW)


def _close(wanted: torch.Tensor, found: torch.Tensor) -> bool:
    return bool((wanted - found).norm() <= _EXACT * wanted.norm())
