"""What the statistics of a run come to, as verdict.json holds it: computed here, written by conclude, read by the rest.

Fields stand in the order of the file. Light: the terminal tells a verdict without what computes one.
"""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pneumo_batch.core.statistics.estimates import CellTest, Estimate, OverPatients
from pneumo_batch.core.statistics.model_results import VariantResult
from pneumo_batch.core.statistics.outcomes import Outcome, Specific
from pneumo_batch.core.statistics.pointing import Localisation
from pneumo_batch.core.statistics.randomised import Randomised
from pneumo_batch.core.variants import RANDOM, Kind

if TYPE_CHECKING:
    from pydantic import TypeAdapter


# ----------------------------------------------------------------------------- what the numbers of a test are taken for


@dataclass(frozen=True)
class Decision:
    """`reasons` decide. `for_these_models` is the verdict that resampling patients alone would give, where there are
    fewer than three models of a kind.
    """

    verdict: Outcome
    reasons: list[str]
    for_these_models: Outcome | None = None


@dataclass(frozen=True)
class CellResult(CellTest, Decision):
    """What would be decided from one view, scale and metric, and its numbers."""

    @classmethod
    def of(cls, decision: Decision, test: CellTest) -> "CellResult":
        return cls(**vars(decision), **vars(test))


@dataclass(frozen=True)
class Primary:
    """The view, scale and metric that a verdict is read from."""

    view: str
    scale: str
    metric: str

    @property
    def key(self) -> str:
        """What the cells of a method stand under."""
        return f"{self.view}/{self.scale}/{self.metric}"


@dataclass(frozen=True)
class MethodResult:
    """The verdict of a method in its primary view, scale and metric, and what the others say.

    `on_every_film` is what happens everywhere, `read` where views or scales disagree what to look at, `caveats` limit
    what the verdict means, `cells` hold verdict, reasons and numbers under "view/scale/metric", and `reproducible` by
    view the grids at which true models agree beyond their floor.
    """

    verdict: Outcome
    reasons: list[str]
    on_every_film: str | None = None
    read: str | None = None
    for_these_models: Outcome | None = None
    caveats: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    primary: Primary = Primary("", "", "")
    threshold: float = 0.0
    numbers: CellTest = CellTest()
    cells: Mapping[str, CellResult] = field(default_factory=dict)
    reproducible: Mapping[str, list[int]] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------------------------- two targets


@dataclass(frozen=True)
class SpecificityTest(OverPatients):
    """Every number of what the maps of two targets share, in one view, scale and metric.

    `headroom` is what two true models agree on about a film when both explain the same target, the mean of two targets;
    `across` what they agree on when they explain one each, `share` its ratio to the headroom, and `one_model` what the
    maps of both targets under one true model share about a film. `random_share` is what random labels leave of the
    headroom. `images` have a similarity of every kind; `means` are over them. `effective_patients` as in CellTest.
    """

    images: int = 0
    patients: int = 0
    means: Mapping[str, float | None] = field(default_factory=dict)
    headroom: Estimate = Estimate()
    across: Estimate = Estimate()
    share: Estimate = Estimate()
    one_model: Estimate = Estimate()
    random_share: float | None = None
    effective_patients: float | None = None


@dataclass(frozen=True)
class Specificity:
    """Whether the maps of a method say which of two targets is explained, and what that is read from.

    `for_these_models` is the verdict that resampling patients alone would give, with fewer than three true models;
    `cells` hold the numbers of every view, scale and metric.
    """

    targets: tuple[str, str]
    verdict: Specific
    reasons: list[str]
    for_these_models: Specific | None = None
    numbers: SpecificityTest = SpecificityTest()
    cells: Mapping[str, SpecificityTest] = field(default_factory=dict)


# ------------------------------------------------------------------------------------------------------------ the whole


@dataclass(frozen=True)
class TargetResult:
    """What a run came to for one of several targets: `Results` has the meaning of the fields."""

    methods: Mapping[str, MethodResult]
    variants: Mapping[str, VariantResult]
    degenerate: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class ArmResult:
    """What an arm was trained on, as the fields of `Arm`, its models, and how maps differ from those of true models."""

    labels: str
    fraction: float
    unit: str
    within: list[str]
    network: str | None
    variants: list[str]
    methods: Mapping[str, MethodResult]


@dataclass(frozen=True)
class Results:
    """The content of verdict.json; `localisation` where boxes or masks say what films show.

    `target` is the finding explained, where there are several. With several targets it is the first of them, to which
    `methods`, `variants` and `degenerate` belong; `targets` has all, and `specificity` by method what each two share.
    `methods` contrast the true arm with the arm `contrast`. Where there are further ones, `arms` has all of them.
    `cascade` is, by method, what re-initialised layers leave.
    `degenerate` counts images whose map is constant, by "method/view" and then variant.
    """

    primary: Primary
    threshold: float
    methods: Mapping[str, MethodResult]
    variants: Mapping[str, VariantResult]
    degenerate: Mapping[str, Mapping[str, int]]
    localisation: Localisation | None = None
    target: str | None = None
    cascade: Mapping[str, Randomised] | None = None
    targets: Mapping[str, TargetResult] = field(default_factory=dict)
    specificity: Mapping[str, list[Specificity]] = field(default_factory=dict)
    contrast: Kind = RANDOM
    arms: Mapping[Kind, ArmResult] = field(default_factory=dict)

    @property
    def by_target(self) -> dict[str | None, "Results"]:
        """The results of each target, of the first one these; under None where nobody named several."""
        return {name: self.of_target(name) for name in self.targets} if self.targets else {self.target: self}

    @property
    def first_target(self) -> str | None:
        """The one of several targets that arms, parameter randomization and the gallery are by; None of one."""
        return next(iter(self.targets), None)

    def of_target(self, target: str) -> "Results":
        """These results with another of several targets as the one they are about."""
        found = self.targets[target]
        variants = {
            name: dataclasses.replace(one, findings=self.variants[name].findings)  # of all, they are written once
            for name, one in found.variants.items()
        }
        arms = self.arms if target == self.target else {}  # they are contrasted on the first target
        return dataclasses.replace(
            self, methods=found.methods, variants=variants, degenerate=found.degenerate, target=target, arms=arms
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = dataclasses.asdict(self)
        for name in ("localisation", "target", "targets", "specificity", "cascade"):
            if not values[name]:
                del values[name]
        if not self.arms:
            del values["contrast"], values["arms"]
        for judged in [values, *values.get("targets", {}).values()]:
            for one in judged["variants"].values():
                if judged is not values or not one["findings"]:
                    del one["findings"]
                if not one["own_test"]:
                    del one["own_test"]
        return values


def read(values: Mapping[str, object]) -> Results:
    """From the content of verdict.json. Raises ValueError for what is none."""
    return _reader().validate_python(values)


@functools.cache
def _reader() -> "TypeAdapter[Results]":
    from pydantic import TypeAdapter

    return TypeAdapter(Results)
