"""Attribution: (model, images, targets) -> one map per image, by method name; many methods share one forward pass.

Several targets of an image share more: the forward pass of the image, those of the points of its path, and the input.
What is left to each is a backward pass from every forward one, and the methods of captum and of the user, which are
called once a target.

Maps are signed and raw: Integrated Gradients and the methods of captum at input resolution with channels summed,
Grad-CAM at its layer's resolution. Images go through one by one, so nothing depends on what else is in a batch.

Array legend: B images, C channels, H height, W width of the input; h, w those of a map; S points on a path.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from pneumo_batch.core.attribution import rules, soundness
from pneumo_batch.core.attribution.baselines import CONSTANT, baseline_input, baseline_of
from pneumo_batch.core.attribution.grad_cam import Activation
from pneumo_batch.core.attribution.integrated_gradients import (
    End,
    PathIntegral,
    Start,
    default_pass_size,
)
from pneumo_batch.core.attribution.linear_stem import LinearStem
from pneumo_batch.core.attribution.methods import CAPTUM, further_method
from pneumo_batch.core.attribution.options import (
    GRAD_CAM,
    GUIDED_GRAD_CAM,
    INTEGRATED_GRADIENTS,
    PATHS,
    UNSCALED,
    GradCam,
    IntegratedGradients,
    of_setting,
)
from pneumo_batch.core.attribution.recorded import Recorder, Row
from pneumo_batch.core.attribution.walks import Walk, by_options
from pneumo_batch.core.method_names import method_of
from pneumo_batch.core.models import programs
from pneumo_batch.core.models.networks import grad_cam_layer, without_inplace
from pneumo_batch.core.models.runtime import exact_arithmetic
from pneumo_batch.errors import did_you_mean

if TYPE_CHECKING:
    from pneumo_batch.core.data.images import Preprocess

OWN = (INTEGRATED_GRADIENTS, GRAD_CAM)
METHODS: tuple[str, ...] = (*OWN, *CAPTUM, UNSCALED)
_RECORDED_BYTES = 32 << 20  # of the features of all points of a path; the figures are in docs/performance.md
_Options = TypeVar("_Options", IntegratedGradients, GradCam)


@dataclass(frozen=True)
class Explanation:
    """Maps of B images, on the model's device.

    `logits_B` is the explained output; `deltas` the completeness error sum(map) - (f(x) - f(x')) and `steps` the points
    a path took, both only of the methods that have them. Each dict goes from method to (B, ...).
    """

    logits_B: torch.Tensor
    maps: dict[str, torch.Tensor]
    deltas: dict[str, torch.Tensor]
    steps: dict[str, torch.Tensor]


class Explainer:
    """All methods for one model. Works on a frozen copy of it, in eval mode, on its device and in its precision.

    `methods` maps names (of `METHODS`, or "module:function"; behind an @ that of a setting) to their options;
    `preprocess` tells the input's shape and what black is. `pass_size` overrides the number of path points that run at
    once, which has no influence beyond rounding; the default follows from the network's activations, never from the
    clock, so a job gives the same maps twice. Raises ValueError for unknown methods, options and layers, and for
    networks without one map of an image (soundness.py); a method that cannot work on this network says so when it first
    runs, and `map_shapes` runs each.
    """

    def __init__(
        self,
        model: nn.Module,
        methods: Mapping[str, Mapping[str, Any]],
        preprocess: "Preprocess",
        *,
        pass_size: int | None = None,
        allow_tf32: bool = False,
    ) -> None:
        check_methods(methods)
        methods = {name: of_setting(name, options) for name, options in methods.items()}
        programs.check_methods(model, methods)
        self._methods = list(methods)
        self._allow_tf32 = allow_tf32
        self._preprocess = preprocess
        example_1CHW = torch.zeros(1, preprocess.channels, preprocess.size, preprocess.size)
        self._example_1CHW = example_1CHW.to(next(model.parameters()))
        self._model = _frozen(model)
        with exact_arithmetic(allow_tf32):
            soundness.check(self._model, self._example_1CHW)
            self._stem = LinearStem.of(self._model, self._example_1CHW)
            self._prepare_grad_cam(methods)
            self._prepare_path(methods, pass_size)
            self._prepare_others(methods)
            self._recorder = Recorder() if self._is_recordable() else None

    @functools.cached_property
    def map_shapes(self) -> dict[str, tuple[int, int]]:
        """(h, w) of each method's maps, seen by running them once, Integrated Gradients at one point.

        Raises what a method raises that this network is not made for.
        """
        inputs_1CHW = baseline_input("mean", self._preprocess).to(self._example_1CHW)
        with torch.no_grad(), exact_arithmetic(self._allow_tf32):
            end, (maps,) = self._forward(inputs_1CHW, [0])
            maps |= {name: method(inputs_1CHW, 0) for name, method in self._others.items()}
            if any(method_of(name) == "deep_lift" for name in maps):
                rules.check_deep_lift(self._model, self._example_1CHW)
            if self._walks:
                one_point = PathIntegral(self._stem, IntegratedGradients(steps=1), pass_size=1)(
                    self._start(inputs_1CHW), end, 0
                )
                for walk in self._walks:
                    maps |= walk.maps(one_point)
        return {name: (maps[name].shape[0], maps[name].shape[1]) for name in self._methods}

    @property
    def linear_stem(self) -> str | None:
        """The path of the convolution that Integrated Gradients passes only twice; None where there is no such one."""
        return self._stem.path

    def _prepare_grad_cam(self, methods: Mapping[str, Mapping[str, Any]]) -> None:
        def layer(name: str) -> str:
            return grad_cam_layer(self._model, _options(GradCam, name, methods).layer)

        self._layers = {name: layer(name) for name in of_methods(methods, GRAD_CAM)}
        guided = of_methods(methods, GUIDED_GRAD_CAM)
        self._guided_layers = {name: layer(name if methods[name] else GRAD_CAM) for name in guided}
        if self._layers:
            self._forward(self._example_1CHW, [0])  # raises for a layer that gives no maps

    def _prepare_path(self, methods: Mapping[str, Mapping[str, Any]], pass_size: int | None) -> None:
        self._walks: list[Walk] = []
        given = {name: _options(IntegratedGradients, name, methods) for name in of_methods(methods, *PATHS)}
        if not given:
            return
        self.pass_size = pass_size or default_pass_size(self._stem, self._example_1CHW)
        for options, (scaled, unscaled) in by_options(given).items():
            integral = PathIntegral(self._stem, options, self.pass_size)
            baseline = baseline_of(options.baseline, self._preprocess)
            start = None
            if options.baseline in CONSTANT:  # its forward pass serves every image
                with torch.no_grad():
                    start = self._start(baseline(self._example_1CHW))
            self._walks.append(Walk(integral, baseline, start, tuple(scaled), tuple(unscaled)))

    def _is_recordable(self) -> bool:
        """On a GPU, where the points of every path are few and small: their launches take longer than they do."""
        if not self._example_1CHW.is_cuda or programs.kind(self._model) is not None:
            return False
        with torch.no_grad():
            features = self._stem.features(self._example_1CHW)
        most = _RECORDED_BYTES // (features.numel() * features.element_size())
        return all(walk.integral.points is not None and walk.integral.points <= most for walk in self._walks)

    def _prepare_others(self, methods: Mapping[str, Mapping[str, Any]]) -> None:
        self._others: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {}
        for name, options in methods.items():
            if method_of(name) not in (*PATHS, GRAD_CAM):
                layer = self._guided_layers.get(name, "")
                own_options = {} if layer else options
                self._others[name] = further_method(name, self._model, layer, self._preprocess, own_options)

    def __call__(self, inputs_BCHW: torch.Tensor, targets_B: torch.Tensor) -> Explanation:
        """Explain output `targets_B` (int64 index; 0 for a single-logit network) of each image."""
        return self.each(inputs_BCHW, targets_B[:, None])[0]

    @torch.no_grad()
    def each(self, inputs_BCHW: torch.Tensor, targets_BT: torch.Tensor) -> list[Explanation]:
        """Explain T outputs of each image: an explanation for every column of `targets_BT`, the one it has alone."""
        assert len(inputs_BCHW) == len(targets_BT)
        inputs_BCHW = inputs_BCHW.to(self._example_1CHW)
        with exact_arithmetic(self._allow_tf32):
            rows = [self._explain(inputs_BCHW[i : i + 1], targets) for i, targets in enumerate(targets_BT.tolist())]
        return [_stacked(list(of_target)) for of_target in zip(*rows, strict=True)]

    def _explain(self, inputs_1CHW: torch.Tensor, targets: Sequence[int]) -> list[Row]:
        if self._recorder:
            rows = self._recorder(self._computed, inputs_1CHW, targets)
        else:
            rows = self._computed(inputs_1CHW, targets)
        for name, method in self._others.items():
            for row, target in zip(rows, targets, strict=True):
                row.maps[name] = method(inputs_1CHW, target)
        return rows

    def _computed(self, inputs_1CHW: torch.Tensor, targets: Sequence[int]) -> list[Row]:
        """Logits, Grad-CAM and the walks along a path."""
        end, maps = self._forward(inputs_1CHW, targets)
        rows = [Row(end.logits_1N[0, target], of_target) for target, of_target in zip(targets, maps, strict=True)]
        for walk in self._walks:
            for row, found in zip(rows, walk.to(end, targets, self._start), strict=True):
                row.maps |= walk.maps(found)
                row.deltas |= dict.fromkeys(walk.scaled, found.delta)
                row.steps |= dict.fromkeys(walk.scaled, found.steps)
        return rows

    def _start(self, inputs_1CHW: torch.Tensor) -> Start:
        return Start(inputs_1CHW, self._stem.features(inputs_1CHW), self._model(inputs_1CHW))

    def _forward(self, inputs_1CHW: torch.Tensor, targets: Sequence[int]) -> tuple[End, list[dict[str, torch.Tensor]]]:
        """The forward pass that logits, the first layer of Grad-CAM and the paths' end share; each target's maps."""
        first_1N = None
        maps: list[dict[str, torch.Tensor]] = [{} for _ in targets]
        for name, layer in self._layers.items():
            with torch.enable_grad(), Activation(self._model, layer) as activation:
                logits_1N = self._model(inputs_1CHW)
                if first_1N is None:
                    first_1N = logits_1N.detach()
                logits = [logits_1N[0, target] for target in targets]
                for of_target, logit in zip(maps, logits, strict=True):
                    of_target[name] = activation.map_hw(logit, keep=logit is not logits[-1])
        return End(inputs_1CHW, self._model(inputs_1CHW) if first_1N is None else first_1N), maps


def _stacked(rows: list[Row]) -> Explanation:
    assert rows
    first = rows[0]
    device = first.logit.device
    return Explanation(
        logits_B=torch.stack([row.logit for row in rows]),
        maps={name: torch.stack([row.maps[name] for row in rows]) for name in first.maps},
        deltas={name: torch.stack([row.deltas[name] for row in rows]) for name in first.deltas},
        steps={name: torch.tensor([row.steps[name] for row in rows], device=device) for name in first.steps},
    )


def of_methods(names: Iterable[str], *methods: str) -> list[str]:
    """Of names those of these methods, in any setting."""
    return [name for name in names if method_of(name) in methods]


def check_methods(methods: Iterable[str]) -> None:
    """Raise ValueError, listing the known methods, for a name that is none of them and no "module:function"."""
    for name in map(method_of, methods):
        if name not in METHODS and ":" not in name:
            hint = did_you_mean(name, METHODS)
            raise ValueError(f"unknown method {name!r}{hint}: choose module:function or one of {', '.join(METHODS)}")


def _frozen(model: nn.Module) -> nn.Module:
    """A copy ready for attribution; the caller's model stays as it is."""
    frozen = without_inplace(programs.frozen_copy(model))
    return frozen.to(memory_format=torch.channels_last)  # oneDNN and cuDNN convolve it without reordering


def _options(kind: type[_Options], name: str, methods: Mapping[str, Mapping[str, Any]]) -> _Options:
    given = methods.get(name, {})
    known = [option.name for option in fields(kind)]
    for option in given:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}: choose one of {', '.join(known)}")
    return kind(**given)
