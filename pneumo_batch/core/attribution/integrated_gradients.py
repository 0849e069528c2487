"""Integrated Gradients (Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, ICML 2017), fast and exact.

The map is (x - x') times the mean gradient on the straight path from the baseline x' to the image x. Every pass runs
several points of one image's path, never of two images, so a map does not depend on its batch.

The mean gradient alone is a map too, `integrated_gradients_unscaled`: what Ancona et al. (Towards Better Understanding
of Gradient-based Attribution Methods for Deep Neural Networks, ICLR 2018) call the local form of a method, and captum
multiply_by_inputs=False. Its size does not go with the film's gray values; in return it does not add up to the logit.

Array legend: S points on a path, B images, C channels, H height, W width; "features" as in linear_stem.py.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from pneumo_batch.core.attribution.linear_stem import LinearStem
from pneumo_batch.core.attribution.options import IntegratedGradients
from pneumo_batch.core.models import programs

REFINEMENT = 3
COARSEST, FINEST = 6, 486  # points of steps = "auto"
# Where gradients jump, as those of ReLU networks do, the midpoint rule's error goes with the distance of its points, at
# random: three times as much before a refinement as after, and the change between them has sqrt(9 + 1) of the latter.
_ERROR_OF_CHANGE = 10**-0.5


def nodes(rule: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Points in [0, 1] and weights that sum to 1, float64 (steps,) each."""
    if rule == "gauss-legendre":
        points, weights = np.polynomial.legendre.leggauss(steps)
        return (points + 1) / 2, weights / 2
    offset = {"left": 0.0, "midpoint": 0.5, "right": 1.0}[rule]
    return (np.arange(steps) + offset) / steps, np.full(steps, 1 / steps)


