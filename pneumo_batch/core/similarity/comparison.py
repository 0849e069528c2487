"""All similarities of one image: every method, view, scale, metric and pair, in an order no image decides.

Shapes: V variants, h x w a map's own resolution, S the input size, R rows an image.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pneumo_batch.core import tables
from pneumo_batch.core.similarity import controls, options, pairs, users_metric
from pneumo_batch.core.similarity import metrics as similarity
from pneumo_batch.core.similarity.features import Features, Regions, pool
from pneumo_batch.core.similarity.kernels import defined_mean
from pneumo_batch.core.variants import Variant
from pneumo_batch.errors import JobError

_SELF_TOLERANCE = 1e-6

RegionsOf = Mapping[tuple[str, str], Regions]  # by method and view


class Codes(NamedTuple):
    """A text column of R rows: its distinct values, and their codes (R,) int16."""

    values: list[str]
    codes_R: np.ndarray


@dataclass(frozen=True)
class CellOfKind:
    """A cell and a kind of pairs, which are scored together."""

    method: str
    view: str
    scale: str
    metric: str
    kind: str


@dataclass(frozen=True)
class Comparison:
    """What is compared, alike for every image."""

    variants: tuple[Variant, ...]  # in the order of the maps
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    region_grid: int
    size: int
    seed: int
    kinds: tuple[str, ...] | None = None  # of pairs; None: all there are

    @cached_property
    def pairs(self) -> dict[str, list[pairs.Pair]]:
        """The pairs of each kind that this set of variants has."""
        every = pairs.plan(self.variants)
        return {kind: found for kind, found in every.items() if found and (self.kinds is None or kind in self.kinds)}

    @cached_property
    def cells(self) -> list[CellOfKind]:
        return [
            CellOfKind(method, view, scale, metric, kind)
            for method in self.methods
            for view in options.VIEWS
            for scale in options.SCALES
            for metric in self.metrics
            if scale == "pixel" or similarity.has_regions(metric)
            for kind in self.pairs
        ]

    def regions(self, maps: Mapping[str, similarity.Maps]) -> RegionsOf:
        """What the region scale needs of one image's maps, given per method as (V, h, w)."""
        prepared = {key: similarity.prepare(maps[key[0]], *key, self.size) for key in self._views}
        return {key: Regions.of(pool(found, self.region_grid)) for key, found in prepared.items()}

    def features(self, maps: Mapping[str, similarity.Maps], regions: RegionsOf | None = None) -> "ImageFeatures":
        """Features of one image's maps, given per method as (V, h, w), and its `regions` where they are there."""
        return ImageFeatures(self, maps, self.regions(maps) if regions is None else regions)

    def score(self, image_id: str, image_SS: np.ndarray | None, own: "ImageFeatures", others: "Others") -> np.ndarray:
        """Scores (R,) float32 of one image, in the order of `cells` and their pairs; NaN where undefined.

        `image_SS` are the pixels uint8 the network saw, needed only where maps are compared with its edges; `others`
        are the images it is crossed with.
        """
        references, floors = References(self, image_id, image_SS, own), Floors(own, others)
        scores = []
        for cell in self.cells:
            index_P2 = self._index[cell.kind]
            if pairs.is_cross(cell.kind):
                scores.append(floors.scores(cell, index_P2))
            else:
                left, right = own.of(cell.method, cell.view), self._right(cell, own, references)
                scores.append(similarity.scores(left, right, index_P2, cell.metric, cell.scale))
        return np.concatenate(scores).astype(np.float32)

    def _right(self, cell: CellOfKind, own: "ImageFeatures", references: "References") -> Features:
        if pairs.is_within(cell.kind):
            return own.of(cell.method, cell.view)
        return references.edge() if cell.kind == pairs.EDGE else references.random(cell.method, cell.view)

    @property
    def _views(self) -> list[tuple[str, str]]:
        return [(method, view) for method in self.methods for view in options.VIEWS]

    @cached_property
    def _index(self) -> dict[str, np.ndarray]:
        """Positions (P, 2) of each kind's pairs in the left and the right features."""
        place = {variant.name: position for position, variant in enumerate(self.variants)}
        return {
            kind: np.array([[place[a], self._place_b(kind, i, b, place)] for i, (a, b) in enumerate(found)])
            for kind, found in self.pairs.items()
        }

    def _place_b(self, kind: str, position: int, name: str, place: Mapping[str, int]) -> int:
        if kind == pairs.EDGE:
            return 0  # one edge map serves all
        return position if kind == pairs.RANDOM_MAP else place[name]

    def check_self_pairs(self, own: "ImageFeatures") -> None:
        """A map compared with itself scores 1 by every metric. Raises RuntimeError if not: then no score is right.

        Of a metric of the user's own, JobError.
        """
        for method, view, scale, metric in {(c.method, c.view, c.scale, c.metric) for c in self.cells}:
            error = similarity.self_pair_error(own.of(method, view), metric, scale)
            if error > _SELF_TOLERANCE:
                off = f"{method}, {view}, {scale}: {metric} of a map with itself is off by {error:.2g}"
                raise JobError(f"compare.metrics: {off}") if users_metric.is_users(metric) else RuntimeError(off)

    # --------------------------------------------------------------------------------------------------------- table

    def table(self, identity: pa.Table, scores_BR: np.ndarray) -> pa.Table:
        """Rows of the scores table: R rows for each row of `identity`."""
        return score_rows(tables.SCORES, identity, scores_BR, self._codes)

    @cached_property
    def _codes(self) -> dict[str, Codes]:
        return codes(tables.SCORES, self.rows())

    def rows(self) -> Iterator[tuple[str, ...]]:
        """What the text columns of one image's rows hold."""
        for cell in self.cells:
            for a, b in self.pairs[cell.kind]:
                yield cell.method, cell.view, cell.scale, cell.metric, cell.kind, a, b


