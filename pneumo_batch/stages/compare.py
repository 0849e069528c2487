"""Compare: every pair of maps of every attributed image -> the scores table.

A task scores images that lie together in one file of maps. The images each of them is crossed with are its neighbours
in that file, but for the last ones, whose partners are read from another.
"""

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray.data

from pneumo_batch.core import tables
from pneumo_batch.core.similarity import comparison, pairs
from pneumo_batch.core.variants import Variant, of_records
from pneumo_batch.execution import progress, staging
from pneumo_batch.execution.board import Board
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.layout import MAPS, SCORES
from pneumo_batch.rundir.reader import Run

_MOST_ROWS = 64
_TASK_CPUS = 1


def run(job: Job, run: Run, resources: Resources) -> dict[str, int]:
    """Write `scores/`."""
    images = locate(run)
    if not run.is_committed(SCORES):
        earlier = staging.earlier_ids(run, SCORES)
        new = staging.without(images, earlier)
        crossed = _crossed_anew(images, earlier, job)
        _score(images, {pairs.KINDS: new, pairs.CROSS_KINDS: crossed}, job, run, resources)
        run.commit_table(SCORES, _without_cross_kinds(run, crossed["image_id"].to_pylist()))
    return {"images": images.num_rows, "scores": images.num_rows * rows_per_image(job, run)}


def _score(images: pa.Table, parts: dict[tuple[str, ...], pa.Table], job: Job, run: Run, resources: Resources) -> None:
    """Score what is not scored yet of each part, by the kinds of pairs it needs, and check that all of it is there."""
    done = staging.tally(run, SCORES)
    todo = {kinds: staging.without(part, done) for kinds, part in parts.items()}
    partnered = _with_partners(images, job)
    with progress.shown({"comparisons": sum(part.num_rows for part in todo.values())}) as board:
        for kinds, part in todo.items():
            if part.num_rows:
                _compare(partnered, part, Scorer(job, run, board, kinds), resources)
    found = staging.tally(run, SCORES)
    for kinds, part in parts.items():
        ids = part["image_id"].to_pylist()
        mine = Counter({image_id: found.pop(image_id, 0) for image_id in ids})
        staging.check_balance(ids, mine, [], SCORES, rows_per_image(job, run, kinds))
    staging.check_balance([], found, [], SCORES)


def rows_per_image(job: Job, run: Run, kinds: tuple[str, ...] = pairs.KINDS) -> int:
    """Rows of the scores table that an image has."""
    plan = plan_of(job, run, kinds)
    return sum(len(plan.pairs[cell.kind]) for cell in plan.cells)


def _crossed_anew(images: pa.Table, earlier: set[str], job: Job) -> pa.Table:
    """The images of earlier passes that are crossed with another one now that there are more."""
    before = images.filter(pa.array([image_id in earlier for image_id in images["image_id"].to_pylist()], pa.bool_()))
    if before.num_rows in (0, images.num_rows):
        return before.slice(0, 0)
    then = _with_partners(before, job)
    now = _with_partners(images, job)
    partners = dict(zip(now["image_id"].to_pylist(), now["partners"].to_pylist(), strict=True))
    pairs_then = zip(then["image_id"].to_pylist(), then["partners"].to_pylist(), strict=True)
    return before.filter(pa.array([_ids(partners[image_id]) != _ids(others) for image_id, others in pairs_then]))


def _ids(partners: list[dict[str, Any]]) -> list[str]:
    return [partner["image_id"] for partner in partners]


def _without_cross_kinds(run: Run, image_ids: list[str]) -> dict[str, pa.Table]:
    """The files of earlier passes that hold scores of these images with their former partners, without those."""
    wanted, found = pa.array(image_ids, pa.string()), {}
    for name in run.files_of_pass(SCORES, earlier=True) if image_ids else []:
        table = run.store.read_table(name, schema=tables.SCORES)
        kinds = table["kind"].cast(pa.string())
        stale = pc.and_(pc.is_in(table["image_id"], wanted), pc.is_in(kinds, pa.array(pairs.CROSS_KINDS)))
        if pc.any(stale).as_py():
            found[name] = table.filter(pc.invert(stale))
    return found


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


def locate(run: Run) -> pa.Table:
    """Identity of every attributed image, its file of maps and its row there."""
    names = [field.name for field in tables.IDENTITY]
    parts = []
    for name in run.store.files(MAPS, ".parquet"):
        part = pq.read_table(run.store.path(name), columns=names, filesystem=run.store.fs)
        part = part.append_column("file", pa.array([name] * part.num_rows))
        parts.append(part.append_column("row", pa.array(np.arange(part.num_rows))))
    return pa.concat_tables(parts)


