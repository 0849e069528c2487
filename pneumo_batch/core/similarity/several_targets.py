"""All similarities of one image whose maps are of several targets: those of each target, and those between two.

What is of one target is computed as in a run with that target alone. Between two, true models only are compared.

Shapes: V variants, S the input size, R rows an image, P pairs of models.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from pneumo_batch.core import tables
from pneumo_batch.core.similarity import metrics, pairs
from pneumo_batch.core.similarity.comparison import (
    CellOfKind,
    Codes,
    Comparison,
    ImageFeatures,
    Others,
    codes,
    score_rows,
)
from pneumo_batch.core.similarity.features import Regions
from pneumo_batch.core.similarity.kernels import defined_mean


@dataclass(frozen=True)
class Compared:
    """One image by one target: its own features, and the images it is crossed with."""

    own: ImageFeatures
    others: Others


@dataclass(frozen=True)
class TargetsComparison:
    """What is compared, alike for every image and, by `each`, for every one of `targets`; with one it is `each`."""

    each: Comparison
    targets: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Of the scores table that an image has."""
        of_one = sum(len(self.each.pairs[cell.kind]) for cell in self.each.cells)
        between = sum(len(self._pairs[cell.kind]) for cell in self._cells)
        return len(self.targets) * of_one + len(self._between) * between

    def score(self, image_id: str, image_SS: np.ndarray | None, compared: Sequence[Compared]) -> np.ndarray:
        """Scores (R,) float32 of one image, given by target, in the order of `table`; NaN where undefined."""
        found = [self.each.score(image_id, image_SS, one.own, one.others) for one in compared]
        for first, second in self._between:
            between = _Between(compared[first], compared[second])
            found += [between.scores(cell, self._index[cell.kind]).astype(np.float32) for cell in self._cells]
        return np.concatenate(found)

    def table(self, identity: pa.Table, scores_BR: np.ndarray) -> pa.Table:
        """Rows of the scores table: R rows for each row of `identity`."""
        return score_rows(self._schema, identity, scores_BR, self._codes)

    @property
    def _between(self) -> list[tuple[int, int]]:
        """Positions of every two targets."""
        return list(itertools.combinations(range(len(self.targets)), 2))

    @cached_property
    def _pairs(self) -> dict[str, list[pairs.Pair]]:
        """By kind, of those that this set of variants has; images crossed anew need no others than of the floors."""
        within = self.each.kinds is None or any(map(pairs.is_within, self.each.kinds))
        found = pairs.between_targets(self.each.variants)
        return {kind: some for kind, some in found.items() if some and (within or pairs.is_cross(kind))}

    @cached_property
    def _index(self) -> dict[str, np.ndarray]:
        """Positions (P, 2) of each kind's pairs."""
        place = {variant.name: position for position, variant in enumerate(self.each.variants)}
        return {kind: np.array([(place[a], place[b]) for a, b in some]) for kind, some in self._pairs.items()}

    @cached_property
    def _cells(self) -> list[CellOfKind]:
        """As those of one target, with the kinds that are between two."""
        places = dict.fromkeys((cell.method, cell.view, cell.scale, cell.metric) for cell in self.each.cells)
        return [CellOfKind(*place, kind) for place in places for kind in self._pairs]

    @property
    def _schema(self) -> pa.Schema:
        return tables.scores_schema(self.targets)

    @cached_property
    def _codes(self) -> dict[str, Codes]:
        return codes(self._schema, self._rows())

    def _rows(self) -> Iterator[tuple[str, ...]]:
        if len(self.targets) < 2:
            yield from self.each.rows()
            return
        for target in self.targets:
            yield from ((*row, target, target) for row in self.each.rows())
        for first, second in self._between:
            for cell in self._cells:
                for a, b in self._pairs[cell.kind]:
                    place = (cell.method, cell.view, cell.scale, cell.metric, cell.kind)
                    yield *place, a, b, self.targets[first], self.targets[second]


class _Between:
    """Similarities of the maps of two targets, `first` and `second`, on one image and with those of other patients."""

    def __init__(self, first: Compared, second: Compared):
        self.first, self.second = first, second
        self._floors: dict[tuple[str, str, str], np.ndarray] = {}

    def scores(self, cell: CellOfKind, index_P2: np.ndarray) -> np.ndarray:
        """(P,) float64: model `index_P2[:, 0]` by the first target, `index_P2[:, 1]` by the second."""
        place = (cell.method, cell.view)
        if not pairs.is_cross(cell.kind):
            left, right = self.first.own.of(*place), self.second.own.of(*place)
            return metrics.scores(left, right, index_P2, cell.metric, cell.scale)
        if cell.scale == "region":
            floor_WW = self._floor(*place, cell.metric)  # W = 2 V: the maps of the first target, then of the second
            return floor_WW[index_P2[:, 0], len(floor_WW) // 2 + index_P2[:, 1]]
        ways = ((self.first, self.second, index_P2), (self.second, self.first, index_P2[:, ::-1]))
        both = [
            metrics.scores(here.own.of(*place), there.others.first.of(*place), index, cell.metric, cell.scale)
            for here, there, index in ways
        ]
        return defined_mean(np.stack(both), axis=0)

    def _floor(self, method: str, view: str, metric: str) -> np.ndarray:
        """Of the maps of both targets, taken as so many models."""
        key, place = (method, view, metric), (method, view)
        if key not in self._floors:
            own = Regions.joined([self.first.own.regions[place], self.second.own.regions[place]])
            there = zip(self.first.others.regions, self.second.others.regions, strict=True)
            others = Regions.joined([regions[place] for both in there for regions in both])
            self._floors[key] = metrics.floor(own, others, metric)
        return self._floors[key]
