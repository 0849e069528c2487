"""From which scale on the maps of two correct models agree: similarity by the number of cells a map is pooled to.

Shapes: N images, V variants, h x w a map's own resolution, P pairs, K kinds, Q = views x grids.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pneumo_batch.core import tables
from pneumo_batch.core.similarity import metrics, options, pairs
from pneumo_batch.core.similarity.features import Features
from pneumo_batch.core.similarity.kernels import defined_mean
from pneumo_batch.core.statistics import bootstrap
from pneumo_batch.core.statistics.digits import fixed
from pneumo_batch.core.statistics.label_share import FEWEST_PATIENTS
from pneumo_batch.core.statistics.numbers import number
from pneumo_batch.core.statistics.options import RESAMPLES
from pneumo_batch.core.statistics.results import MethodResult
from pneumo_batch.core.variants import Variant

GRIDS = (2, 4, 8, 16, 32, 64)  # cells a side
METRIC = "spearman"
SAMPLE = 64  # images: enough to tell the curve, few enough to read again
KINDS = ("true_true", "true_true_cross", "true_random")


@dataclass(frozen=True)
class Sample:
    """The images a curve is measured on, and the one each is crossed with."""

    image_ids: list[str]
    patients_N: np.ndarray  # codes
    partners_N: np.ndarray  # positions in the sample


def sample(image_ids: Sequence[str], patient_ids: Sequence[str], seed: int, count: int = SAMPLE) -> Sample:
    """At most `count` images, chosen and crossed by the seeded rule of `pairs`, in whatever order they are given."""
    chosen = pairs.hash_order(image_ids, seed)[:count]
    ids, patients = [image_ids[i] for i in chosen], [patient_ids[i] for i in chosen]
    codes_N = np.unique(np.array(patients, dtype=str), return_inverse=True)[1]
    return Sample(ids, codes_N, pairs.partners(ids, patients, seed)[:, 0])


def grids_within(size: int) -> list[int]:
    """The grids, coarsest first, whose cells are at least a pixel."""
    return [grid for grid in GRIDS if grid <= size]


@dataclass(frozen=True)
class Curve:
    """What is measured on each image of a sample: `variants` in the maps' order."""

    method: str
    variants: tuple[Variant, ...]
    size: int

    def table(
        self, images: Sample, maps_of: Callable[[str], metrics.Maps], *, resamples: int = RESAMPLES, seed: int = 0
    ) -> pa.Table:
        """`tables.SCALES`: by view and grid the means of TT, TTx and TN, and the 95 % interval of the mean TT - TTx.

        `maps_of(image_id)` are the stored maps (V, h, w). The interval is a bootstrap over patients, for these models;
        it takes as many patients as that of a label share. `images` counts those with a value of TT - TTx; numbers that
        these variants or maps do not have are null.
        """
        means_QNK = self._means(images, maps_of)
        headroom_NQ = (means_QNK[:, :, 0] - means_QNK[:, :, 1]).T
        limits_2Q = bootstrap.interval(bootstrap.means(headroom_NQ, images.patients_N, resamples, seed))
        limits_2Q[:, [_too_few(images.patients_N[~np.isnan(headroom_N)]) for headroom_N in headroom_NQ.T]] = np.nan
        rows = [
            {
                "method": self.method,
                "view": view,
                "grid": grid,
                "images": int((~np.isnan(headroom_N)).sum()),
                **{
                    f"mean_{name}": _mean(means_N)
                    for name, means_N in zip(("tt", "ttx", "tn"), means_NK.T, strict=True)
                },
                "difference_low": number(low),
                "difference_high": number(high),
            }
            for (view, grid), means_NK, headroom_N, (low, high) in zip(
                self._places, means_QNK, headroom_NQ.T, limits_2Q.T, strict=True
            )
        ]
        return pa.Table.from_pylist(rows, schema=tables.SCALES)

    @functools.cached_property
    def _places(self) -> list[tuple[str, int]]:
        return [(view, grid) for view in options.VIEWS for grid in grids_within(self.size)]

    def _means(self, images: Sample, maps_of: Callable[[str], metrics.Maps]) -> np.ndarray:
        """Per-image means (Q, N, K) over the pairs of each kind, NaN where none is defined."""

        @functools.lru_cache(maxsize=3)  # a partner is most often the next image: its features serve twice
        def features(position: int) -> list[Features]:
            return self._features(maps_of(images.image_ids[position]))

        means_QNK = np.full((len(self._places), len(images.image_ids), len(KINDS)), np.nan)
        for n, partner in enumerate(images.partners_N):
            for q, (own, other) in enumerate(zip(features(n), features(int(partner)), strict=True)):
                for k, kind in enumerate(KINDS):
                    means_QNK[q, n, k] = defined_mean(self._scores(own, other, kind), axis=0)
        return means_QNK

    def _scores(self, own: Features, other: Features, kind: str) -> np.ndarray:
        """(P,) of one image and grid; of a crossed kind both ways."""
        index_P2 = self._index[kind]
        if kind not in pairs.CROSS_KINDS:
            return metrics.scores(own, own, index_P2, METRIC, "region")
        return np.concatenate(
            [metrics.scores(own, other, index_P2[:, way], METRIC, "region") for way in ([0, 1], [1, 0])]
        )

    def _features(self, maps: metrics.Maps) -> list[Features]:
        views = {view: metrics.prepare(maps, self.method, view, self.size) for view in options.VIEWS}
        return [Features(views[view], view, grid) for view, grid in self._places]

    @functools.cached_property
    def _index(self) -> dict[str, np.ndarray]:
        """Positions (P, 2) of the pairs of each kind."""
        place = {variant.name: position for position, variant in enumerate(self.variants)}
        plan = pairs.plan(self.variants)
        return {k: np.array([(place[a], place[b]) for a, b in plan[k]], dtype=np.int64).reshape(-1, 2) for k in KINDS}


