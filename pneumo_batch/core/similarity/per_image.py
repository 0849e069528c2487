"""The scores table as one column of images per scored pair: what every statistic starts from.

Shapes: R rows of a batch, N images, P pairs, V variants.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.similarity import pairs
from pneumo_batch.core.similarity.kernels import defined_mean

_ROWS = 1 << 18  # rows taken at a time
_CELL = ("method", "view", "scale", "metric")
_PAIR = ("kind", "variant_a", "variant_b")
COLUMNS = (*_CELL, *_PAIR)  # of the scores table
_READ = ("image_id", *COLUMNS, "score", tables.TARGET, tables.TARGET_B)


class Cell(NamedTuple):
    """What is tested at once: one method in one view, at one scale, by one metric."""

    method: str
    view: str
    scale: str
    metric: str


class ScoredPair(NamedTuple):
    """Two models whose maps are compared, and how: the kinds of `pairs.plan`."""

    kind: str
    variant_a: str
    variant_b: str

    @property
    def on_this_image(self) -> tuple[str, ...]:
        """The variants whose maps of the image itself are surely in a score; a crossed one is a mean of two ways."""
        if pairs.is_cross(self.kind):
            return ()
        return (self.variant_a, self.variant_b) if pairs.is_within(self.kind) else (self.variant_a,)


@dataclass(frozen=True)
class PerImage:
    """The scores of N images, float32 as they are stored, NaN where a pair has no similarity."""

    labels_N: np.ndarray
    patients_N: np.ndarray  # codes
    scores: Mapping[Cell, Mapping[ScoredPair, np.ndarray]]  # (N,) each

    @cached_property
    def cells(self) -> list[Cell]:
        return sorted(self.scores)

    def contrast(self, arm: str) -> "PerImage":
        """What contrasts an arm with the true one, in the place of the random one and under its kinds."""
        named = pairs.as_contrast(arm)
        scores = {
            cell: {pair._replace(kind=named[pair.kind]): of_N for pair, of_N in found.items() if pair.kind in named}
            for cell, found in self.scores.items()
        }
        return PerImage(self.labels_N, self.patients_N, scores)

    def kinds(self, cell: Cell) -> list[str]:
        return sorted({pair.kind for pair in self.scores[cell]})

    def pairs_of(self, cell: Cell, kind: str) -> list[ScoredPair]:
        """The pairs of a kind, in the order of the columns of `table`."""
        return sorted(pair for pair in self.scores[cell] if pair.kind == kind)

    def table(self, cell: Cell, kind: str) -> np.ndarray:
        """(N, P) float64: the scores of one kind."""
        columns = [self.scores[cell][pair] for pair in self.pairs_of(cell, kind)]
        if not columns:
            return np.empty((len(self.labels_N), 0))
        return np.stack(columns, axis=1).astype(np.float64)

    def means(self, cell: Cell, kind: str) -> np.ndarray:
        """Means (N,) over the pairs of a kind, NaN where it has no defined pair on the image, or none at all."""
        return defined_mean(self.table(cell, kind), axis=1)

    def means_without(self, cell: Cell, kind: str, variants: Sequence[str]) -> np.ndarray:
        """(N, V): `means` over the pairs in which a variant takes no part, for each of V variants."""
        kept_PV = np.array(
            [[one not in (pair.variant_a, pair.variant_b) for one in variants] for pair in self.pairs_of(cell, kind)]
        ).reshape(-1, len(variants))
        table_NP = self.table(cell, kind)
        defined_NP = ~np.isnan(table_NP)
        counts_NV = defined_NP.astype(np.float64) @ kept_PV
        sums_NV = np.where(defined_NP, table_NP, 0) @ kept_PV.astype(np.float64)
        return np.divide(sums_NV, counts_NV, out=np.full(sums_NV.shape, np.nan), where=counts_NV > 0)

    def matrix(self, cell: Cell, kinds: Sequence[str], variants: Sequence[str], images_N: np.ndarray) -> np.ndarray:
        """Symmetric model-by-model similarity (V, V): means over the chosen images, then over both orders of a pair.

        NaN on the diagonal and where no image has a value.
        """
        place = {name: position for position, name in enumerate(variants)}
        sums_VV, counts_VV = np.zeros((2, len(variants), len(variants)))
        for kind in kinds:
            means_P = defined_mean(self.table(cell, kind)[images_N], axis=0)
            for pair, value in zip(self.pairs_of(cell, kind), means_P, strict=True):
                if pair.variant_a != pair.variant_b and {pair.variant_a, pair.variant_b} <= place.keys():
                    at = place[pair.variant_a], place[pair.variant_b]
                    for i, j in (at, at[::-1]):
                        sums_VV[i, j] += value
                        counts_VV[i, j] += 1
        return np.divide(sums_VV, counts_VV, out=np.full(sums_VV.shape, np.nan), where=counts_VV > 0)

    def degenerate(self, cell: Cell) -> dict[str, int]:
        """By variant the number of images on which its own map is constant: without a similarity to anything there.

        A true map has the references beside other maps. A random one has none, so where every true map of an image is
        constant, the film it is crossed with tells: of two ways that a crossed score is the mean of, the one from the
        constant map has no value.
        """
        alive: dict[str, np.ndarray] = {}
        for pair, scores_N in self.scores[cell].items():
            for variant in pair.on_this_image:
                alive[variant] = alive.get(variant, False) | ~np.isnan(scores_N)
        true = {pair.variant_a for pair in self.scores[cell] if pair.kind in (pairs.EDGE, pairs.RANDOM_MAP)}
        for pair, scores_N in self.scores[cell].items():
            if pairs.is_cross(pair.kind) and pair.variant_a in true and pair.variant_b in alive.keys() - true:
                alive[pair.variant_b] = alive[pair.variant_b] | (~np.isnan(scores_N) & ~alive[pair.variant_a])
        return {variant: int((~alive_N).sum()) for variant, alive_N in sorted(alive.items())}


def needed(schema: pa.Schema) -> pa.Schema:
    """What `gather` and `gather_targets` look at of the scores: no more needs to be read, and no id for every row."""
    encoded = schema.field("image_id").with_type(pa.dictionary(pa.int32(), pa.string()))
    return pa.schema([encoded if field.name == encoded.name else field for field in schema if field.name in _READ])


def gather(scores: pa.Table | Iterable[pa.RecordBatch], images: pa.Table) -> PerImage:
    """One pass over scores (`tables.SCORES`), in any order and cut anywhere, in memory that grows with images only.

    `images` has `image_id`, `label` and `patient_id` of every image the scores may name, one row each.
    """
    found = _gathered(scores, images, ())
    return _per_image(found.get((), {}), images)


class ByTarget(NamedTuple):
    """The scores of a run with several targets: of the maps of one, and between those of two (a before b)."""

    one: Mapping[str, PerImage]
    two: Mapping[tuple[str, str], PerImage]


def gather_targets(scores: pa.Table | Iterable[pa.RecordBatch], images: Mapping[str, pa.Table]) -> ByTarget:
    """As `gather`, of scores that say their targets. `images` by target: the same rows, with that one's labels."""
    first = next(iter(images.values()))
    found = _gathered(scores, first, (tables.TARGET, tables.TARGET_B))
    one = {target: _per_image(found.get((target, target), {}), table) for target, table in images.items()}
    order = list(images)
    keys = sorted((key for key in found if key[0] != key[1]), key=lambda key: [order.index(name) for name in key])
    return ByTarget(one, {(a, b): _per_image(found[a, b], first) for a, b in keys})


