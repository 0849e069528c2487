"""What a job may choose of attributions. Light, without torch: the command line reads job files with it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pneumo_batch.core.method_names import method_of, setting_of

INTEGRATED_GRADIENTS, GRAD_CAM = "integrated_gradients", "grad_cam"
UNSCALED = "integrated_gradients_unscaled"
PATHS = (INTEGRATED_GRADIENTS, UNSCALED)  # both are made of one walk along the path, by the same options
GUIDED_GRAD_CAM = "guided_grad_cam"  # looks at a layer as Grad-CAM does, and has the same options
WITH_BASELINE = frozenset({*PATHS, "deep_lift", "gradient_shap", "occlusion"})  # their maps depend on a baseline
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


def of_setting(name: str, options: Mapping[str, object]) -> dict[str, object]:
    """The options that make the setting `name` of a method, from those it is given.

    A baseline's name is its own setting: "integrated_gradients@blur" needs no options. Raises ValueError for a setting
    that nothing makes one, and for a baseline's name with another baseline.
    """
    setting = setting_of(name)
    if f"{method_of(name)}_{setting}" in PATHS:  # files and metrics of both would have one name
        raise ValueError(f"{name!r} is a method of its own: write {method_of(name)}_{setting}")
    if setting not in BASELINES or method_of(name) not in WITH_BASELINE:
        if setting is not None and not options:
            raise ValueError(f"{name!r}: this setting has no options{_baseline_hint(name)}")
        return dict(options)
    if (given := options.get("baseline", setting)) != setting:
        raise ValueError(f"{name!r} has the baseline {given!r}: a setting that is named after a baseline has that one")
    return {**options, "baseline": setting}


def _baseline_hint(name: str) -> str:
    if method_of(name) not in WITH_BASELINE:
        return ""
    return f"; only those named after a baseline ({', '.join(BASELINES)}) need none"
