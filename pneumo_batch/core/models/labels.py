"""The labels that a variant is trained on."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core.tables import UNKNOWN
from pneumo_batch.core.variants import Arm

_PERMUTATION = 0x1ABE1  # keeps the stream of the permutation apart from other uses of a variant's seed
_MOST_NAMED = 5  # values in an error


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

    def part(self, fraction: float, rng: np.random.Generator) -> "Exchange":
        """A share of the units, drawn from all of them alike: the others keep their labels."""
        sizes = [len(units_Un) for units_Un in self.groups]
        drawn_U = np.zeros(sum(sizes), dtype=bool)
        drawn_U[rng.permutation(len(drawn_U))[: round(fraction * len(drawn_U))]] = True
        chosen = np.split(drawn_U, np.cumsum(sizes)[:-1])
        return Exchange(tuple(units_Un[of_U] for units_Un, of_U in zip(self.groups, chosen, strict=True) if of_U.any()))

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


def training_labels(arm: Arm, seed: int, labels_N: np.ndarray, structure: Exchange | None = None) -> np.ndarray:
    """Labels (N,) that a variant of this seed is trained on: as they are, or permuted once with the seed.

    Of several findings (N, K) the rows are permuted as a whole: findings that come together do so after it, and what is
    not known of a film goes with the rest of its row.
    `labels_N` must be in the order of the sorted image ids, so that a variant's permutation depends on nothing else.
    They are permuted freely, or as `structure` allows; with a fraction below 1 so many of the units among themselves.
    """
    if not arm.is_permuted:
        return labels_N
    rng = np.random.default_rng([seed, _PERMUTATION])
    if arm.fraction < 1:
        every = structure or Exchange((np.arange(len(labels_N))[:, None],))
        return every.part(arm.fraction, rng).permuted(labels_N, rng)
    return rng.permutation(labels_N) if structure is None else structure.permuted(labels_N, rng)


def column_values(rows: pa.Table, column: str) -> tuple[str, str]:
    """What the two values of a column are among the training films: labels 0 and 1. Raises ValueError for other counts.

    `rows` are of the manifest.
    """
    told = rows.filter(pc.equal(rows["split"], "train"))[column].drop_null()
    values = sorted(pc.unique(told).to_pylist())
    if len(values) != 2:
        named = ", ".join(map(str, values[:_MOST_NAMED])) or "none"
        raise ValueError(f"two classes need two values of {column} in the training split: there is {named}")
    return values[0], values[1]


def column_labels(rows: pa.Table, column: str, split: str) -> np.ndarray:
    """Labels (N,) int64 of a split's films by a column, in the order of sorted ids; `UNKNOWN` where it tells none."""
    values = pa.array(column_values(rows, column))
    chosen = rows.filter(pc.equal(rows["split"], split)).sort_by("image_id")
    return pc.fill_null(pc.index_in(chosen[column], values), UNKNOWN).to_numpy().astype(np.int64)
