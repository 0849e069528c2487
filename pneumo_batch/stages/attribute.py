"""Attribute: every chosen image under every variant -> the maps table, one row per image.

bytes -> decode (tasks) -> an actor pool that holds every variant -> Parquet. Files are written under `staging/` and
become `maps/` when every image is accounted for; an interrupted stage keeps the files it finished.
"""

import dataclasses
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pneumo_batch import memory, terminal
from pneumo_batch.core import tables
from pneumo_batch.core.attribution import targets
from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.data import audit_lines
from pneumo_batch.core.method_names import method_of
from pneumo_batch.core.similarity import pairs
from pneumo_batch.errors import DataError, JobError
from pneumo_batch.execution import progress, staging, watchdog
from pneumo_batch.execution.actor_pool import Pool
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir import accounts, locations
from pneumo_batch.rundir.integrity import parquet_bytes
from pneumo_batch.rundir.layout import MAPS, QUARANTINE
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import arms, predict, survey
from pneumo_batch.stages.stage import Plan, Survey
from pneumo_batch.stages.workers import decode
from pneumo_batch.stages.workers.attributor import Attributor

_FILE_BYTES = 64 * 2**20  # a file is at most this large before compression: what one actor holds of its results
_DECODE_CPUS = 0.25
_SPARE = 1.2  # of disk beside the maps: models, scores, the report, tables in the making
_MODEL_BYTES = 50e6


def plan(job: Job, found: Survey, store: Store) -> Plan:
    """Network, methods, layer and target have to fit together, and the disk needs room for the maps."""
    images, models = found.attributed(job), len(survey.variant_names(job)) * len(job.attribution.targets)
    shapes = map_shapes(job, found.classes)
    for arm in job.arm:
        if arm.network:
            arms.check_network(arm, lambda name: map_shapes(job, found.classes, name))
    if store.is_local:
        _check_room(job, store, found, shapes)
    maps, size = images * models * len(shapes), images * map_bytes(job, shapes)
    sides = {name: list(shape) for name, shape in shapes.items()}
    listed = ", ".join(f"{name} {h} x {w}" for name, (h, w) in shapes.items())
    numbers = {"images": images, "maps": maps, "map_shapes": sides, "bytes": size}
    return Plan(f"{images} image{'s' * (images != 1)}, {maps} maps ({listed}), {terminal.size(size)}", numbers)


def execute(job: Job, run: RunWriter, resources: Resources | None) -> dict[str, int]:
    """Write `maps/` and add what could not be read to the quarantine. Raises DataError when too much could not."""
    assert resources is not None
    chosen = _chosen(job, run)
    if not run.is_committed(MAPS):
        new = accounts.ids_without(chosen, staging.earlier_ids(run, MAPS))
        run.store.remove(decode.REJECTED)  # what could not be read may be there again
        todo = accounts.ids_without(new, staging.tally(run, MAPS).ids)
        if len(todo):
            _attribute(todo, Pool.of(job, run, resources), run)
        done = staging.tally(run, MAPS)
        bad = _rejected(run, done)
        accounts.check_balance(new, done, [row["image_id"] for row in bad], MAPS)
        _check(len(chosen), bad, job.data.max_bad)
        _warn(run, len(chosen), bad)
        _add_to_quarantine(run, bad)
        run.commit_table(MAPS)
    attributed = run.count(MAPS)
    if run.number > 1:
        predict.extend(run)
    return {"chosen": len(chosen), "attributed": attributed, "quarantined": len(chosen) - attributed}


def verify(job: Job, run: Run) -> None:
    accounts.check_balance(_chosen(job, run), accounts.tally(run, MAPS), accounts.quarantined(run, "attribute"), MAPS)


def _rejected(run: RunWriter, done: accounts.Tally) -> list[dict[str, str]]:
    """Quarantine rows of the images that could not be read, but for those that a retry has read."""
    rejected = decode.rejected(run.store)
    read = done.rows_of(pa.array([row["image_id"] for row in rejected], pa.string())) > 0
    return [row for row, is_read in zip(rejected, read, strict=True) if not is_read]


def _chosen(job: Job, run: Run) -> pa.ChunkedArray:
    """Ids of the images to attribute, in an order that makes the cross-image partner of an image its neighbour."""
    rows, settings = run.manifest_table(["image_id", "split"]), job.attribution
    ids = rows["image_id"].filter(pc.is_in(rows["split"], pa.array(settings.splits)))
    return ids.take(pa.array(pairs.hash_order(ids.to_pylist(), seed=0)[: settings.limit]))


