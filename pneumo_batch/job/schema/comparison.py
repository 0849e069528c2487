"""How maps are compared: `[compare]`, and `[cascade]` with models that were not trained."""

from pydantic import field_validator, model_validator

from pneumo_batch.core.similarity.options import METRICS, REGION_GRID, REGION_METRICS, Scale, View
from pneumo_batch.core.statistics.options import RESAMPLES, THRESHOLD
from pneumo_batch.errors import did_you_mean
from pneumo_batch.job.schema.fields import Section, Seed, no_repeats, result


class Primary(Section):
    view: View = result("magnitude")
    """View the verdict is read from."""
    scale: Scale = result("region")
    """Scale the verdict is read from."""
    metric: str = result("spearman")
    """Metric the verdict is read from, one of `metrics`."""


class Compare(Section):
    """How maps are compared and the verdict is reached."""

    metrics: list[str] = result(list(METRICS), min_length=1)
    """Similarity metrics: spearman, pearson, ssim, hog, top10, or "module:function"."""
    region_grid: int = result(REGION_GRID, ge=2, le=64)
    """Cells per side of the region scale."""
    primary: Primary = Primary()
    """What the verdict is read from."""
    threshold: float = result(THRESHOLD, gt=0, lt=1)
    """Label share that separates sensitive from insensitive maps."""
    partner_seed: int = result(0, ge=0)
    """Seed of the rule that pairs an image with another one for the cross-image controls."""
    resamples: int = result(RESAMPLES, ge=100)
    """Bootstrap resamples of the patients."""

    @model_validator(mode="before")
    @classmethod
    def _no_margin(cls, values: object) -> object:
        if isinstance(values, dict) and "margin" in values:
            raise ValueError(
                "margin is gone: a verdict now compares the label share with compare.threshold (default 0.5), not"
                " TT - TN with a margin; leave margin out"
            )
        return values

    @field_validator("metrics")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in METRICS and ":" not in name:
                hint, known = did_you_mean(name, METRICS), ", ".join(METRICS)
                raise ValueError(f"unknown metric {name!r}{hint}: choose module:function or one of {known}")
        return no_repeats(value)

    @model_validator(mode="after")
    def _primary_is_measured(self) -> "Compare":
        if self.primary.metric not in self.metrics:
            raise ValueError(f"primary.metric {self.primary.metric!r} is not one of compare.metrics")
        if self.primary.scale == "region" and self.primary.metric in set(METRICS) - set(REGION_METRICS):
            raise ValueError(f"primary.metric {self.primary.metric!r} is not defined at the region scale")
        return self


class Cascade(Section):
    """Parameter randomization: a trained variant whose layers are re-initialised, without training."""

    seeds: list[Seed] = result([])
    """One re-initialisation per seed; one is a single draw, so use two or more. Empty turns the stage off."""
    variant: str | None = result(None)
    """The trained variant (default: the first true one)."""
    images: int = result(64, ge=1)
    """Use at most this many of the attributed images, chosen by a seeded rule."""
    independent: bool = result(True)
    """Also re-initialise each layer alone."""
    noisy: int = result(0, ge=0)
    """Also compare maps averaged over this many inputs, all but one noisy (sMPRT; 50 in Quantus); 0 is off."""
    noise: float = result(0.1, gt=0)
    """Standard deviation of that noise, as a share of an input's range."""
    bins: int = result(100, ge=2)
    """Bins of the histogram of a map's values, whose entropy is measured (eMPRT)."""

    _no_repeats = field_validator("seeds")(no_repeats)

    @field_validator("noisy")
    @classmethod
    def _some_noise(cls, value: int) -> int:
        if value == 1:
            raise ValueError("1 would be the film alone, without noise: choose 0 (off), or 2 or more")
        return value