def _too_few(patients_N: np.ndarray) -> bool:
    return not len(patients_N) or bootstrap.effective(patients_N) < FEWEST_PATIENTS


def add_to(methods: Mapping[str, MethodResult], scales: pa.Table, view: str) -> dict[str, MethodResult]:
    """The methods, and from which scale on their maps agree; `view` is the verdict's."""
    return {
        name: dataclasses.replace(
            method,
            caveats=[*method.caveats, *in_words(scales, name, view)],
            reproducible=reproducible(scales, name),
        )
        for name, method in methods.items()
    }


def reproducible(scales: pa.Table, method: str) -> dict[str, list[int]]:
    """By view the grids, coarsest first, at which the interval of TT - TTx of a method lies above 0."""
    found: dict[str, list[int]] = {}
    for row in scales.to_pylist():
        if row["method"] == method:
            grids = found.setdefault(row["view"], [])
            if row["difference_low"] is not None and row["difference_low"] > 0:
                grids.append(row["grid"])
    return found


def in_words(scales: pa.Table, method: str, view: str) -> list[str]:
    """One sentence on the scales at which two true models agree on an image; none where nothing was measured.

    An interval that contains 0 tells neither that they agree nor that they do not.
    """
    rows = [row for row in scales.to_pylist() if (row["method"], row["view"]) == (method, view)]
    rows = [row for row in rows if row["difference_low"] is not None]
    if not rows:
        return []
    agree = [row for row in rows if row["difference_low"] > 0]
    differ = [row for row in rows if row["difference_high"] < 0]
    untold = [row for row in rows if row not in agree and row not in differ]
    if len(agree) == len(rows):
        found = f"two true models agree beyond the floor at every grid: {_grids(agree)}"
    elif len(untold) == len(rows):
        found = f"it cannot be told at any grid whether two true models agree beyond the floor: {_grids(untold)}"
    else:
        do = [f"two true models agree beyond the floor at {_grids(agree)}"] if agree else []
        do_not = "they do not" if agree else "two true models do not agree beyond the floor"
        do += [f"{do_not} at {_grids(differ)}"] if differ else []
        do += [f"it cannot be told at {_grids(untold)}"] if untold else []
        found = "; ".join(do)
    images = max(row["images"] for row in rows)
    return [
        f"In the {view} view, on a sample of {images} images, {found} (mean {METRIC} and, behind the line, its floor;"
        " intervals hold for these models)."
    ]


def _grids(rows: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{row['grid']} x {row['grid']} cells ({_with_floor(row)})" for row in rows)


def _with_floor(row: dict[str, Any]) -> str:
    return " | ".join(fixed(row[name], 2) for name in ("mean_tt", "mean_ttx"))


def _mean(values_N: np.ndarray) -> float | None:
    there = values_N[~np.isnan(values_N)]
    return float(there.mean()) if len(there) else None
