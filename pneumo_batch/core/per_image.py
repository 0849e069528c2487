"""The scores table reduced to one number per image: what every statistic starts from.

Shapes: R rows of a batch, N images, V variants.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pneumo_batch.core import pairs

_ROWS = 1 << 18  # rows taken at a time
_CELL = ("method", "view", "scale", "metric")


class Cell(NamedTuple):
    """What is tested at once: one method in one view, at one scale, by one metric."""

    method: str
    view: str
    scale: str
    metric: str


@dataclass(frozen=True)
class Tally:
    """Scores of one group, per image: the sum of those defined, how many those are, and how many there are."""

    sum_N: np.ndarray
    defined_N: np.ndarray
    rows_N: np.ndarray

    @cached_property
    def means(self) -> np.ndarray:
        """Mean of the defined scores, NaN for an image without any."""
        return np.divide(self.sum_N, self.defined_N, out=np.full(len(self.sum_N), np.nan), where=self.defined_N > 0)


@dataclass(frozen=True)
class PerImage:
    """Everything the statistics need of a scores table, whose size no longer matters."""

    labels_N: np.ndarray
    patients_N: np.ndarray  # codes
    kinds: dict[tuple[Cell, str], Tally]  # (cell, kind)
    models: dict[tuple[Cell, str, str], float]  # (cell, variant, variant) -> mean over images, both on the same image
    degenerate: dict[tuple[Cell, str], int]  # (cell, variant) -> images on which the variant's map has no similarity

    @cached_property
    def cells(self) -> list[Cell]:
        return sorted({cell for cell, _ in self.kinds})

    def means(self, cell: Cell, kind: str) -> np.ndarray:
        """Per-image means (N,), NaN where the kind has no defined pair on the image, or none at all."""
        found = self.kinds.get((cell, kind))
        return np.full(len(self.labels_N), np.nan) if found is None else found.means

    def matrix(self, cell: Cell, variants: Sequence[str]) -> np.ndarray:
        """Model-by-model similarity (V, V), means over images; NaN on the diagonal and where no image has a value."""
        table_VV = np.full((len(variants), len(variants)), np.nan)
        for i, a in enumerate(variants):
            for j, b in enumerate(variants):
                table_VV[i, j] = self.models.get((cell, a, b), self.models.get((cell, b, a), np.nan))
        return table_VV


def gather(scores: pa.Table | Iterable[pa.RecordBatch], images: pa.Table) -> PerImage:
    """One pass over scores (`tables.SCORES`), in any order and cut anywhere, in memory that grows with images only.

    `images` has `image_id`, `label` and `patient_id` of every image the scores may name, one row each.
    """
    place = {image_id: position for position, image_id in enumerate(images["image_id"].to_pylist())}
    kinds, models, variants = _Groups(len(place)), _Groups(1), _Groups(len(place))
    batches = scores.to_batches(max_chunksize=_ROWS) if isinstance(scores, pa.Table) else scores
    for batch in batches:
        columns = _Columns(batch, place)
        kinds.add(columns, (*_CELL, "kind"))
        variants.add(columns, (*_CELL, "variant_a"))
        # In these kinds the second variant is explained on the same image, and is no reference map.
        paired = columns.where("kind", lambda kind: kind not in (*pairs.CROSS_KINDS, pairs.EDGE, pairs.RANDOM_MAP))
        variants.add(paired, (*_CELL, "variant_b"))
        within = columns.where("kind", lambda kind: kind in pairs.WITHIN_KINDS)
        models.add(within.on_one_image(), (*_CELL, "variant_a", "variant_b"))
    return PerImage(
        labels_N=images["label"].to_numpy(),
        patients_N=np.unique(images["patient_id"].to_numpy(), return_inverse=True)[1],
        kinds={(Cell(*key[:4]), key[4]): tally for key, tally in kinds.tallies.items()},
        models={(Cell(*key[:4]), key[4], key[5]): tally.means[0] for key, tally in models.tallies.items()},
        degenerate={
            (Cell(*key[:4]), key[4]): int(((tally.rows_N > 0) & (tally.defined_N == 0)).sum())
            for key, tally in variants.tallies.items()
        },
    )


class _Columns:
    """A batch as integer codes: `codes[name]` (R,) into `values[name]`, and the images it holds."""

    def __init__(self, batch: pa.RecordBatch, place: dict[str, int]):
        self.values: dict[str, list[str]] = {}
        self.codes: dict[str, np.ndarray] = {}
        for name in (*_CELL, "kind", "variant_a", "variant_b", "image_id"):
            self.values[name], self.codes[name] = _encoded(batch.column(name))
        self.images = np.array([place[image_id] for image_id in self.values["image_id"]], dtype=np.int64)
        self.scores_R = batch.column("score").to_numpy(zero_copy_only=False).astype(np.float64)

    def where(self, name: str, holds: Callable[[str], bool]) -> "_Columns":
        keep_R = np.array([holds(value) for value in self.values[name]], dtype=bool)[self.codes[name]]
        kept = object.__new__(_Columns)
        kept.values, kept.images, kept.scores_R = self.values, self.images, self.scores_R[keep_R]
        kept.codes = {key: codes_R[keep_R] for key, codes_R in self.codes.items()}
        return kept

    def on_one_image(self) -> "_Columns":
        pooled = self.where("kind", lambda _: True)
        pooled.images = np.zeros(1, dtype=np.int64)
        pooled.codes["image_id"] = np.zeros(len(self.scores_R), dtype=np.int64)
        return pooled


class _Groups:
    """Tallies of the groups met so far, each over `length` images."""

    def __init__(self, length: int):
        self.length = length
        self.tallies: dict[tuple[str, ...], Tally] = {}

    def add(self, columns: _Columns, keys: tuple[str, ...]) -> None:
        sizes = tuple(max(1, len(columns.values[name])) for name in keys)
        found, group_R = np.unique(np.ravel_multi_index([columns.codes[n] for n in keys], sizes), return_inverse=True)
        shape = len(found), len(columns.images)
        index_R = group_R * shape[1] + columns.codes["image_id"]
        defined_R = ~np.isnan(columns.scores_R)
        weights = (np.where(defined_R, columns.scores_R, 0), defined_R, np.ones(len(index_R)))
        sums = [np.bincount(index_R, weights=w, minlength=shape[0] * shape[1]).reshape(shape) for w in weights]
        for group, code in enumerate(found):
            position = np.unravel_index(code, sizes)
            tally = self._tally(tuple(columns.values[n][int(p)] for n, p in zip(keys, position, strict=True)))
            for total_N, part in zip((tally.sum_N, tally.defined_N, tally.rows_N), sums, strict=True):
                total_N[columns.images] += part[group].astype(total_N.dtype)

    def _tally(self, key: tuple[str, ...]) -> Tally:
        if key not in self.tallies:
            dtypes = (np.float64, np.int64, np.int64) if self.length == 1 else (np.float64, np.int32, np.int32)
            self.tallies[key] = Tally(*(np.zeros(self.length, dtype=dtype) for dtype in dtypes))
        return self.tallies[key]


def _encoded(column: pa.Array) -> tuple[list[str], np.ndarray]:
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
