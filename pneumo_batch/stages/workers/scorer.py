"""What a task of comparison does: score the images that lie together in one file of maps. Imports no torch."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pneumo_batch.core import table_columns
from pneumo_batch.core.similarity import comparison, metrics, pairs
from pneumo_batch.core.similarity.several_targets import Compared, TargetsComparison
from pneumo_batch.core.variants import Variant, of_records
from pneumo_batch.execution.board import Board
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.reader import Run
from pneumo_batch.stages.workers import decode


def plan_of(job: Job, run: Run, kinds: tuple[str, ...] | None = None) -> comparison.Comparison:
    """What is compared in a run."""
    return comparison_of(job, of_records(run.model_record(name) for name in run.variants()), kinds)


def targets_plan_of(job: Job, run: Run, kinds: tuple[str, ...] | None = None) -> TargetsComparison:
    """What is compared in a run, of all its targets."""
    return TargetsComparison(plan_of(job, run, kinds), tuple(job.attribution.targets))


def comparison_of(job: Job, variants: Iterable[Variant], kinds: tuple[str, ...] | None = None) -> comparison.Comparison:
    """What a job compares of these variants."""
    return comparison.Comparison(
        variants=tuple(variants),
        methods=tuple(job.attribution.methods),
        metrics=tuple(job.compare.metrics),
        region_grid=job.compare.region_grid,
        size=job.data.image_size,
        seed=job.compare.partner_seed,
        kinds=kinds,
    )


@dataclass(frozen=True)
class Scorer:
    """Scores one block of images; runs in a Ray task."""

    job: Job
    run: Run
    board: Board
    kinds: tuple[str, ...] | None
    files: list[str]  # of maps; a block has their numbers

    def __call__(self, batch: pa.Table) -> pa.Table:
        plan = targets_plan_of(self.job, self.run, self.kinds)
        suffixes = self.job.attribution.suffixes
        sources = [_Source(plan.each, _reader(self.run, plan.each, batch, self.files, suffix)) for suffix in suffixes]
        preprocess = self.run.preprocess() if pairs.EDGE in plan.each.pairs else None  # several files to read
        found = []
        for position, row in enumerate(self.board.counted("comparisons", batch.to_pylist())):
            compared = [source.compared(row) for source in sources]
            if position == 0:
                plan.each.check_self_pairs(compared[0].own)
            pixels_HW = decode.attributed_pixels(self.run.images, row, preprocess) if preprocess else None
            found.append(plan.score(row["image_id"], pixels_HW, compared))
        return plan.table(batch, np.stack(found))


class _Source:
    """The features of the images of a block by one target; neighbours share them, as an image and as a partner."""

    def __init__(self, plan: comparison.Comparison, read: Callable[[int, int], dict[str, metrics.Maps]]):
        self._plan, self._read = plan, read
        # partners are most often the next images
        self._regions = functools.lru_cache(maxsize=2 * max(pairs.PARTNERS.values()))(self._make_regions)
        self._features = functools.lru_cache(maxsize=4)(self._make_features)

    def compared(self, row: Mapping[str, Any]) -> Compared:
        """An image and the ones it is crossed with, by file and row."""
        own = self._features(row["file"], row["row"])
        places = [(partner["file"], partner["row"]) for partner in row["partners"]]
        others = comparison.Others(self._features(*places[0]), [self._regions(*place) for place in places])
        return Compared(own, others)

    def _make_regions(self, file: int, row: int) -> comparison.RegionsOf:
        return self._plan.regions(self._read(file, row))

    def _make_features(self, file: int, row: int) -> comparison.ImageFeatures:
        return self._plan.features(self._read(file, row), self._regions(file, row))


def _reader(
    run: Run, plan: comparison.Comparison, batch: pa.Table, files: Sequence[str], suffix: str = ""
) -> Callable[[int, int], dict[str, metrics.Maps]]:
    """Maps (V, h, w) of each method for the rows this batch needs, by the number of their file; each is read once.

    `suffix` is the target's.
    """
    names = {method: [f"{method}__{variant.name}{suffix}" for variant in plan.variants] for method in plan.methods}
    columns = [name for of_method in names.values() for name in of_method]
    needed: dict[int, set[int]] = {}
    for image in batch.select(["file", "row", "partners"]).to_pylist():
        for place in (image, *image["partners"]):
            needed.setdefault(place["file"], set()).add(place["row"])
    held = {}
    for file, rows in needed.items():
        order = sorted(rows)
        table = run.store.read_table(files[file], columns=columns).take(pa.array(order))
        arrays = {name: table_columns.tensor_array(table[name]) for name in columns}
        held[file] = ({row: position for position, row in enumerate(order)}, arrays)

    def read(file: int, row: int) -> dict[str, metrics.Maps]:
        places, arrays = held[file]
        at = places[row]
        return {method: metrics.stacked([arrays[name][at] for name in some]) for method, some in names.items()}

    return read