_Scores = dict[Cell, dict[ScoredPair, np.ndarray]]


def _gathered(
    scores: pa.Table | Iterable[pa.RecordBatch], images: pa.Table, apart: Sequence[str]
) -> dict[tuple[str, ...], _Scores]:
    """By the values of the columns `apart`."""
    place = {image_id: position for position, image_id in enumerate(images["image_id"].to_pylist())}
    found: dict[tuple[str, ...], _Scores] = {}
    batches = scores.to_batches(max_chunksize=_ROWS) if isinstance(scores, pa.Table) else _together(scores)
    for batch in batches:
        for cell, pair, key, images_R, scores_R in _columns(batch, place, apart):
            columns = found.setdefault(key, {}).setdefault(cell, {})
            if pair not in columns:
                columns[pair] = np.full(len(place), np.nan, dtype=np.float32)
            columns[pair][images_R] = scores_R
    return found


def _together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Small batches as larger ones: what a batch costs is its cells and pairs, and files hold few images each."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if held and sum(len(one) for one in held) + len(batch) > _ROWS:
            yield _joined(held)
            held = []
        held.append(batch)
    if held:
        yield _joined(held)


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    return next(iter(table.to_batches()), batches[0])


def _per_image(scores: _Scores, images: pa.Table) -> PerImage:
    return PerImage(
        labels_N=images["label"].to_numpy(),
        patients_N=table_columns.codes_of(images["patient_id"]),
        scores=scores,
    )


def _columns(
    batch: pa.RecordBatch, place: Mapping[str, int], apart: Sequence[str]
) -> Iterator[tuple[Cell, ScoredPair, tuple[str, ...], np.ndarray, np.ndarray]]:
    """A batch by cell, pair and the columns `apart`: positions of its images, and their scores."""
    encoded = {name: _encoded(batch.column(name)) for name in (*COLUMNS, *apart)}
    if not batch.num_rows:
        return
    names, codes_R = _encoded(batch.column("image_id"))
    images_R = np.array([place[name] for name in names], dtype=np.int64)[codes_R]
    scores_R = batch.column("score").to_numpy(zero_copy_only=False)
    sizes = tuple(max(1, len(values)) for values, _ in encoded.values())
    group_R = np.ravel_multi_index([codes for _, codes in encoded.values()], sizes)
    group_R = group_R.astype(np.min_scalar_type(math.prod(sizes)))  # numpy sorts two bytes in a pass over the rows
    order_R = np.argsort(group_R, kind="stable")
    grouped_R = group_R[order_R]
    starts = np.flatnonzero(np.concatenate([[True], grouped_R[1:] != grouped_R[:-1]]))
    for group, rows in zip(grouped_R[starts], np.split(order_R, starts[1:]), strict=True):
        position = np.unravel_index(group, sizes)
        values = [values[int(at)] for (values, _), at in zip(encoded.values(), position, strict=True)]
        yield Cell(*values[:4]), ScoredPair(*values[4:7]), tuple(values[7:]), images_R[rows], scores_R[rows]


def _encoded(column: pa.Array) -> tuple[list[str], np.ndarray]:
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
