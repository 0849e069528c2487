"""Methods that are made of one walk along a path: with equal options they share it, and every gradient on it.

Array legend: B images, C channels, H height, W width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from pneumo_batch.core.attribution.integrated_gradients import End, PathIntegral, PathResult, Start
from pneumo_batch.core.attribution.options import UNSCALED, IntegratedGradients
from pneumo_batch.core.method_names import method_of


@dataclass(frozen=True)
class Walk:
    """The names it serves: `scaled` are Integrated Gradients, `unscaled` the mean gradient alone.

    `baseline` gives an image's baseline (B, C, H, W); `start` is there where that is the same for all images.
    """

    integral: PathIntegral
    baseline: Callable[[torch.Tensor], torch.Tensor]
    start: Start | None
    scaled: tuple[str, ...]
    unscaled: tuple[str, ...]

    def to(self, end: End, targets: Sequence[int], start_at: Callable[[torch.Tensor], Start]) -> list[PathResult]:
        """From the baseline of the image at `end` to it, for each target; `start_at` runs the network at one."""
        return self.integral.of_each(self.start or start_at(self.baseline(end.inputs_1CHW)), end, targets)

    def maps(self, found: PathResult) -> dict[str, torch.Tensor]:
        """The map (H, W) of each name."""
        return dict.fromkeys(self.scaled, found.map_HW) | dict.fromkeys(self.unscaled, found.gradient_HW)


def by_options(options: Mapping[str, IntegratedGradients]) -> dict[IntegratedGradients, tuple[list[str], list[str]]]:
    """Of names with their options those that share a walk: scaled, and unscaled."""
    found: dict[IntegratedGradients, tuple[list[str], list[str]]] = {}
    for name, one in options.items():
        found.setdefault(one, ([], []))[method_of(name) == UNSCALED].append(name)
    return found
