"""Splits that a data set lacks, carved by patient: validation, and the test split where a set publishes none.

Array names carry their shape: N rows; G groups of rows that stay together, M that may move; K classes, or findings.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pneumo_batch.core import table_columns
from pneumo_batch.core.tables import MANIFEST
from pneumo_batch.errors import DataError


class _Draw(NamedTuple):
    """What is carved of train: a split of about a fraction of each class. `otherwise`: what to do if none can be."""

    split: str
    fraction: float
    seed: int
    otherwise: str


def carve_validation(manifest: pa.Table, fraction: float, seed: int) -> pa.Table:
    """Moves about `fraction` of the training images of each class to `val`; a shipped `val` joins `train` first.

    Patients stay whole, and so do byte-identical images. Depends on the rows' content and `seed`, not on their order.
    `fraction` 0, or a data set without `train`, keeps the splits as they are. Raises ValueError for a fraction outside
    [0, 1) and DataError when not both can have images of every class.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"data.val_fraction is {fraction}: it must be at least 0 and below 1")
    splits = np.array(manifest["split"].to_pylist(), dtype=object)
    if fraction == 0 or "train" not in splits:
        return manifest
    splits[splits == "val"] = "train"
    rows = np.flatnonzero(splits == "train")
    rows = rows[np.argsort(np.array(manifest["image_id"].take(rows).to_pylist()))]
    training = manifest.take(rows)
    draw = _Draw("val", fraction, seed, "add others or set data.val_fraction = 0")
    splits[rows[_carved(training, _inseparable(training, ("patient_id", "sha256")), draw)]] = draw.split
    return _with_splits(manifest, splits)


def carve_test(listing: pa.Table, fraction: float, seed: int) -> pa.Table:
    """Moves about `fraction` of the training images of each class of a listing, whole patients, to `test`.

    The listing is sorted by `image_id`. Raises DataError when not both can have images of every class.
    """
    splits = np.array(listing["split"].to_pylist(), dtype=object)
    rows = np.flatnonzero(splits == "train")
    training = listing.take(rows)
    draw = _Draw("test", fraction, seed, "too few to carve a test split of (data.test_fraction)")
    splits[rows[_carved(training, _inseparable(training, ("patient_id",)), draw)]] = draw.split
    return _with_splits(listing, splits)


def _with_splits(table: pa.Table, splits: np.ndarray) -> pa.Table:
    position = table.schema.get_field_index("split")
    return table.set_column(position, MANIFEST.field("split"), pa.array(splits, pa.string()))


def _carved(training: pa.Table, groups: np.ndarray, draw: _Draw) -> np.ndarray:
    """Which rows (N,) are carved out: whole groups, so that train and the split have every class.

    Of several findings each counts as two, with and without, if more than one group has it; where not all of these can
    be on both sides, the draw stays as it is. Raises DataError.
    """
    several = bool(table_columns.findings_of(training))
    has_KG = _of_findings(training, groups) if several else _of_classes(training, groups, draw)
    rng = np.random.default_rng(draw.seed)
    drawn_G = _drawn(training, groups, draw.fraction, rng)
    if not (has_KG[:, drawn_G].any(axis=1) & has_KG[:, ~drawn_G].any(axis=1)).all():
        nearest_G = _nearest(drawn_G, has_KG, np.bincount(groups) * rng.uniform(1, 1.001, len(drawn_G)))
        if nearest_G is None and not several:
            raise DataError(
                f"whole patients cannot be divided so that train and {draw.split} have every class: {draw.otherwise}"
            )
        drawn_G = drawn_G if nearest_G is None else nearest_G
    return drawn_G[groups]


def _of_classes(training: pa.Table, groups: np.ndarray, draw: _Draw) -> np.ndarray:
    """Which groups have images of each class (K, G). Raises DataError for a class of one group."""
    labels, first, places = np.unique(training["label"].to_numpy(), return_index=True, return_inverse=True)
    has_KG = np.zeros((len(labels), groups.max() + 1), bool)
    has_KG[places, groups] = True
    alone = np.flatnonzero(has_KG.sum(axis=1) == 1)
    if len(alone):
        name = training["class_name"][int(first[alone[0]])]
        raise DataError(f"class {name} has one patient in train: {draw.otherwise}")
    return has_KG


def _of_findings(training: pa.Table, groups: np.ndarray) -> np.ndarray:
    """Which groups have images with each finding and without it (K, G), where these are more than one."""
    labels_NK = table_columns.labels_of(training)
    rows, kinds = np.nonzero(np.concatenate([labels_NK == 1, labels_NK == 0], axis=1))
    has_KG = np.zeros((2 * labels_NK.shape[1], groups.max() + 1), bool)
    has_KG[kinds, groups[rows]] = True
    return has_KG[has_KG.sum(axis=1) > 1]


