"""How well maps point at what films show, as verdict.json holds it; the terminal reads it without what computes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MEASURES = ("hit", "auprc", "iou", "positive_share")  # M of them, in this order
MEAN_MASK, EDGE, CROSS_IMAGE = "mean_mask", "edge", "cross_image"
TRAINED: Literal["training films"] = "training films"
OTHERS: Literal["other films"] = "other films"
TRUE = "true"  # the kind of variants that others are held against

MaskOf = Literal["training films", "other films"]


@dataclass(frozen=True)
class Mean:
    """Over the `films` where it is defined, with the 95 % interval over patients; None where it is so nowhere."""

    mean: float | None
    ci_low: float | None
    ci_high: float | None
    films: int


Means = Mapping[str, Mean]  # by measure


@dataclass(frozen=True)
class OfFinding:
    """How well maps point at one finding, on films that have it and a region of it.

    `films` are measured, of `patients`; `there` is how many there are, where a seeded rule chose. `chance` is the mean
    share of pixels inside. `mean_mask_of` says whose mean mask is the baseline, None where there is none. `methods` has
    the means by method and then variant, or `cross_image` (the true variants' maps of another film), `kinds` those over
    all variants of a kind; `baselines` those of `mean_mask` and `edge`, which need no map. `differences` are paired by
    film: by method, the true variants' mean less that of `random` variants or of a baseline.
    """

    films: int
    patients: int
    there: int
    chance: float
    mean_mask_of: MaskOf | None
    methods: Mapping[str, Mapping[str, Means]]
    kinds: Mapping[str, Mapping[str, Means]]
    baselines: Mapping[str, Means]
    differences: Mapping[str, Mapping[str, Means]]


@dataclass(frozen=True)
class Located:
    """Of the maps of a method and variant, means; None where no map has one, or in runs older than the measure.

    `auprc` is the average precision of a map's values for the pixels inside, `iou` the overlap of what Otsu's threshold
    leaves of it.
    """

    positive_share: float | None
    pointing_game: float | None
    auprc: float | None = None
    iou: float | None = None


@dataclass(frozen=True)
class Localisation:
    """Whether maps point at what films show: by method and variant over all `images`, beside what chance would do.

    `findings` has the same of each finding, with intervals and baselines; runs older than these have none.
    """

    images: int
    chance: float | None
    methods: Mapping[str, Mapping[str, Located]]
    findings: Mapping[str, OfFinding] = field(default_factory=dict)
