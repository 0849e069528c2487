"""The labels that a variant is trained on."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pneumo_batch.core.variants import Variant

_PERMUTATION = 0x1ABE1  # keeps the stream of the permutation apart from other uses of a variant's seed


class Exchange(NamedTuple):
    """Between which films labels may move: `groups` are positions (U, n) each, U units of n films.

    The n labels of a unit go together, in their order, to another unit of its group; every film is in one group.
    """

    groups: tuple[np.ndarray, ...]

    def permuted(self, labels_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Labels (N, ...) with those of the units of each group exchanged at random: counts stay."""
        given_N = labels_N.copy()
        for units_Un in self.groups:
            given_N[units_Un] = labels_N[units_Un[rng.permutation(len(units_Un))]]
        return given_N

    def fixed(self, labels_N: np.ndarray) -> int:
        """How many films keep their label in every permutation: all units of their group have the same labels."""
        labels = (labels_N[units_Un] for units_Un in self.groups)
        return sum(units.shape[0] * units.shape[1] for units in labels if (units == units[:1]).all())


def exchange(rows: pa.Table, unit: str, within: Sequence[str]) -> Exchange:
    """Units of `rows` (of the manifest, sorted by `image_id`) and the groups in which they are exchangeable.

    `unit` is "image" or "patient", `within` are columns; null is a value like any other. Labels of films go together
    where these are known to belong together, and only units that could have had each other's labels exchange them:
    patients with as many films in each stratum (blocks of one shape, Winkler et al. 2015; subject-wise permutation,
    Chaibub Neto et al. 2019; within levels of a confounder, Chaibub Neto et al. 2018). A patient like no other keeps
    the labels.
    """
    columns = [rows[name].to_pylist() for name in within]
    # repr tells null from a text, and sorts beside it
    strata = [repr(values) for values in zip(*columns, strict=True)] if columns else [""] * rows.num_rows
    units: dict[object, list[int]] = defaultdict(list)
    for position, patient in enumerate(rows["patient_id"].to_pylist()):
        units[patient if unit == "patient" else position].append(position)
    groups: dict[tuple[str, ...], list[list[int]]] = defaultdict(list)
    for positions in units.values():
        films = sorted(positions, key=lambda position: (strata[position], position))
        groups[tuple(strata[position] for position in films)].append(films)
    return Exchange(tuple(np.array(groups[key]) for key in sorted(groups)))


def training_labels(variant: Variant, labels_N: np.ndarray, structure: Exchange | None = None) -> np.ndarray:
    """Labels (N,) the variant is trained on: as they are, or permuted once with the variant's own seed.

    Of several findings (N, K) the rows are permuted as a whole: findings that come together do so after it, and what is
    not known of a film goes with the rest of its row.
    `labels_N` must be in the order of the sorted image ids, so that a variant's permutation depends on nothing else.
    They are permuted freely, or as `structure` allows.
    """
    assert variant.seed is not None, "a variant brought along is not trained"
    if variant.is_true:
        return labels_N
    rng = np.random.default_rng([variant.seed, _PERMUTATION])
    return rng.permutation(labels_N) if structure is None else structure.permuted(labels_N, rng)
