"""Compare: every pair of maps of every attributed image -> the scores table.

A task scores images that lie together in one file of maps. The images each of them is crossed with are its neighbours
in that file, but for the last ones, whose partners are read from another.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pneumo_batch import memory, terminal
from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.similarity import pairs, users_metric
from pneumo_batch.core.similarity.several_targets import TargetsComparison
from pneumo_batch.execution import progress, staging
from pneumo_batch.execution.board import Board
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir import accounts
from pneumo_batch.rundir.layout import MAPS, SCORES
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages.stage import Plan, Survey
from pneumo_batch.stages.workers.scorer import Scorer, comparison_of, targets_plan_of

# Images of a block: what an interruption can cost. What a block costs the driver is the same however small it is, so
# that of images with few scores more are taken, up to those of a file of maps.
_FEW_IMAGES, _MANY_IMAGES = 64, 256
_BLOCK_SCORES = 1 << 18
_TASK_CPUS = 1
_SCORE_BYTES = 3  # measured: a row of the scores table after compression


def plan(job: Job, found: Survey, _store: Store) -> Plan:
    """A metric of the user's own has to be one, and to have a value where the verdict is read."""
    primary = (job.compare.primary.metric, job.compare.primary.scale)
    users_metric.check_all(job.compare.metrics, primary, job.data.image_size, job.compare.region_grid)
    plan = TargetsComparison(comparison_of(job, job.variants), tuple(job.attribution.targets))
    count = found.attributed(job) * plan.rows
    size = count * _SCORE_BYTES
    return Plan(f"{count} scores, about {terminal.size(size)}", {"scores": count, "bytes": size})


def execute(job: Job, run: RunWriter, resources: Resources | None) -> dict[str, int]:
    """Write `scores/`."""
    assert resources is not None
    if not run.is_committed(SCORES):
        new, crossed = _wanted(job, run)
        kinds = tuple(targets_plan_of(job, run).each.pairs)
        cross_kinds = tuple(filter(pairs.is_cross, kinds))
        _score({kinds: new, cross_kinds: crossed}, job, run, resources)
        run.commit_table(SCORES, _without_cross_kinds(run, crossed))
    images = run.count(MAPS)
    return {"images": images, "scores": images * rows_per_image(job, run)}


def verify(job: Job, run: Run) -> None:
    mapped = accounts.tally(run, MAPS).ids
    accounts.check_balance(mapped, accounts.tally(run, SCORES), [], SCORES, rows_per_image(job, run))


def _wanted(job: Job, run: RunWriter) -> tuple[pa.Array, pa.Array]:
    """The images of this pass, and those of earlier ones that are crossed with another one now that there are more."""
    earlier = staging.earlier_ids(run, SCORES)
    if not len(earlier):
        return accounts.tally(run, MAPS).ids, earlier
    images = locate(run)
    found = staging.rows_without(images, earlier), _crossed_anew(images, earlier, job)
    new, crossed = (part["image_id"].combine_chunks() for part in found)
    return new, crossed


def _score(wanted: dict[tuple[str, ...], pa.Array], job: Job, run: RunWriter, resources: Resources) -> None:
    """Score what is not scored yet, by the kinds of pairs it needs, and check that all of it is there."""
    done = staging.tally(run, SCORES).ids
    todo = {kinds: accounts.ids_without(ids, done) for kinds, ids in wanted.items()}
    with progress.shown({"comparisons": sum(map(len, todo.values()))}, run) as board:
        for kinds, ids in todo.items():
            if len(ids):
                _compare(ids, kinds, job, run, board, resources)
    found = staging.tally(run, SCORES)
    for kinds, ids in wanted.items():
        accounts.check_balance(ids, found.only(ids), [], SCORES, rows_per_image(job, run, kinds))
        found = found.without(ids)
    accounts.check_balance(pa.array([], pa.string()), found, [], SCORES)


def rows_per_image(job: Job, run: Run, kinds: tuple[str, ...] | None = None) -> int:
    """Rows of the scores table that an image has."""
    return targets_plan_of(job, run, kinds).rows


