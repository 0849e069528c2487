"""Cascade: maps of a trained variant against those it has with layers re-initialised -> the cascades table and curves.

Nothing is trained. Each actor derives one network after the other for its block of images, so that their number costs
time and no memory.
"""

import dataclasses
import functools
import math

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pneumo_batch.core import tables
from pneumo_batch.core.attribution import baselines
from pneumo_batch.core.randomization import cascade, curves
from pneumo_batch.core.similarity import comparison, pairs
from pneumo_batch.core.variants import Variant
from pneumo_batch.errors import JobError
from pneumo_batch.execution import progress, staging
from pneumo_batch.execution.actor_pool import Pool
from pneumo_batch.execution.board import Board
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir import accounts
from pneumo_batch.rundir.layout import CASCADE_SUMMARY, CASCADES, DERIVED, STAGING
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import survey
from pneumo_batch.stages.stage import Plan, Survey
from pneumo_batch.stages.workers import scorer
from pneumo_batch.stages.workers.randomizer import Randomizer

_MOST_IMAGES = 16  # a block: what an interruption can cost, and what shares the making of one network
_BLOCK_BYTES = 256 * 2**20  # of maps that an actor holds


def plan(job: Job, found: Survey, _store: Store) -> Plan:
    """The network's initialiser has to draw its weights."""
    networks = len(derived(job, found.classes))
    images = min(found.attributed(job), job.cascade.images)
    cells = len(curves.cells(scorer.comparison_of(job, job.variants)))
    numbers = {"networks": networks, "images": images if networks else 0, "scores": images * networks * cells}
    line = f"{images} images, {networks} derived networks, {numbers['scores']} scores" if networks else "nothing"
    return Plan(line, numbers)


def execute(job: Job, run: RunWriter, resources: Resources | None) -> dict[str, int]:
    """Write `cascades/` and `cascade_summary.parquet`, nothing where the job names no seeds."""
    if not job.cascade.seeds:
        return {}
    assert resources is not None
    images, wanted = choose(job, run), networks(job, run)
    rows = rows_per_image(job, run)
    if not run.store.has(CASCADES):
        todo = staging.rows_without(images, staging.tally(run, CASCADES).ids)
        if todo.num_rows:
            with progress.shown({"maps": todo.num_rows * len(wanted)}, run) as board:
                _randomize(todo, wanted, Pool.of(job, run, resources), board)
        found = staging.tally(run, CASCADES)
        accounts.check_balance(images["image_id"], found, [], CASCADES, rows)
        if run.store.exists(f"{STAGING}/{DERIVED}"):  # not if the last attempt ended between these two lines
            run.commit_table(DERIVED)
        run.commit_table(CASCADES)
    scores = run.store.read_table(CASCADES, schema=tables.CASCADES)
    run.store.write_table(CASCADE_SUMMARY, curves.curves(scores, resamples=job.compare.resamples))
    return {"images": images.num_rows, "networks": len(wanted), "scores": images.num_rows * rows}


def verify(job: Job, run: Run) -> None:
    if job.cascade.seeds:
        wanted = choose(job, run)["image_id"]
        accounts.check_balance(wanted, accounts.tally(run, CASCADES), [], CASCADES, rows_per_image(job, run))


def original(job: Job, run: Run) -> str:
    """The variant whose layers are re-initialised."""
    return job.cascade.variant or run.variants()[0]


def choose(job: Job, run: Run) -> pa.Table:
    """The manifest rows of the images to use: attributed ones, in the hash order of the maps table."""
    attributed = run.maps_table([])["image_id"].combine_chunks()
    rows = run.manifest_table(looks=False)
    rows = rows.filter(pc.is_in(rows["image_id"], attributed))
    return rows.take(pairs.hash_order(rows["image_id"].to_pylist(), seed=0)[: job.cascade.images])


def networks(job: Job, run: Run) -> list[cascade.Derived]:
    """The networks to derive, the original of each seed (depth 0) among them."""
    return derived(job, run.model_record(original(job, run))["classes"])


def derived(job: Job, classes: list[str]) -> list[cascade.Derived]:
    """What parameter randomization derives from its variant; nothing where it is off.

    Raises JobError for a network whose initialiser does not draw its weights.
    """
    settings = job.cascade
    if not settings.seeds:
        return []
    try:
        cascade.initial_state(functools.partial(survey.network, job, classes), settings.seeds[0])
    except ValueError as error:
        raise JobError(f"cascade: {error}") from error
    example_1CHW = baselines.baseline_input("mean", survey.preprocess(job))
    return cascade.plan(
        cascade.layers(survey.network(job, classes), example_1CHW), settings.seeds, settings.independent
    )


def plan_of(job: Job, run: Run) -> comparison.Comparison:
    """As in the scores table, with the original as the one variant; taken as a true one, for those have every cell."""
    return dataclasses.replace(scorer.plan_of(job, run), variants=(Variant(original(job, run), "true"),))


def rows_per_image(job: Job, run: Run) -> int:
    """Rows of the cascades table that an image has."""
    return len(curves.cells(plan_of(job, run))) * len(networks(job, run))


def _randomize(todo: pa.Table, wanted: list[cascade.Derived], pool: Pool, board: Board) -> None:
    per_image = 4 * pool.job.data.image_size**2 * len(pool.job.attribution.methods) * len(wanted)
    fair = math.ceil(todo.num_rows / pool.share.actors)
    rows = max(1, min(_MOST_IMAGES, fair, _BLOCK_BYTES // per_image))
    blocks = [todo.slice(start, rows) for start in range(0, todo.num_rows, rows)]
    texts = [field.name for field in tables.CASCADES if pa.types.is_dictionary(field.type)]
    pool = dataclasses.replace(pool, share=pool.share.at_most(len(blocks)))
    given = (board, original(pool.job, pool.run), plan_of(pool.job, pool.run), wanted)
    dataset = pool.map(ray.data.from_arrow(blocks), Randomizer, *given, rows=rows)
    staging.write(dataset, pool.run, CASCADES, dictionary=["image_id", "patient_id", *texts])