def _with_partners(images: pa.Table, job: Job) -> pa.Table:
    """Each image with a column `partners`: id, file and row of those it is crossed with, in their order."""
    count = max(pairs.PARTNERS.values())
    position_NC = pairs.partners(
        images["image_id"].to_pylist(), images["patient_id"].to_pylist(), job.compare.partner_seed, count
    )
    there_NC = position_NC >= 0
    chosen = images.select(["image_id", "file", "row"]).take(pa.array(position_NC[there_NC]))
    structs = pa.StructArray.from_arrays(
        [chosen[name].combine_chunks() for name in chosen.column_names], names=chosen.column_names
    )
    offsets = pa.array(np.concatenate([[0], there_NC.sum(axis=1).cumsum()]), pa.int32())
    return images.append_column("partners", pa.ListArray.from_arrays(offsets, structs))


def _compare(images: pa.Table, todo: pa.Table, scorer: "Scorer", resources: Resources) -> None:
    wanted = set(todo["image_id"].to_pylist())
    chosen = images.filter(pa.array([image_id in wanted for image_id in images["image_id"].to_pylist()]))
    fair = math.ceil(chosen.num_rows / (4 * resources.cpus))
    dataset = ray.data.from_arrow(_blocks(chosen, max(1, min(_MOST_ROWS, fair)))).map_batches(
        scorer, batch_format="pyarrow", batch_size=None, num_cpus=_TASK_CPUS
    )
    texts = [field.name for field in tables.SCORES if pa.types.is_dictionary(field.type)]
    staging.write(dataset, scorer.run, SCORES, dictionary=["image_id", "patient_id", *texts])


def _blocks(images: pa.Table, rows: int) -> list[pa.Table]:
    """Runs of at most `rows` images of one file."""
    images = images.sort_by([("file", "ascending"), ("row", "ascending")])
    files = images["file"].to_pylist()
    starts = [0]
    for position in range(1, len(files)):
        if files[position] != files[position - 1] or position - starts[-1] >= rows:
            starts.append(position)
    return [images.slice(a, b - a) for a, b in zip(starts, [*starts[1:], len(files)], strict=True)]


@dataclass(frozen=True)
class Scorer:
    """Scores one block of images; runs in a Ray task."""

    job: Job
    run: Run
    board: Board
    kinds: tuple[str, ...]

    def __call__(self, batch: pa.Table) -> pa.Table:
        plan = plan_of(self.job, self.run, self.kinds)
        read = _reader(self.run, plan, batch)

        @functools.lru_cache(maxsize=2 * max(pairs.PARTNERS.values()))  # partners are most often the next images
        def regions(file: str, row: int) -> comparison.RegionsOf:
            return plan.regions(read(file, row))

        @functools.lru_cache(maxsize=4)
        def features(file: str, row: int) -> comparison.ImageFeatures:
            return plan.features(read(file, row), regions(file, row))

        found = []
        for position, row in enumerate(batch.to_pylist()):
            own = features(row["file"], row["row"])
            if position == 0:
                plan.check_self_pairs(own)
            places = [(partner["file"], partner["row"]) for partner in row["partners"]]
            others = comparison.Others(features(*places[0]), [regions(*place) for place in places])
            pixels_HW = self._pixels(row["image_id"]) if pairs.EDGE in plan.pairs else None
            found.append(plan.score(row["image_id"], pixels_HW, own, others))
            self.board.add("comparisons", 1)
        return plan.table(batch, np.stack(found))

    def _pixels(self, image_id: str) -> np.ndarray:
        return self.run.preprocess().pixels(self.run.images.read_bytes(image_id))


def _reader(run: Run, plan: comparison.Comparison, batch: pa.Table) -> Callable[[str, int], dict[str, np.ndarray]]:
    """Maps (V, h, w) of each method for the rows this batch needs; each file is read once."""
    names = [variant.name for variant in plan.variants]
    columns = [f"{method}__{name}" for method in plan.methods for name in names]
    needed: dict[str, set[int]] = {}
    for image in batch.select(["file", "row", "partners"]).to_pylist():
        for place in (image, *image["partners"]):
            needed.setdefault(place["file"], set()).add(place["row"])
    held = {}
    for file, rows in needed.items():
        order = sorted(rows)
        table = pq.read_table(run.store.path(file), columns=columns, filesystem=run.store.fs).take(pa.array(order))
        arrays = {name: tables.tensor_array(table[name]) for name in columns}
        held[file] = ({row: position for position, row in enumerate(order)}, arrays)

    def read(file: str, row: int) -> dict[str, np.ndarray]:
        places, arrays = held[file]
        at = places[row]
        return {
            method: np.stack([arrays[f"{method}__{variant.name}"][at] for variant in plan.variants])
            for method in plan.methods
        }

    return read