def codes(schema: pa.Schema, rows: Iterable[tuple[str, ...]]) -> dict[str, Codes]:
    """Each text column of one image's rows."""
    names = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    found = {}
    for name, values in columns.items():
        distinct, codes_R = np.unique(np.array(values, dtype=str), return_inverse=True)
        found[name] = Codes(distinct.tolist(), codes_R.astype(np.int16))
    return found


def score_rows(schema: pa.Schema, identity: pa.Table, scores_BR: np.ndarray, codes_of: Mapping[str, Codes]) -> pa.Table:
    """Rows of a table of scores: R rows for each row of `identity`, the same text columns for each."""
    images, rows = scores_BR.shape
    repeat = np.repeat(np.arange(images), rows)
    columns = {name: identity[name].take(pa.array(repeat)) for name in ("image_id", "label", "patient_id")}
    for name, (names, index_R) in codes_of.items():
        indices = pa.array(np.tile(index_R, images), pa.int16())
        columns[name] = pa.DictionaryArray.from_arrays(indices, pa.array(names))
    columns["score"] = pa.array(scores_BR.ravel(), pa.float32())
    columns["degenerate"] = pa.array(np.isnan(scores_BR.ravel()), pa.bool_())
    return pa.table([columns[name] for name in schema.names], schema=schema)


class ImageFeatures:
    """The features of one image's maps, computed when first asked for: an image serves as itself and as a partner."""

    def __init__(self, comparison: Comparison, maps: Mapping[str, similarity.Maps], regions: RegionsOf):
        self.comparison = comparison
        self.maps = maps
        self.regions = regions
        self._features: dict[tuple[str, str], Features] = {}

    def of(self, method: str, view: str) -> Features:
        key = (method, view)
        if key not in self._features:
            maps_VSS = similarity.prepare(self.maps[method], method, view, self.comparison.size)
            grid = self.comparison.region_grid
            self._features[key] = Features(maps_VSS, view, grid, self.regions[key])
        return self._features[key]


@dataclass(frozen=True)
class Others:
    """The images of other patients that an image is crossed with: the first whole, of all what regions need."""

    first: ImageFeatures
    regions: Sequence[RegionsOf]


class Floors:
    """Similarities of an image's maps with those of other patients' images, both ways."""

    def __init__(self, own: ImageFeatures, others: Others):
        self.own = own
        self.others = others
        self._tables: dict[tuple[str, str, str, str], np.ndarray] = {}

    def scores(self, cell: CellOfKind, index_P2: np.ndarray) -> np.ndarray:
        """(P,) float64 for the pairs of models at these positions, NaN where undefined."""
        if cell.metric != "ssim":
            return self._table(cell)[index_P2[:, 0], index_P2[:, 1]]
        own, first = self.own.of(cell.method, cell.view), self.others.first.of(cell.method, cell.view)
        both_P2 = [similarity.scores(own, first, index_P2[:, way], cell.metric, cell.scale) for way in ([0, 1], [1, 0])]
        return defined_mean(np.stack(both_P2), axis=0)

    def _table(self, cell: CellOfKind) -> np.ndarray:
        """(V, V), one for all kinds."""
        key = (cell.method, cell.view, cell.scale, cell.metric)
        if key not in self._tables:
            place = key[:2]
            if cell.scale == "region":
                joined = Regions.joined([regions[place] for regions in self.others.regions])
                self._tables[key] = similarity.floor(self.own.regions[place], joined, cell.metric)
            else:
                once_VV = similarity.table(self.own.of(*place), self.others.first.of(*place), cell.metric, cell.scale)
                self._tables[key] = similarity.both_ways(once_VV)
        return self._tables[key]


class References:
    """The maps of one image that no model made: its edges, and noise shaped like each true variant's map."""

    def __init__(self, comparison: Comparison, image_id: str, image_SS: np.ndarray | None, own: ImageFeatures):
        self.comparison = comparison
        self.image_id = image_id
        self.image_SS = image_SS
        self.own = own
        self._features: dict[tuple[str, ...], Features] = {}

    def edge(self) -> Features:
        """Nowhere negative: their magnitude is what they are."""
        assert self.image_SS is not None
        image_SS = self.image_SS
        return self._cached(("magnitude",), lambda: controls.sobel_edges(image_SS)[None])

    def random(self, method: str, view: str) -> Features:
        return self._cached((method, view), lambda: self._random_maps(method, view))

    def _random_maps(self, method: str, view: str) -> np.ndarray:
        own, rng = self.own.of(method, view), pairs.map_rng(self.image_id, method, view, self.comparison.seed)
        true = [position for position, variant in enumerate(self.comparison.variants) if variant.is_true]
        return np.stack([controls.random_map(own.maps_VHW[at], rng, own.ranks[at]) for at in true])

    def _cached(self, key: tuple[str, ...], make: Callable[[], np.ndarray]) -> Features:
        if key not in self._features:
            self._features[key] = Features(make(), key[-1], self.comparison.region_grid)
        return self._features[key]
