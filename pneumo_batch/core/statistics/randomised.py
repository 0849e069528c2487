"""What parameter randomization comes to, as verdict.json holds it: a method's maps with every layer re-initialised."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounded:
    """A mean over images with its 95 % interval over patients."""

    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None


@dataclass(frozen=True)
class Randomised:
    """The end of the cascade in the view, scale and metric of the verdict.

    `mprt` is the similarity of maps to those of the original network; `smprt` that of maps averaged over noisy inputs,
    and `smprt_ceiling` what the original reaches with itself by other noise, both without a value where nobody asked;
    `emprt` the relative rise of the entropy of a map's histogram.
    """

    variant: str
    layers: int
    images: int
    mprt: Bounded = Bounded()
    smprt: Bounded = Bounded()
    smprt_ceiling: Bounded = Bounded()
    emprt: Bounded = Bounded()
