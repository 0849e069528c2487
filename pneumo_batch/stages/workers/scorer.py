"""What a task of comparison does: score the images that lie together in one file of maps. Imports no torch."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pneumo_batch.core import tables
from pneumo_batch.core.similarity import comparison, pairs
from pneumo_batch.core.variants import Variant, of_records
from pneumo_batch.execution.board import Board
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.reader import Run
from pneumo_batch.stages.workers import decode


def plan_of(job: Job, run: Run, kinds: tuple[str, ...] = pairs.KINDS) -> comparison.Comparison:
    """What is compared in a run."""
    return comparison_of(job, of_records(run.model_record(name) for name in run.variants()), kinds)


def comparison_of(job: Job, variants: Iterable[Variant], kinds: tuple[str, ...] = pairs.KINDS) -> comparison.Comparison:
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
    kinds: tuple[str, ...]
    files: list[str]  # of maps; a block has their numbers

    def __call__(self, batch: pa.Table) -> pa.Table:
        plan = plan_of(self.job, self.run, self.kinds)
        read = _reader(self.run, plan, batch, self.files)

        @functools.lru_cache(maxsize=2 * max(pairs.PARTNERS.values()))  # partners are most often the next images
        def regions(file: int, row: int) -> comparison.RegionsOf:
            return plan.regions(read(file, row))

        @functools.lru_cache(maxsize=4)
        def features(file: int, row: int) -> comparison.ImageFeatures:
            return plan.features(read(file, row), regions(file, row))

        found = []
        for position, row in enumerate(self.board.counted("comparisons", batch.to_pylist())):
            own = features(row["file"], row["row"])
            if position == 0:
                plan.check_self_pairs(own)
            places = [(partner["file"], partner["row"]) for partner in row["partners"]]
            others = comparison.Others(features(*places[0]), [regions(*place) for place in places])
            pixels_HW = self._pixels(row) if pairs.EDGE in plan.pairs else None
            found.append(plan.score(row["image_id"], pixels_HW, own, others))
        return plan.table(batch, np.stack(found))

    def _pixels(self, row: Mapping[str, str]) -> np.ndarray:
        return decode.attributed_pixels(self.run.images, row, self.run.preprocess())


def _reader(
    run: Run, plan: comparison.Comparison, batch: pa.Table, files: Sequence[str]
) -> Callable[[int, int], dict[str, np.ndarray]]:
    """Maps (V, h, w) of each method for the rows this batch needs, by the number of their file; each is read once."""
    columns = [f"{method}__{variant.name}" for method in plan.methods for variant in plan.variants]
    needed: dict[int, set[int]] = {}
    for image in batch.select(["file", "row", "partners"]).to_pylist():
        for place in (image, *image["partners"]):
            needed.setdefault(place["file"], set()).add(place["row"])
    held = {}
    for file, rows in needed.items():
        order = sorted(rows)
        table = run.store.read_table(files[file], columns=columns).take(pa.array(order))
        arrays = {name: tables.tensor_array(table[name]) for name in columns}
        held[file] = ({row: position for position, row in enumerate(order)}, arrays)

    def read(file: int, row: int) -> dict[str, np.ndarray]:
        places, arrays = held[file]
        at = places[row]
        return {
            method: np.stack([arrays[f"{method}__{variant.name}"][at] for variant in plan.variants])
            for method in plan.methods
        }

    return read
