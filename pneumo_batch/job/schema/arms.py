"""Arms beside the true and the random one: an `[[arm]]` each."""

from collections.abc import Sequence
from typing import Literal

from pydantic import field_validator, model_validator

from pneumo_batch.core import variants
from pneumo_batch.core.data.options import Stratum, Unit
from pneumo_batch.core.variants import Arm, Variant
from pneumo_batch.job.schema.fields import ARM_NAME, Section, Seed, no_repeats, result
from pneumo_batch.job.schema.models import Train

Labels = Literal[
    "true", "permuted", "untrained", "column:view", "column:sex", "column:site", "column:subtype", "column:mode"
]
_PERMUTED_ONLY = ("fraction", "unit", "within")  # fields that say how labels are permuted


class ArmSpec(Section):
    """Models that are contrasted with the true ones as the random ones are; they differ only in their seed."""

    name: str = result(pattern=ARM_NAME, max_length=32)
    """Name of the arm; its variants are `<name>_<seed>`, its kinds of pairs `true_<name>` and `<name>_<name>`."""
    labels: Labels = result("permuted")
    """What they learn: "true" labels, "permuted" ones, nothing ("untrained"), or another column ("column:view")."""
    fraction: float = result(1.0, ge=0, le=1)
    """Of permuted labels: the share of the units that are permuted; with 0, true labels with the random recipe."""
    unit: Unit = result("image")
    """Of permuted labels: what is permuted, as `train.random_unit`."""
    within: list[Stratum] = result([])
    """Of permuted labels: permuted only among films with the same values of these, as `train.random_within`."""
    network: str | None = result(None, min_length=1)
    """The network of this arm (default: `network.name`)."""
    seeds: list[Seed] = result(min_length=1)
    """One variant for each seed; no two variants of a job share a seed."""

    @field_validator("name")
    @classmethod
    def _free(cls, value: str) -> str:
        if value in variants.KINDS:
            raise ValueError(f"{value!r} is the arm of train.{value}_seeds; choose another name")
        if variants.TRUE in value.split("_"):
            raise ValueError("must not have true among its words, as kinds of pairs have")
        if value.split("_")[-1] == "cross":
            raise ValueError("must not end in cross, as kinds of pairs on two films do")
        return value

    _no_repeats = field_validator("within", "seeds")(no_repeats)

    @model_validator(mode="after")
    def _permuted_alone(self) -> "ArmSpec":
        for name in _PERMUTED_ONLY if self.labels != variants.PERMUTED else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f'{name} is for labels = "permuted", not "{self.labels}"')
        return self

    @property
    def arm(self) -> Arm:
        return Arm(self.name, self.labels, self.fraction, self.unit, tuple(self.within), self.network)

    @property
    def variants(self) -> list[Variant]:
        return [variants.trained(self.name, seed) for seed in self.seeds]


def short_form(train: Train) -> list[Arm]:
    """The arms that `[train]` has without a table."""
    permuted = Arm(variants.RANDOM, variants.PERMUTED, unit=train.random_unit, within=tuple(train.random_within))
    return [Arm(variants.TRUE, "true"), permuted]


def check(arms: Sequence[ArmSpec], train: Train, *, several: bool, weights: str) -> None:
    """Raises ValueError where arms do not fit together or the rest of a job."""
    used = dict.fromkeys([*train.true_seeds, *train.random_seeds], "train")
    names: set[str] = set()
    for arm in arms:
        if arm.name in names:
            raise ValueError(f"arm: two [[arm]] tables are called {arm.name}")
        if again := [seed for seed in arm.seeds if seed in used]:
            raise ValueError(f"arm.{arm.name}: seed {again[0]} is one of {used[again[0]]} already")
        if several and arm.arm.column:
            raise ValueError(f'arm.{arm.name}: labels = "{arm.labels}" needs two classes, or one finding')
        if arm.network and weights != "none":
            raise ValueError(f'arm.{arm.name}: network needs network.weights = "none"')
        used |= dict.fromkeys(arm.seeds, f"arm.{arm.name}")
        names.add(arm.name)
