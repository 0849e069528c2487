"""Attributions with gradients of their own at activations: DeepLIFT and Guided Backpropagation.

Every call of an activation is caught where torch dispatches functions, whoever makes it: a module, once or again,
F.relu, a tensor's method. captum hooks modules instead. It does not see F.relu, and in 0.9 its DeepLIFT stops at a
module that is used twice, passes by the rule of a max-pooling behind a ReLU, and loses what an activation's input does
elsewhere. Where none of this happens, its maps are these.

Array legend: B images, or an image and its baseline; C channels, H height, W width.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from pneumo_batch.core.models import programs

_CLAMPS = ("clamp", "clip", "clamp_min")
# By the names of torch's functions; "relu" is relu, relu_ and F.relu alike.
_OTHER_ACTIVATIONS = frozenset(
    (
        *("relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "tanh"),
        *("hardtanh", "hardswish", "threshold"),
    )
)
_ELEMENTWISE = _OTHER_ACTIVATIONS | {
    *("relu", *_CLAMPS, "clamp_max", "sigmoid", "hardsigmoid", "log_sigmoid", "logsigmoid", "softsign"),
    *("hardshrink", "softshrink", "tanhshrink", "abs", "exp", "log", "sqrt", "square"),
}
_MAX_POOLS = frozenset(f"{kind}max_pool{n}d" for kind in ("", "adaptive_") for n in (1, 2, 3))
# Inputs closer than this count as equal, and their slope is the gradient. In float64 only what is equal: a network with
# fresh weights may have changes that small everywhere.
_SAME, _SAME_IN_FLOAT64 = 1e-10, 1e-100
_ADDS_UP = ((torch.float64, 1e-8), (torch.float32, 1e-3))  # relative to the map's L1 norm

# From the input, the output (on a graph of its own that begins at the input) and the gradient at the output to that at
# the input.
Rule = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
Options = tuple[object, ...]  # what a function got beside its input, by place
Named = dict[str, object]  # and by name


class _Ruled(torch.autograd.Function):
    """A function of one tensor whose gradient a rule gives."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor], rule: Rule) -> Any:
        ctx.rule = rule
        with torch.enable_grad():  # copies: what follows may write in place
            ctx.inputs = inputs.detach().clone().requires_grad_()
            ctx.outputs = function(ctx.inputs.clone())
        return ctx.outputs.detach().clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        with torch.enable_grad():
            return ctx.rule(ctx.inputs, ctx.outputs, gradients[0]).detach(), None, None


