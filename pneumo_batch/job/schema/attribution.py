"""The maps of a job: `[attribution]`."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pneumo_batch.core.attribution.options import (
    GRAD_CAM,
    GUIDED_GRAD_CAM,
    INTEGRATED_GRADIENTS,
    PATHS,
    POSITIVE,
    Baseline,
    GradCam,
    IntegratedGradients,
    Rule,
    column_suffix,
    of_setting,
)
from pneumo_batch.core.data.options import Split
from pneumo_batch.core.method_names import method_of, setting_of
from pneumo_batch.job.schema.fields import Section, neutral, no_repeats, result

_PATH = IntegratedGradients()


class IntegratedGradientsOptions(Section):
    steps: Annotated[int, Field(ge=1)] | Literal["auto"] = result(_PATH.steps)
    """Points on the path from the baseline to the image, or "auto": as many as an image needs for `tolerance`."""
    tolerance: float = result(_PATH.tolerance, gt=0)
    """With steps = "auto": the relative error of map and completeness that is small enough."""
    baseline: Baseline = result(_PATH.baseline)
    """Where the path starts."""
    rule: Rule = result(_PATH.rule)
    """Quadrature rule."""


class GradCamOptions(Section):
    layer: str = result(GradCam().layer)
    """Module path of the layer, or "auto"."""


class Attribution(Section):
    """Which maps are computed, of which images, of which output."""

    methods: list[str] = result([INTEGRATED_GRADIENTS, GRAD_CAM], min_length=1)
    """Attribution methods by name, "module:function", or with an @ a setting of one: "integrated_gradients@blur"."""
    splits: list[Split] = result(["test"], min_length=1)
    """Splits whose images are attributed."""
    limit: int | None = result(None, ge=1)
    """Attribute at most this many images, chosen by a seeded rule."""
    target: str | list[str] = result(POSITIVE)
    """What is explained: "positive" (two classes), a class or finding, a list of these, or "label" (its own class)."""
    integrated_gradients: IntegratedGradientsOptions = IntegratedGradientsOptions()
    """Points on the path ("auto" for tolerance), its start (black, mean, white, blur, noise), the quadrature rule."""
    grad_cam: GradCamOptions = GradCamOptions()
    """The layer, of guided_grad_cam too: a module path, or auto for the last convolution."""
    settings: dict[str, dict[str, bool | int | float | str]] = result({})
    """Options of each method named with an @, by that name: settings."grad_cam@early".layer = "conv3.1"."""
    allow_tf32: bool = result(False)
    """Allow TF32 on GPUs: faster, less exact matrix products; the methods text of the report says so."""
    rows_per_file: int = neutral(256, ge=1)
    """Most images in a file of maps, fewer where maps are large; an interruption can cost the files begun."""
    store_derived: bool = neutral(False)
    """Also store the maps of networks derived without training (cascade), in derived/; there are many."""

    _no_repeats = field_validator("methods", "splits")(no_repeats)

    @model_validator(mode="after")
    def _settings_fit(self) -> "Attribution":
        for name in self.settings:
            if name not in self.methods or setting_of(name) is None:
                named = "has no @ and a name behind it" if name in self.methods else "is not one of attribution.methods"
                raise ValueError(f"settings: {name!r} {named}")
        for name in self.methods:
            if setting_of(name) is not None:
                of_setting(name, self.settings.get(name, {}))
        return self

    @field_validator("target")
    @classmethod
    def _one_or_several(cls, value: str | list[str]) -> str | list[str]:
        if isinstance(value, str):
            return value
        if not value or len(set(value)) < len(value):
            raise ValueError("needs one name, or several different ones")
        return value if len(value) > 1 else value[0]  # a list of one is the same job as that one

    @property
    def targets(self) -> list[str]:
        """What is explained, in the order of the columns of maps."""
        return [self.target] if isinstance(self.target, str) else self.target

    @property
    def suffixes(self) -> list[str]:
        """What ends the names of each target's columns of the maps table."""
        return [column_suffix(target, self.targets) for target in self.targets]

    def options_by_method(self) -> dict[str, dict[str, object]]:
        """Options of each method as keyword arguments; a setting changes some of those of its method."""
        return {name: self._options(method_of(name)) | self._changes(name) for name in self.methods}

    def _options(self, method: str) -> dict[str, object]:
        if method in PATHS:
            return self.integrated_gradients.model_dump()
        return self.grad_cam.model_dump() if method in (GRAD_CAM, GUIDED_GRAD_CAM) else {}

    def _changes(self, name: str) -> dict[str, object]:
        return of_setting(name, self.settings.get(name, {}))
