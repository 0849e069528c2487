"""Splits that a data set lacks, carved by patient: validation, and the test split where a set publishes none."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pneumo_batch.core import table_columns
from pneumo_batch.core.tables import MANIFEST
from pneumo_batch.errors import DataError


def carve_validation(manifest: pa.Table, fraction: float, seed: int) -> pa.Table:
    """Moves about `fraction` of the training images of each class to `val`; a shipped `val` joins `train` first.

    Patients stay whole, and so do byte-identical images. Depends on the rows' content and `seed`, not on their order.
    `fraction` 0, or a data set without `train`, keeps the splits as they are. Raises ValueError for a fraction outside
    [0, 1) and DataError when a class has too few patients to be in both.
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
    chosen = _carved(training, _inseparable(training, ("patient_id", "sha256")), fraction, seed)
    if isinstance(chosen, str):
        raise DataError(f"class {chosen} has one patient in train: add others or set data.val_fraction = 0")
    splits[rows[chosen]] = "val"
    return _with_splits(manifest, splits)


def carve_test(listing: pa.Table, fraction: float, seed: int) -> pa.Table:
    """Moves about `fraction` of the training images of each class of a listing, whole patients, to `test`.

    The listing is sorted by `image_id`. Raises DataError when a class has too few patients to be in both.
    """
    splits = np.array(listing["split"].to_pylist(), dtype=object)
    rows = np.flatnonzero(splits == "train")
    training = listing.take(rows)
    chosen = _carved(training, _inseparable(training, ("patient_id",)), fraction, seed)
    if isinstance(chosen, str):
        raise DataError(f"class {chosen} has one patient: too few to carve a test split of (data.test_fraction)")
    splits[rows[chosen]] = "test"
    return _with_splits(listing, splits)


def _with_splits(table: pa.Table, splits: np.ndarray) -> pa.Table:
    position = table.schema.get_field_index("split")
    return table.set_column(position, MANIFEST.field("split"), pa.array(splits, pa.string()))


def _carved(training: pa.Table, groups: np.ndarray, fraction: float, seed: int) -> np.ndarray | str:
    """Which rows are carved out, whole groups of about a fraction of each class; or the class that has one group."""
    several = bool(table_columns.findings_of(training))
    labels = training["label"].to_numpy()
    if not several:
        for label in np.unique(labels):
            if len(np.unique(groups[labels == label])) == 1:
                return str(training["class_name"][int(np.argmax(labels == label))])
    strata = _by_rarest(training, groups) if several else _by_rarest_class(labels, groups)
    carved = np.zeros(len(strata), bool)
    rng = np.random.default_rng(seed)
    for stratum in np.unique(strata):
        chosen = _choose_groups(groups[strata == stratum], fraction, rng)
        carved |= np.isin(groups, chosen)  # what one group alone is drawn by stays in train
    return carved


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
