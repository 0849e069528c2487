"""The models that a run compares, by arm. Light: the command line reads job files with it."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict, get_args

Kind = str  # the arm of a model: "true", "random", or the name of an [[arm]]
ShortForm = Literal["true", "random"]  # the arms that need no table
KINDS: tuple[ShortForm, ...] = get_args(ShortForm)
TRUE, RANDOM = KINDS
NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
MEMORISED = 0.95  # balanced accuracy on its labels from which a random variant counts as having memorised them
PERMUTED, UNTRAINED, COLUMN = "permuted", "untrained", "column:"


@dataclass(frozen=True)
class Arm:
    """Models that differ by their seed only, and what their training labels are.

    `labels` are "true", "permuted", "untrained" (fresh weights) or "column:<name>" (another column of the same films).
    Of permuted ones `fraction` are exchanged, between units and strata as `core.models.labels.exchange` has them.
    `network` is another one than the job's.
    """

    name: Kind
    labels: str
    fraction: float = 1.0
    unit: str = "image"
    within: tuple[str, ...] = ()
    network: str | None = None

    @property
    def is_permuted(self) -> bool:
        """Whether its models have to memorise: labels that tell nothing of a film are learnt by heart or not at all."""
        return self.labels == PERMUTED

    @property
    def is_trained(self) -> bool:
        return self.labels != UNTRAINED

    @property
    def column(self) -> str | None:
        """The column of the manifest that its labels are of, where they are not those of the job."""
        return self.labels.removeprefix(COLUMN) if self.labels.startswith(COLUMN) else None

    @property
    def keeps_structure(self) -> bool:
        """Whether labels are permuted otherwise than freely among all films."""
        return self.is_permuted and (self.unit != "image" or bool(self.within))

    def as_record(self) -> "ArmRecord":
        """What model.json says of it."""
        return {
            "name": self.name,
            "labels": self.labels,
            "fraction": self.fraction,
            "unit": self.unit,
            "within": list(self.within),
            "network": self.network,
        }

    @classmethod
    def of_record(cls, record: "VariantRecord") -> "Arm":
        """From the content of a model.json; those of brought models, and of older runs, tell the kind alone."""
        if "arm" not in record:
            return cls(record["kind"], TRUE if record["kind"] == TRUE else PERMUTED)
        told = record["arm"]
        within = tuple(told["within"])
        return cls(told["name"], told["labels"], told["fraction"], told["unit"], within, told["network"])


class ArmRecord(TypedDict):
    """The fields of `Arm`, as JSON has them."""

    name: str
    labels: str
    fraction: float
    unit: str
    within: list[str]
    network: str | None


@dataclass(frozen=True)
class Variant:
    """One model; `kind` is its arm."""

    name: str
    kind: Kind
    seed: int | None = None  # None: brought along, not trained here

    @property
    def is_true(self) -> bool:
        """Whether it is of the reference arm, which every other is contrasted with."""
        return self.kind == TRUE


def trained(kind: Kind, seed: int) -> Variant:
    """One that a job trains: its name says how."""
    return Variant(f"{kind}_{seed}", kind, seed)


class VariantRecord(TypedDict):
    """What a model.json says of which variant it is; `arm` where the model was made here."""

    name: str
    kind: Kind
    seed: int | None
    arm: NotRequired[ArmRecord]


def of_records(records: Iterable[VariantRecord]) -> list[Variant]:
    """From the content of each one's model.json."""
    return [Variant(record["name"], record["kind"], record["seed"]) for record in records]


def names_of(variants: Iterable[Variant], kind: Kind) -> list[str]:
    return [variant.name for variant in variants if variant.kind == kind]


def arms_of(variants: Iterable[Variant]) -> list[Kind]:
    """The arms that are contrasted with the true one, `random` first and then in their order."""
    found = dict.fromkeys(variant.kind for variant in variants if not variant.is_true)
    return sorted(found, key=lambda kind: kind != RANDOM)


def contrast(variants: Sequence[Variant], arm: Kind) -> list[Variant]:
    """The models of the true arm and of one other, which stands in the place of the random one."""
    return [
        one if one.is_true else dataclasses.replace(one, kind=RANDOM) for one in variants if one.kind in (TRUE, arm)
    ]