def refinements() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Midpoint rules, each three times as fine: the points to add, and their weights; the ones before count a third.

    (A trapezoid rule that is halved needs twice as many points for the same error on trained networks, measured.)
    """
    steps = COARSEST
    yield nodes("midpoint", steps)
    while steps < FINEST:
        steps *= REFINEMENT
        points, weights = nodes("midpoint", steps)
        added = np.arange(steps) % REFINEMENT != 1  # every second of three is the midpoint of the interval that was cut
        yield points[added], weights[added]


class PathResult(NamedTuple):
    """One image's map (H, W), the mean gradient on the path (H, W), channels summed in both, and the points it took.

    `delta` is the map's completeness error, a float64: sum(map) - (f(x) - f(x')).
    """

    map_HW: torch.Tensor
    gradient_HW: torch.Tensor
    delta: torch.Tensor
    steps: int


class End(NamedTuple):
    """One end of a path: the input (1, C, H, W) and the logits (1, N)."""

    inputs_1CHW: torch.Tensor
    logits_1N: torch.Tensor


class Start(NamedTuple):
    """The other end, which the features (1, ...) of all points are counted from."""

    inputs_1CHW: torch.Tensor
    features: torch.Tensor
    logits_1N: torch.Tensor


class Path(NamedTuple):
    """Features at the start of a path, and their change to its end, (1, ...) each."""

    start: torch.Tensor
    step: torch.Tensor


class _Total:
    """What is summed of one target: the gradients (1, E) of its logit, and the result of the last level."""

    def __init__(self, target: int, rise: torch.Tensor, path: Path) -> None:
        self.target, self.rise = target, rise
        self.gradients_1E = path.step.new_zeros(1, path.step.numel())
        self.result: PathResult | None = None


class PathIntegral:
    """Integrated Gradients of one network, `pass_size` points at once."""

    def __init__(self, stem: LinearStem, options: IntegratedGradients, pass_size: int) -> None:
        self._stem = stem
        self._options = options
        self._pass_size = pass_size
        self._levels = list(refinements()) if self.points is None else [nodes(options.rule, self.points)]
        self._points: torch.Tensor | None = None
        self._chunks: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    @property
    def points(self) -> int | None:
        """How many every path takes; None where that depends on the image."""
        return None if self._options.steps == "auto" else int(self._options.steps)

    def __call__(self, start: Start, end: End, target: int) -> PathResult:
        """The map of output `target` for the image at `end`, from the baseline at `start`."""
        return self.of_each(start, end, [target])[0]

    def of_each(self, start: Start, end: End, targets: Sequence[int]) -> list[PathResult]:
        """The maps of several outputs, each the one it has alone.

        They share the forward pass of every point, from which there is a backward pass each. With steps = "auto" each
        stops at the level that is fine enough for it.
        """
        difference_1CHW = end.inputs_1CHW - start.inputs_1CHW
        path = Path(start.features, self._stem.step(difference_1CHW))
        rises_N = (end.logits_1N.double() - start.logits_1N.double())[0]
        totals = [_Total(target, rises_N[target], path) for target in targets]
        unfinished = totals
        for level, (alphas, _) in enumerate(self._levels):
            for total in unfinished:
                total.gradients_1E /= REFINEMENT
            self._add(unfinished, path, self._passes(level, path.step))
            unfinished = [
                total for total in unfinished if not self._conclude(total, path, difference_1CHW, len(alphas))
            ]
            if not unfinished:
                break
        return [total.result for total in totals if total.result]

    def _conclude(self, total: _Total, path: Path, difference_1CHW: torch.Tensor, added: int) -> bool:
        """Make the map of a level, of which `added` points are new; whether it is fine enough."""
        before = total.result
        gradient_1CHW = self._gradient(total.gradients_1E, path.step.shape, difference_1CHW)
        map_HW = (difference_1CHW * gradient_1CHW).sum(1)[0]
        delta, steps = map_HW.double().sum() - total.rise, added + (before.steps if before else 0)
        total.result = PathResult(map_HW, gradient_1CHW.sum(1)[0], delta, steps)
        return before is not None and self._converged(before, total.result)

    def _gradient(self, total_1E: torch.Tensor, shape: torch.Size, difference_1CHW: torch.Tensor) -> torch.Tensor:
        """The mean gradient at the input, (1, C, H, W)."""
        total = total_1E.view(1, *shape[2:], shape[1]).permute(0, 3, 1, 2)
        return self._stem.pull_back(total, difference_1CHW)

    def _converged(self, before: PathResult, now: PathResult) -> bool:
        error = _ERROR_OF_CHANGE * float((now.map_HW - before.map_HW).norm())
        tolerance = self._options.tolerance
        attributed = float(now.map_HW.abs().sum())
        return error <= tolerance * float(now.map_HW.norm()) and abs(float(now.delta)) <= tolerance * attributed

    def _passes(self, level: int, like: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Points and weights of every pass of a level, brought to the device once and not for every image."""
        if level not in self._chunks:
            alphas, weights = self._levels[level]
            self._chunks[level] = [
                (torch.from_numpy(alphas[chunk]).to(like), torch.from_numpy(weights[chunk]).to(like))
                for chunk in passes(len(alphas), self._pass_size)
            ]
        return self._chunks[level]

    def _add(self, totals: Sequence[_Total], path: Path, chunks: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Add the weighted gradients at these points to every total, in the order of memory: height, width, channel."""
        for alphas_S, weights_S in chunks:
            points = self._buffer(path.start, len(alphas_S))
            torch.addcmul(path.start, alphas_S.view(-1, 1, 1, 1), path.step, out=points)
            with torch.enable_grad():
                leaf = points.detach().requires_grad_()
                logits_SN = self._stem.logits(leaf)
                logits = [logits_SN[:, total.target].sum() for total in totals]
            for total, logit in zip(totals, logits, strict=True):
                gradients = torch.autograd.grad(logit, leaf, retain_graph=total is not totals[-1])[0]
                # A sum over the first dimension is twenty times slower in this layout, and needs another tensor.
                total.gradients_1E.addmm_(weights_S[None], gradients.permute(0, 2, 3, 1).flatten(1))

    def _buffer(self, start: torch.Tensor, size: int) -> torch.Tensor:
        """Memory for `size` points, kept between passes: fresh memory costs a page fault every 4 KiB."""
        if self._points is None or len(self._points) < size:
            self._points = torch.empty_like(start.expand(size, -1, -1, -1), memory_format=torch.channels_last)
        return self._points[:size]


def passes(points: int, pass_size: int) -> list[slice]:
    """Slices of at most `pass_size`, as equal as can be."""
    count = math.ceil(points / pass_size)
    bounds = [round(i * points / count) for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(bounds)]


# Bytes of the largest tensor of a pass on a CPU, and of all its activations on a GPU. Fixed numbers, not measured when
# the job runs: how points are grouped changes the last digits of a map, and the same job must give the same maps.
_CPU_BYTES = 32 << 20
_GPU_BYTES = 4 << 30


def default_pass_size(stem: LinearStem, example_1CHW: torch.Tensor) -> int:
    """Points a pass: small enough for the CPU's caches, large enough to keep a GPU busy within its memory."""
    if programs.kind(stem.model) == programs.TORCHSCRIPT:
        return programs.PASS_SIZE
    sizes: list[int] = []

    def note(_module: torch.nn.Module, _arguments: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            sizes.append(output.numel() * output.element_size())

    handles = [module.register_forward_hook(note) for module in stem.model.modules()]
    try:
        with torch.no_grad():
            stem.logits(stem.features(example_1CHW))
    finally:
        for handle in handles:
            handle.remove()
    room = _CPU_BYTES // max(sizes) if example_1CHW.device.type == "cpu" else _GPU_BYTES // sum(sizes)
    return max(1, room)