def _drawn(training: pa.Table, groups: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """A random draw (G,) of groups of about a fraction of each class; what one alone is drawn by stays in train."""
    several = bool(table_columns.findings_of(training))
    strata = _by_rarest(training, groups) if several else _by_rarest_class(training["label"].to_numpy(), groups)
    drawn_G = np.zeros(groups.max() + 1, bool)
    for stratum in np.unique(strata):
        drawn_G[_choose_groups(groups[strata == stratum], fraction, rng)] = True
    return drawn_G


def _nearest(drawn_G: np.ndarray, has_KG: np.ndarray, costs_G: np.ndarray) -> np.ndarray | None:
    """The draw (G,) that has groups of every class (K, G) and leaves some, at the least cost; None where there is none.

    `costs_G` are those of moving a group. A random draw may lack a class, because groups are drawn by their rarest one.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # seldom needed, and slow to import

    most = 2 * len(has_KG)  # groups to move: of each class one into the draw and one out of it will do
    fewer_K = np.minimum(has_KG[:, drawn_G].sum(axis=1), has_KG[:, ~drawn_G].sum(axis=1))
    has_KG = has_KG[fewer_K <= most]  # so many moves leave of the others
    may_move_G = _cheapest_alike(np.vstack([has_KG, drawn_G]), costs_G, most)  # a solver takes minutes for 20,000
    has_KM, kept_K = has_KG[:, may_move_G], has_KG[:, drawn_G & ~may_move_G].sum(axis=1)
    found = milp(
        np.where(drawn_G, -costs_G, costs_G)[may_move_G],
        integrality=np.ones(has_KM.shape[1], int),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(has_KM.astype(float), 1 - kept_K, has_KG.sum(axis=1) - 1 - kept_K),
    )
    if found.x is None:
        return None
    nearest_G = drawn_G.copy()
    nearest_G[may_move_G] = found.x > 1 / 2
    return nearest_G


def _cheapest_alike(traits_TG: np.ndarray, costs_G: np.ndarray, most: int) -> np.ndarray:
    """Which groups (G,) are among the `most` cheapest of those with the same traits (T, G)."""
    _, alike_G = np.unique(traits_TG, axis=1, return_inverse=True)
    return pd.Series(costs_G).groupby(alike_G.ravel()).rank(method="first").to_numpy() <= most


def _by_rarest_class(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The label (N,) that each row is drawn by: of its group's the one that fewest groups have.

    A group that was drawn for each of its classes would be drawn twice as often.
    """
    names, places = np.unique(labels, return_inverse=True)
    pairs = np.unique(np.stack([places, groups]), axis=1)
    by_rarity = np.argsort(np.bincount(pairs[0]), kind="stable")
    return names[by_rarity[_least_of_group(np.argsort(by_rarity)[places], groups)]]


def _by_rarest(rows: pa.Table, groups: np.ndarray) -> np.ndarray:
    """What each row (N,) is drawn by: the rarest of several findings that its group shows, from 0; the last is none.

    A group is drawn once, so that those drawn have about their share of every finding.
    """
    shown_NK = table_columns.labels_of(rows) == 1
    shown_NK = shown_NK[:, np.argsort(shown_NK.sum(axis=0), kind="stable")]
    rarest_N = np.where(shown_NK.any(axis=1), shown_NK.argmax(axis=1), shown_NK.shape[1])
    return _least_of_group(rarest_N, groups)


def _least_of_group(ranks_N: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The least rank (N,) among the rows of each row's group."""
    of_group = np.full(groups.max() + 1, ranks_N.max())
    np.minimum.at(of_group, groups, ranks_N)
    return of_group[groups]


def _choose_groups(groups: np.ndarray, fraction: float, rng: np.random.Generator) -> list[int]:
    """Random whole groups of about `fraction` of the images: at least one group, never all."""
    names, sizes = np.unique(groups, return_counts=True)
    target = max(1, round(fraction * len(groups)))
    chosen: list[int] = []
    total = 0
    for k in rng.permutation(len(names)):
        if len(chosen) < len(names) - 1 and (total + sizes[k] <= target or not chosen):
            chosen.append(int(names[k]))
            total += sizes[k]
    return chosen


def _inseparable(rows: pa.Table, names: Sequence[str]) -> np.ndarray:
    """Group number of each row: rows with the same value in a column, directly or through others, are one group."""
    columns = [pc.dictionary_encode(rows[name].combine_chunks()).indices.to_numpy() for name in names]
    count = len(columns[0])
    offsets = count * np.arange(1, len(columns) + 1)  # rows come first, then the values of each column
    values = np.concatenate([offset + column for offset, column in zip(offsets, columns, strict=True)])
    size = count * (len(columns) + 1)
    edges = coo_array((np.ones(len(values)), (np.tile(np.arange(count), len(columns)), values)), shape=(size, size))
    return connected_components(edges, directed=False)[1][:count]