def images_per_block(rows: int) -> int:
    """The most images that a task scores, of so many rows of the scores table each."""
    return min(max(_FEW_IMAGES, _BLOCK_SCORES // rows), _MANY_IMAGES)


def _crossed_anew(images: pa.Table, earlier: pa.Array, job: Job) -> pa.Table:
    """The images of earlier passes that are crossed with another one now that there are more."""
    before = images.filter(pc.is_in(images["image_id"], earlier))
    if before.num_rows in (0, images.num_rows):
        return before.slice(0, 0)
    now = dict(_partners(images, job))
    return before.filter(pa.array([now[image_id] != others for image_id, others in _partners(before, job)]))


def _partners(images: pa.Table, job: Job) -> Iterator[tuple[str, list[str]]]:
    """Each image and those it is crossed with, in their order."""
    ids = images["image_id"].to_pylist()
    for image_id, position_C in zip(ids, _partner_positions(images, job), strict=True):
        yield image_id, [ids[position] for position in position_C if position >= 0]


def _without_cross_kinds(run: Run, image_ids: pa.Array) -> dict[str, pa.Table]:
    """The files of earlier passes that hold scores of these images with their former partners, without those."""
    found = {}
    for name in run.files_of_pass(SCORES, earlier=True) if len(image_ids) else []:
        table = run.store.read_table(name, schema=run.scores_schema)
        kinds = table["kind"].cast(pa.string())
        stale = pc.and_(pc.is_in(table["image_id"], image_ids), pc.ends_with(kinds, pairs.CROSS))
        if pc.any(stale).as_py():
            found[name] = table.filter(pc.invert(stale))
    return found


def locate(run: Run) -> pa.Table:
    """Identity of every attributed image, its file of maps, its row there, and the SHA-256 it was indexed with."""
    names = [field.name for field in tables.IDENTITY]
    parts = []
    for name in run.store.files(MAPS, ".parquet"):
        part = run.store.read_table(name, columns=names)
        # a number each: the names of files would be most of the table
        numbers = pa.array(np.zeros(part.num_rows, np.int32))
        part = part.append_column("file", pa.DictionaryArray.from_arrays(numbers, pa.array([name])))
        parts.append(part.append_column("row", pa.array(np.arange(part.num_rows))))
    images, known = pa.concat_tables(parts).unify_dictionaries(), run.manifest_table(["image_id", "sha256"])
    place = pc.index_in(images["image_id"], known["image_id"].combine_chunks())
    return images.append_column("sha256", known["sha256"].take(place))


def _partner_positions(images: pa.Table, job: Job) -> np.ndarray:
    """(N, C) positions of those each image is crossed with, -1 behind the last."""
    ids, patients_N = images["image_id"].to_pylist(), table_columns.codes_of(images["patient_id"])
    return pairs.partners(ids, patients_N, job.compare.partner_seed, max(pairs.PARTNERS.values()))


def _with_partners(images: pa.Table, job: Job) -> tuple[pa.Table, list[str]]:
    """Each image with a column `partners`: file and row of those it is crossed with, in their order; and the files.

    In the table a file is its number: sixteen names of files an image would be most of what is sent to the tasks.
    """
    named = images["file"].combine_chunks()
    images = images.set_column(images.column_names.index("file"), "file", named.indices)
    position_NC = _partner_positions(images, job)
    there_NC = position_NC >= 0
    chosen = images.select(["file", "row"]).take(pa.array(position_NC[there_NC]))
    columns = [chosen["file"].combine_chunks(), chosen["row"].combine_chunks().cast(pa.int32())]
    structs = pa.StructArray.from_arrays(columns, names=["file", "row"])
    offsets = pa.array(np.concatenate([[0], there_NC.sum(axis=1).cumsum()]), pa.int32())
    return images.append_column("partners", pa.ListArray.from_arrays(offsets, structs)), named.dictionary.to_pylist()


def _compare(
    ids: pa.Array, kinds: tuple[str, ...], job: Job, run: RunWriter, board: Board, resources: Resources
) -> None:
    fair = math.ceil(len(ids) / (4 * resources.cpus))
    most = images_per_block(rows_per_image(job, run, kinds))
    images, files = _given_to_tasks(ids, max(1, min(most, fair)), job, run)
    memory.give_back()
    dataset = images.map_batches(
        Scorer(job, run, board, kinds, files), batch_format="pyarrow", batch_size=None, num_cpus=_TASK_CPUS
    )
    schema = tables.scores_schema(job.attribution.targets)
    texts = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    staging.write(dataset, run, SCORES, dictionary=["image_id", "patient_id", *texts])


def _given_to_tasks(ids: pa.Array, rows: int, job: Job, run: Run) -> tuple[ray.data.Dataset, list[str]]:
    """These images in blocks of at most so many, and the files whose numbers they have.

    Nothing else of them stays in the driver while tasks work on them.
    """
    images, files = _with_partners(locate(run), job)
    if len(ids) < images.num_rows:
        images = images.filter(pc.is_in(images["image_id"], ids))
    return ray.data.from_arrow(_blocks(images, rows)), files


def _blocks(images: pa.Table, rows: int) -> list[pa.Table]:
    """Runs of at most `rows` images of one file."""
    order_N = pc.sort_indices(images, [("file", "ascending"), ("row", "ascending")]).to_numpy()
    if (order_N != np.arange(len(order_N))).any():  # as they are located they are in order, and a copy is one more
        images = images.take(order_N)
    files_N = images["file"].to_numpy()
    bounds = [0, *(np.flatnonzero(files_N[1:] != files_N[:-1]) + 1).tolist(), len(files_N)]
    runs = [(start, end) for begin, end in itertools.pairwise(bounds) for start in range(begin, end, rows)]
    return [images.slice(start, min(rows, end - start)) for start, end in runs]
