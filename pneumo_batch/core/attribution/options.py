"""What a job may choose of attributions. Light, without torch: the command line reads job files with it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

INTEGRATED_GRADIENTS, GRAD_CAM = "integrated_gradients", "grad_cam"
POSITIVE, LABEL = "positive", "label"  # explained outputs, beside the names of classes

_UNSAFE = re.compile(r"\W+")  # in a name that SQL and attributes of data frames take as it is


def column_suffix(target: str | None, targets: Sequence[str]) -> str:
    """What ends the names of a target's columns in the maps table.

    Nothing for the first of `targets`, which None stands for too: a table of one target is the same as ever. For a
    further one two underscores and its name, in which an underscore stands for whatever is no letter, digit or
    underscore. Raises KeyError, naming those there are, for a target that is none of them.
    """
    if target is None or target == targets[0]:
        return ""
    if target not in targets:
        raise KeyError(f"no target {target!r}; there are: {', '.join(targets)}")
    return f"__{_UNSAFE.sub('_', target)}"


Baseline = Literal["black", "mean", "white", "blur", "noise"]
Rule = Literal["midpoint", "gauss-legendre", "left", "right"]
BASELINES: tuple[str, ...] = get_args(Baseline)
RULES: tuple[str, ...] = get_args(Rule)


@dataclass(frozen=True)
class IntegratedGradients:
    """Options. `rule` places a fixed number of `steps`.

    steps = "auto" takes the midpoint rule on 6 intervals and cuts each in three, keeping every point computed before,
    until for this image the estimated relative L2 error of the map and its completeness error, relative to the map's
    L1 norm, are both within `tolerance`, at 486 points at the latest.
    """

    steps: int | str = 50
    baseline: str = "black"
    rule: str = "midpoint"
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"unknown rule {self.rule!r}: choose one of {', '.join(RULES)}")
        if self.steps != "auto" and (not isinstance(self.steps, int) or self.steps < 1):
            raise ValueError(f"steps must be a whole number from 1, or 'auto', not {self.steps!r}")
        if self.tolerance <= 0:
            raise ValueError(f"tolerance must be above 0, not {self.tolerance}")


@dataclass(frozen=True)
class GradCam:
    """Options: the layer's module path, or "auto"."""

    layer: str = "auto"
