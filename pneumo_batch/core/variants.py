"""The models that a run compares. Light: the command line reads job files with it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

Kind = Literal["true", "random"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
MEMORISED = 0.95  # accuracy on its training labels from which a random variant counts as having memorised them


@dataclass(frozen=True)
class Variant:
    """One model: `kind` says whether its training labels are true or permuted."""

    name: str
    kind: Kind
    seed: int | None = None  # None: brought along, not trained here

    @property
    def is_true(self) -> bool:
        return self.kind == "true"


def trained(kind: Kind, seed: int) -> Variant:
    """One that a job trains: its name says how."""
    return Variant(f"{kind}_{seed}", kind, seed)


class VariantRecord(TypedDict):
    """What a model.json says of which variant it is."""

    name: str
    kind: Kind
    seed: int | None


def of_records(records: Iterable[VariantRecord]) -> list[Variant]:
    """From the content of each one's model.json."""
    return [Variant(record["name"], record["kind"], record["seed"]) for record in records]


def names_of(variants: Iterable[Variant], kind: Kind) -> list[str]:
    return [variant.name for variant in variants if variant.kind == kind]
