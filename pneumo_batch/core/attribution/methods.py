"""Further attribution methods, by name: through captum, or rules.py. All are signed: captum's absolute values are off.

Each takes (model, inputs_1CHW, target, context) and the job's options, and returns attributions (1, C, H, W) of one
image; channels are summed by the caller. One image at a time, noise seeded anew for each: a map does not depend on its
batch. Array legend: S noisy copies, C channels, H height, W width.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pneumo_batch.core.attribution import rules
from pneumo_batch.core.attribution.baselines import baseline_of
from pneumo_batch.core.attribution.grad_cam import Activation
from pneumo_batch.core.method_names import method_of
from pneumo_batch.core.user_code import user_callable

if TYPE_CHECKING:
    from pneumo_batch.core.data.images import Preprocess

SEED = 0
_NOISY_COPIES = 4  # in a pass of SmoothGrad
_COUNTS = ("samples", "window", "stride")  # options


@dataclass(frozen=True)
class Context:
    """What a method may need beside the image: its baseline (1, C, H, W) and the path of the Grad-CAM layer."""

    baseline_1CHW: torch.Tensor
    layer: str


Method = Callable[..., torch.Tensor]


def _captum() -> Any:
    """captum.attr; importing it brings Matplotlib, and most jobs need neither."""
    import captum.attr

    return captum.attr


def saliency(model: nn.Module, inputs_1CHW: torch.Tensor, target: int, _context: Context) -> torch.Tensor:
    """The gradient (Simonyan et al. 2014)."""
    return _captum().Saliency(model).attribute(inputs_1CHW, target=target, abs=False)


def input_x_gradient(model: nn.Module, inputs_1CHW: torch.Tensor, target: int, _context: Context) -> torch.Tensor:
    """Input times gradient (Shrikumar et al. 2016)."""
    return _captum().InputXGradient(model).attribute(inputs_1CHW, target=target)


def deep_lift(model: nn.Module, inputs_1CHW: torch.Tensor, target: int, context: Context) -> torch.Tensor:
    """DeepLIFT, rescale rule (Shrikumar et al. 2017)."""
    return rules.deep_lift(model, inputs_1CHW, context.baseline_1CHW, target)


def guided_backprop(model: nn.Module, inputs_1CHW: torch.Tensor, target: int, _context: Context) -> torch.Tensor:
    """Guided Backpropagation (Springenberg et al. 2015)."""
    return rules.guided_gradient(model, inputs_1CHW, target)


def guided_grad_cam(model: nn.Module, inputs_1CHW: torch.Tensor, target: int, context: Context) -> torch.Tensor:
    """Guided Backpropagation times the upsampled Grad-CAM (Selvaraju et al. 2017)."""
    with Activation(model, context.layer) as activation:
        cam_hw = activation.map_hw(model(inputs_1CHW)[0, target])
    cam_11HW = functional.interpolate(cam_hw.clamp_min(0)[None, None], size=inputs_1CHW.shape[2:], mode="bilinear")
    return rules.guided_gradient(model, inputs_1CHW, target) * cam_11HW


def smooth_grad(
    model: nn.Module,
    inputs_1CHW: torch.Tensor,
    target: int,
    _context: Context,
    *,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = SEED,
) -> torch.Tensor:
    """SmoothGrad (Smilkov et al. 2017): mean gradient of noisy copies, sigma = `noise` x the image's range.

    The same numbers as captum's NoiseTunnel on a CPU. That one draws on the network's device, and a GPU draws other
    noise from the same seed: the map would depend on the machine.
    """
    image_1CHW = inputs_1CHW.detach()
    sigma = noise * float(image_1CHW.max() - image_1CHW.min())
    generator = torch.Generator().manual_seed(seed)
    total_1CHW = torch.zeros_like(image_1CHW)
    for start in range(0, samples, _NOISY_COPIES):
        shape = (min(_NOISY_COPIES, samples - start), *image_1CHW.shape[1:])
        noise_SCHW = torch.randn(shape, generator=generator).to(image_1CHW)
        noisy_SCHW = (image_1CHW + sigma * noise_SCHW).requires_grad_()
        total_1CHW += _captum().Saliency(model).attribute(noisy_SCHW, target=target, abs=False).sum(0, keepdim=True)
    return total_1CHW / samples


def gradient_shap(
    model: nn.Module,
    inputs_1CHW: torch.Tensor,
    target: int,
    context: Context,
    *,
    samples: int = 25,
    noise: float = 0.0,
    seed: int = SEED,
) -> torch.Tensor:
    """GradientSHAP (Lundberg & Lee 2017): expected gradients at random points between the baseline and the image."""
    method = _captum().GradientShap(model)
    with seeded(seed, inputs_1CHW.device):
        return method.attribute(inputs_1CHW, context.baseline_1CHW, n_samples=samples, stdevs=noise, target=target)


def occlusion(
    model: nn.Module,
    inputs_1CHW: torch.Tensor,
    target: int,
    context: Context,
    *,
    window: int | None = None,
    stride: int | None = None,
) -> torch.Tensor:
    """Occlusion (Zeiler & Fergus 2014) by a square of the baseline: by default 1/8 of the side, moved by half of it."""
    side = inputs_1CHW.shape[2]
    window = window or max(1, side // 8)
    stride = stride or max(1, window // 2)
    if not stride <= window <= side:
        raise ValueError(f"occlusion: a window of {window} moved by {stride} leaves pixels of {side} x {side} out")
    channels = inputs_1CHW.shape[1]
    method = _captum().Occlusion(model)
    return method.attribute(
        inputs_1CHW,
        sliding_window_shapes=(channels, window, window),
        strides=(channels, stride, stride),
        baselines=context.baseline_1CHW,
        target=target,
        perturbations_per_eval=4,
    )


CAPTUM: dict[str, Method] = {
    function.__name__: function
    for function in (
        saliency,
        input_x_gradient,
        deep_lift,
        guided_backprop,
        guided_grad_cam,
        smooth_grad,
        gradient_shap,
        occlusion,
    )
}


def users_method(reference: str) -> Method:
    """The user's `module:function`, called as function(model, inputs_1CHW, targets_1, **options).

    It returns (1, h, w), or (1, C, h, w) whose channels are summed.
    """
    function = user_callable(reference)

    def call(
        model: nn.Module, inputs_1CHW: torch.Tensor, target: int, _context: Context, **options: Any
    ) -> torch.Tensor:
        targets_1 = torch.tensor([target], device=inputs_1CHW.device)
        attributions = function(model, inputs_1CHW, targets_1, **options)
        if not isinstance(attributions, torch.Tensor) or attributions.ndim not in (3, 4) or len(attributions) != 1:
            raise ValueError(f"method {reference!r} must return a tensor (1, h, w) or (1, C, h, w) for one image")
        return attributions if attributions.ndim == 4 else attributions[:, None]

    return call


def further_method(
    name: str, model: nn.Module, layer: str, preprocess: "Preprocess", options: Mapping[str, Any]
) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """The method `name` of `CAPTUM` or "module:function", as (inputs_1CHW, target) -> map (h, w), channels summed.

    The name may be that of a setting of it. `options` are the function's own, and `baseline` by name. Raises ValueError
    for options it does not have.
    """
    method = method_of(name)
    function = CAPTUM.get(method) or users_method(method)
    own_options = {key: value for key, value in options.items() if key != "baseline"}
    if method in CAPTUM:
        _check_options(name, function, own_options)
    baseline = baseline_of(options.get("baseline", "black"), preprocess)

    def call(inputs_1CHW: torch.Tensor, target: int) -> torch.Tensor:
        context = Context(baseline(inputs_1CHW), layer)
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.filterwarnings("ignore", module="captum")  # it says that it sets hooks
            inputs_1CHW = inputs_1CHW.detach().clone().requires_grad_()
            return function(model, inputs_1CHW, target, context, **own_options).detach().sum(1)[0]

    return call


def _check_options(name: str, function: Method, options: Mapping[str, Any]) -> None:
    parameters = inspect.signature(function).parameters.values()
    known = ["baseline", *(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)]
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}: choose one of {', '.join(known)}")
        if option in _COUNTS and value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{name}: {option} must be a whole number from 1, not {value!r}")


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Set numpy's random state and torch's, on the CPU and on this GPU, and restore all: captum draws from both."""
    numpy_state = np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # not by torch.manual_seed, which would seed every other GPU too, for good
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.default_generators[device.index].manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
