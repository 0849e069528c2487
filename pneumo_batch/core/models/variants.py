"""Which models a run compares, and the labels each of them is trained on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["true", "random"]
_PERMUTATION = 0x1ABE1  # keeps the stream of the permutation apart from other uses of a variant's seed


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
    return Variant(f"{kind}_{seed}", kind, seed)


def training_labels(variant: Variant, labels_N: np.ndarray) -> np.ndarray:
    """Labels (N,) the variant is trained on: as they are, or permuted once with the variant's own seed.

    `labels_N` must be in the order of the sorted image ids, so that a variant's permutation depends on nothing else.
    """
    assert variant.seed is not None, "a variant brought along is not trained"
    if variant.is_true:
        return labels_N
    return np.random.default_rng([variant.seed, _PERMUTATION]).permutation(labels_N)