class _Caught(TorchFunctionMode):
    """Inside the `with` block, the functions that `rule_of` has a rule for get that rule's gradients."""

    def __init__(self, rule_of: Callable[[str, Options, Named], Rule | None]) -> None:
        super().__init__()
        self._rule_of = rule_of

    def __torch_function__(self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        rule = self._rule_of(name.strip("_"), args[1:], kwargs)
        if rule is None or name.startswith("__"):
            return func(*args, **kwargs)
        inputs = args[0] if args else kwargs.pop("input")
        outputs = _Ruled.apply(inputs, lambda tensor: func(tensor, *args[1:], **kwargs), rule)
        return inputs.copy_(outputs) if kwargs.get("inplace") or name.endswith("_") else outputs


def guided_gradient(model: nn.Module, inputs_1CHW: torch.Tensor, target: int) -> torch.Tensor:
    """Guided Backpropagation (Springenberg et al. 2015): behind a ReLU, only positive gradients pass. (1, C, H, W).

    Raises ValueError for a network with other activations, where the rule says nothing.
    """
    with _Caught(_guided_rule):
        logit = model(inputs_1CHW)[0, target]
    return torch.autograd.grad(logit, inputs_1CHW)[0]


def _guided_rule(name: str, options: Options, named: Named) -> Rule | None:
    if name == "relu" or _is_rectifier(name, options, named):
        return _guided
    if name in _OTHER_ACTIVATIONS:
        raise ValueError(f"guided methods change the gradient of ReLU, and this network has {name}: choose another")
    return None


def _is_rectifier(name: str, options: Options, named: Named) -> bool:
    """Whether a clamp or threshold, whose options come by place or by name, is a ReLU."""
    bounds = dict(zip(("min", "max"), options, strict=False)) | named
    if name == "threshold":
        return list(options[:2]) == [0, 0]
    lowest, highest = bounds.get("min"), bounds.get("max")
    return name in _CLAMPS and not isinstance(lowest, torch.Tensor) and lowest == 0 and highest is None


def _guided(inputs: torch.Tensor, outputs: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    return functional.relu(_pull_back(inputs, outputs, gradient))


def deep_lift(model: nn.Module, inputs_1CHW: torch.Tensor, baseline_1CHW: torch.Tensor, target: int) -> torch.Tensor:
    """DeepLIFT, rescale rule (Shrikumar, Greenside, Kundaje: ICML 2017): contributions (1, C, H, W) to the difference.

    Image and baseline go through together. An elementwise function has the slope between its two values; a max-pooling
    gives what it rises to the image's maximum and what it falls to the baseline's. The rest is taken as linear;
    `check_deep_lift` tells whether it is.
    """
    pair_BCHW = torch.cat([inputs_1CHW, baseline_1CHW]).detach().requires_grad_()
    with _Caught(_deep_lift_rule):
        logit = model(pair_BCHW)[:, target].sum()
    slopes_BCHW = torch.autograd.grad(logit, pair_BCHW)[0]
    return slopes_BCHW[:1] * (inputs_1CHW - baseline_1CHW)


def check_deep_lift(model: nn.Module, example_1CHW: torch.Tensor) -> None:
    """Raise ValueError unless the contributions to a logit add up to its difference, as DeepLIFT's must; on noise."""
    whole = programs.shaken_copy(model)
    noise_BCHW = 10 * torch.randn((2, *example_1CHW.shape[1:]), generator=torch.Generator().manual_seed(0))
    for precision, tolerance in _ADDS_UP:
        whole, noise_BCHW = whole.to(precision), noise_BCHW.to(example_1CHW.device, precision)
        image_1CHW, baseline_1CHW = noise_BCHW.split(1)
        try:
            with torch.enable_grad():
                map_1CHW = deep_lift(whole, image_1CHW, baseline_1CHW, 0)
            rise = (whole(image_1CHW) - whole(baseline_1CHW))[0, 0]
        except RuntimeError:  # such as a tensor that the network makes in its own precision
            if precision == torch.float32:
                raise
            continue
        error = float((map_1CHW.sum() - rise).abs() / map_1CHW.abs().sum().clamp_min(1e-30))
        if error > tolerance:
            raise ValueError(
                "deep_lift is not defined for this network: contributions to its logit miss its change by "
                f"{error:.2g} of their sum of magnitudes, for it has layers that are neither linear nor elementwise "
                "nor a max-pooling (layer norm, attention, gates, batch statistics): choose another method"
            )
        return


def _deep_lift_rule(name: str, _options: Options, _named: Named) -> Rule | None:
    return _rescale if name in _ELEMENTWISE else _rescale_pooling if name in _MAX_POOLS else None


def _rescale(inputs: torch.Tensor, outputs: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    change_in, change_out = _change(inputs), _change(outputs)
    plain = _pull_back(inputs, outputs, gradient)
    return torch.where(_is_same(change_in), plain, gradient * change_out / change_in)


def _rescale_pooling(inputs: torch.Tensor, outputs: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    change_in = _change(inputs)
    of_image, of_baseline = outputs.detach().chunk(2)
    most = torch.maximum(of_image, of_baseline)
    rises = torch.cat([most - of_baseline, of_image - most])
    risen, fallen = _pull_back(inputs, outputs, gradient * rises).chunk(2)
    given = torch.cat(2 * [risen + fallen])
    plain = torch.cat(2 * [_pull_back(inputs, outputs, gradient).chunk(2)[0]])
    return torch.where(_is_same(change_in), plain, given / change_in)


def _is_same(change: torch.Tensor) -> torch.Tensor:
    return change.abs() < (_SAME_IN_FLOAT64 if change.dtype == torch.float64 else _SAME)


def _change(values: torch.Tensor) -> torch.Tensor:
    """Image minus baseline, for both."""
    of_image, of_baseline = values.detach().chunk(2)
    return torch.cat(2 * [of_image - of_baseline])


def _pull_back(inputs: torch.Tensor, outputs: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    # Not as grad_outputs: torch would import half a second of symbolic mathematics for the first of them.
    return torch.autograd.grad((outputs * gradient).sum(), inputs, retain_graph=True)[0]
