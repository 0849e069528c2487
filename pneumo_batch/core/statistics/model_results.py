"""How a model was trained and how well it classifies, in the fields of verdict.json and of model.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

from pneumo_batch.core.variants import Kind


@dataclass(frozen=True)
class Classification:
    """How well a model classifies a split; None where a number is undefined. `confusion[i][j]` counts the images of
    label i predicted as j.
    """

    images: int
    accuracy: float | None
    balanced_accuracy: float | None
    auroc: float | None
    auprc: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    confusion: list[list[int]]
    threshold: float | None


@dataclass(frozen=True)
class OnTest(Classification):
    """That of the test split, and the 95 % interval of its AUROC."""

    auroc_interval: tuple[float | None, float | None]


class MeasuredRecord(TypedDict):
    """How well a model classifies, as model.json holds it: `metrics` by split, in the fields of `Classification`.

    Of several findings they are by split and finding, each at its threshold.
    """

    threshold: NotRequired[float]
    metrics: NotRequired[dict[str, dict[str, Any]]]
    thresholds: NotRequired[dict[str, float]]
    metrics_by_finding: NotRequired[dict[str, dict[str, dict[str, Any]]]]


@dataclass(frozen=True)
class Memory:
    """How well the training labels that were given are known, in eval mode, beside the accuracy of a majority guess."""

    accuracy: float | None
    balanced_accuracy: float | None
    majority: float


@dataclass(frozen=True)
class FindingResult:
    """How well a variant tells one of several findings. `training` is of labels it was given here."""

    threshold: float
    training: Memory | None
    test: OnTest


@dataclass(frozen=True)
class VariantResult:
    """How a variant was trained and how well it classifies; None where nobody trained or measured it here.

    `memorised` is a balanced accuracy. Of several findings the numbers are those of the one explained,
    `training_accuracy` is balanced too, and `findings` has the numbers of each. `own_test` is of a model of another
    column how well it tells that one.
    """

    kind: Kind
    seed: int | None
    network: str
    epochs: int | None
    chosen_epoch: int | None
    memorised: float | None
    majority: float | None
    label_agreement: float | None
    threshold: float
    training_accuracy: float | None
    test: OnTest
    findings: Mapping[str, FindingResult] = field(default_factory=dict)
    own_test: OnTest | None = None
    training_balanced_accuracy: float | None = None

    @property
    def measure(self) -> str:
        """What `training_accuracy` is, in words."""
        return "balanced accuracy" if self.findings else "accuracy"

    @property
    def on_its_labels(self) -> float | None:
        """Balanced accuracy on the training labels it was given, in eval mode: what memorising is judged by."""
        return self.training_balanced_accuracy if self.memorised is None else self.memorised