def _attribute(ids: pa.ChunkedArray, pool: Pool, run: RunWriter) -> None:
    """Write the maps of these images."""
    rows = _rows_per_file(len(ids), pool)
    shown = progress.shown({"attributions": len(ids)}, run)
    with shown as board, watchdog.watch(board, pool.job.cluster.stall_seconds):
        pool = dataclasses.replace(pool, share=pool.share.at_most(math.ceil(len(ids) / rows)))
        decoder = decode.decoder(run, pool.variants[0], board)
        films = ray.data.from_arrow(_blocks(ids, rows, run))  # nothing but Ray's copy of the rows stays in the driver
        memory.give_back()
        decoded = films.map_batches(decoder, batch_format="pyarrow", batch_size=None, num_cpus=_DECODE_CPUS)
        # the maps themselves hardly repeat a value: dictionaries would only cost time
        mapped = pool.map(decoded, Attributor, board, rows=rows)
        staging.write(mapped, run, MAPS, dictionary=["class_name", "patient_id"])


def _blocks(ids: pa.ChunkedArray, rows: int, run: Run) -> list[pa.Table]:
    """What decoding and the maps table need of these images, in their order, so many rows at a time."""
    names = [field.name for field in tables.IDENTITY]
    known = run.manifest_table([*names, "split", "sha256"])
    todo = known.take(pc.index_in(ids, known["image_id"]))
    return [todo.slice(start, rows) for start in range(0, len(ids), rows)]


def _rows_per_file(total: int, pool: Pool) -> int:
    classes = pool.run.model_record(pool.variants[0])["classes"]
    per_image = map_bytes(pool.job, map_shapes(pool.job, classes))
    fair = math.ceil(total / (4 * pool.share.most))  # so that no actor waits for another's last file
    return max(1, min(pool.job.attribution.rows_per_file, _FILE_BYTES // per_image, fair))


def _check(chosen: int, bad: list[dict[str, str]], max_bad: float) -> None:
    """Not too many of the chosen images were rejected, and not all."""
    if bad and (len(bad) > max_bad * chosen or len(bad) == chosen):
        first = min(bad, key=lambda row: row["image_id"])
        none_left = len(bad) == chosen
        allowed = "none is left" if none_left else f"more than data.max_bad = {max_bad:g} allows"
        way_on = "" if none_left else f", or {audit_lines.allowing(len(bad), chosen)}"
        raise DataError(
            f"{len(bad)} of {chosen} images could no longer be read, or not be explained, {allowed}; the first is "
            f"{first['image_id']}: {first['reason']}; put back the files that have changed or gone{way_on}"
        )


def _warn(run: RunWriter, chosen: int, bad: list[dict[str, str]]) -> None:
    if bad:
        line = audit_lines.named([(row["image_id"], row["reason"]) for row in bad])
        progress.warn(run, "attribute", f"{len(bad)} of {chosen} images are left out: {line}")


def _add_to_quarantine(run: RunWriter, bad: list[dict[str, str]]) -> None:
    known = run.store.read_table(QUARANTINE, schema=tables.QUARANTINE)
    known = known.filter(pc.not_equal(known["stage"], "attribute"))
    added = pa.Table.from_pylist(bad, schema=tables.QUARANTINE)
    run.checksums.replace(QUARANTINE, parquet_bytes(pa.concat_tables([known, added]).sort_by("image_id")))


def map_shapes(job: Job, classes: list[str], network: str | None = None) -> dict[str, tuple[int, int]]:
    """(height, width) of each method's maps, from a network that knows nothing yet: the job's, or the one of that name.

    Raises JobError when network, methods, layer and target do not fit together, or a map would be one number.
    """
    try:
        targets.check_targets(job.attribution.targets, classes, job.data.several)
        model = survey.network(job, classes, network).eval()
        shapes = Explainer(model, job.attribution.options_by_method(), survey.preprocess(job)).map_shapes
    except ValueError as error:
        raise JobError(str(error)) from error
    for name, shape in shapes.items():
        if shape == (1, 1):
            way = "an earlier layer in grad_cam.layer or " if method_of(name) == "grad_cam" else ""
            raise JobError(
                f"{name}: maps are 1 x 1 at data.image_size = {job.data.image_size}, nothing can be compared: take "
                f"{way}a larger data.image_size, or leave {name} out of attribution.methods"
            )
    return shapes


def map_bytes(job: Job, shapes: dict[str, tuple[int, int]]) -> int:
    """Bytes of one image's maps, before compression."""
    count = len(survey.variant_names(job)) * len(job.attribution.targets)
    return sum(4 * math.prod(shape) for shape in shapes.values()) * count


def _check_room(job: Job, store: Store, found: Survey, shapes: dict[str, tuple[int, int]]) -> None:
    """Raise JobError when the disk of a run directory, which need not be there yet, has no room for its maps."""
    needed = _SPARE * found.attributed(job) * map_bytes(job, shapes) + _MODEL_BYTES * len(survey.variant_names(job))
    free = locations.free_bytes(Path(store.root))
    if free < needed:
        raise JobError(
            f"{store.location}: {free / 1e9:.1f} GB free, the run needs about {needed / 1e9:.1f} GB for "
            f"{found.attributed(job)} images and {len(survey.variant_names(job))} variants; free some, or choose "
            "another --run-dir"
        )
