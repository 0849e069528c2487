"""Index: folders of images, or a file that names them -> the manifest, one row per image, and the quarantine."""

import math
from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from pneumo_batch import memory
from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.data import audit, audit_lines, leaks, manifest, splits
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import DataError
from pneumo_batch.execution import progress, watchdog
from pneumo_batch.execution.board import Board
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.execution.staging import rows_without
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir import accounts
from pneumo_batch.rundir.accounts import ImbalanceError
from pneumo_batch.rundir.integrity import parquet_bytes
from pneumo_batch.rundir.layout import MANIFEST, PHANTOM, QUARANTINE, REGIONS, STAGING
from pneumo_batch.rundir.locations import reason
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import listing, newcomers, regions
from pneumo_batch.stages.stage import Plan, Survey

ROWS_PER_FILE = 100_000  # of the manifest: 16 MB
# What a task costs the driver is the same however many films it opens; progress is told by the fewest.
_FEWEST_PER_TASK, _MOST_PER_TASK = 256, 2048
_FILMS_PER_TASK = 32


def plan(job: Job, found: Survey, _store: Store) -> Plan:
    if found.earlier:
        new = found.attributed(job)
        return Plan(f"images: {new} new, {found.earlier} done", {"images": new, "earlier": found.earlier})
    total = sum(found.images.values())
    splits = ", ".join(f"{name} {count}" for name, count in found.images.items())
    return Plan(f"{total} images ({splits})", {"images": total, **found.images})


def execute(job: Job, run: RunWriter, resources: Resources | None) -> dict[str, int]:
    """Write `manifest/` and `quarantine.parquet`. Raises DataError when the images cannot be used."""
    assert resources is not None
    if job.is_phantom:
        write_phantom(job, run)
    if not run.is_committed(MANIFEST):
        indexed_by = _index_new if run.number > 1 else _index
        rows, rejected = indexed_by(job, run, resources.cpus)
        write_manifest(run, rows)
        run.checksums.replace(QUARANTINE, parquet_bytes(rejected))
        run.commit_table(MANIFEST)
    indexed = run.count(MANIFEST)
    rejected = run.store.read_table(QUARANTINE, schema=tables.QUARANTINE)
    bad = rejected.filter(pc.equal(rejected["stage"], "index")).num_rows
    return {"images": indexed + bad, "indexed": indexed, "quarantined": bad}


def write_manifest(run: RunWriter, rows: pa.Table) -> None:
    """Write the rows below `staging/`, in parts whose names are in the order of their rows; what lies there goes."""
    run.store.remove(f"{STAGING}/{MANIFEST}")  # an attempt before this one may have had more parts
    starts = range(0, max(1, rows.num_rows), ROWS_PER_FILE)
    digits = len(str(len(starts) - 1))
    for number, start in enumerate(starts):
        part = rows.slice(start, ROWS_PER_FILE)
        run.store.write_table(f"{STAGING}/{MANIFEST}/part-{number:0{digits}}.parquet", part)


def verify(_job: Job, run: Run) -> None:
    indexed, rejected = accounts.tally(run, MANIFEST), accounts.quarantined(run, "index")
    accounts.check_balance(indexed.ids, indexed, [], MANIFEST)
    if not len(indexed) or len(indexed.only(pa.array(rejected, pa.string()))):
        raise ImbalanceError("the manifest is empty, or an image stands in it and in the quarantine")
    listed = run.record["stages"]["index"].get("counts", {}).get("images")
    if listed is not None and listed != len(indexed) + len(rejected):
        raise ImbalanceError(f"{listed} images were found, {len(indexed)} indexed and {len(rejected)} quarantined")


def _index(job: Job, run: RunWriter, cpus: int) -> tuple[pa.Table, pa.Table]:
    found = discover(job, run.images)
    rows, rejected = _inspect_watched(job, run, found.listing, cpus)
    _check_rejected(rejected, found.listing.num_rows, job.data.max_bad)
    own_words = [*(found.account.lines() if found.account else ()), *_listing_warnings(job, found.listing, rows)]
    rows = splits.carve_validation(rows, job.data.val_fraction, job.data.split_seed)
    own_words += _write_regions(job, run, found, rows)
    _audit(job, run, audit.audit(rows, rejected, passed_over=found.passed_over), own_words)
    return rows, rejected


def _index_new(job: Job, run: RunWriter, cpus: int) -> tuple[pa.Table, pa.Table]:
    """Rows of the images that joined the splits to attribute, and the whole quarantine; its images are tried again."""
    known = run.manifest_table()
    found = discover(job, run.images)
    fresh = newcomers.find(found.listing, known, job, run.images).rows
    rows, rejected = _inspect_watched(job, run, fresh, cpus)
    before = _rejected_before(run, known, found.listing, fresh)
    rejected = pa.concat_tables([before, rejected]).sort_by("image_id")
    _check_rejected(rejected, known.num_rows + fresh.num_rows, job.data.max_bad)
    every = pa.concat_tables([known, rows])
    _audit(
        job, run, audit.audit(every, rejected, passed_over=found.passed_over), _write_regions(job, run, found, every)
    )
    return rows, rejected


def _inspect_watched(job: Job, run: RunWriter, listing: pa.Table, cpus: int) -> tuple[pa.Table, pa.Table]:
    """`inspect`, shown, and with an eye on films that hang."""
    shown = progress.shown({"images": listing.num_rows}, run)
    with shown as board, watchdog.watch(board, job.cluster.stall_seconds):
        found = inspect(listing, run.images, board, cpus)
    memory.give_back()
    return found


def _write_regions(job: Job, run: RunWriter, found: manifest.Inventory, rows: pa.Table) -> list[str]:
    """Write `regions.parquet`, before the manifest that tells that the index is whole; what weakens it, in words."""
    outlined = regions.of_images(job.data, run.images, found, rows)
    run.checksums.replace(REGIONS, parquet_bytes(outlined.table))
    for line in outlined.lines:
        run.event("regions", message=line)
    return [outlined.unfit] if outlined.unfit else []


def _rejected_before(run: Run, known: pa.Table, listing: pa.Table, fresh: pa.Table) -> pa.Table:
    """The quarantine of earlier passes, without images that are tried again and those whose file was removed."""
    before = rows_without(run.store.read_table(QUARANTINE, schema=tables.QUARANTINE), fresh["image_id"])
    there = pa.chunked_array([*listing["image_id"].chunks, *known["image_id"].chunks], pa.string())
    return before.filter(pc.is_in(before["image_id"], there))


def _audit(job: Job, run: RunWriter, findings: audit.Audit, own_words: Iterable[str] = ()) -> None:
    errors = [line for line in findings.errors if not (job.data.allow_leaks and leaks.LEAK in line)]
    if errors:
        raise DataError(f"{job.data.manifest or ', '.join(job.data.roots)}: {errors[0]}")
    allowed = [line.removesuffix(leaks.UNLESS_ALLOWED) for line in findings.errors]
    for line in [*own_words, *allowed, *findings.warnings]:
        progress.warn(run, "index", line)
    memory.give_back()  # what the audit held of all rows


def discover(job: Job, images: Roots) -> manifest.Inventory:
    """The listing of a job's images and the classes; raises DataError when a split that the job needs is missing."""
    places = ", ".join(job.data.roots)
    try:
        return _listing(job, images)
    except OSError as error:
        raise DataError(f"{places}: cannot be listed: {reason(error)}") from error
    except DataError as error:
        named = any(place in str(error) for place in [*job.data.roots, *filter(None, [job.data.manifest])])
        raise error if named else DataError(f"{places}: {error}") from error


def _listing(job: Job, images: Roots) -> manifest.Inventory:
    if gone := images.missing():
        raise DataError(f"{gone[0]}: no such folder; set data.root to the folder of the images")
    found = listing.of_data(job.data, images)
    needed = [*(["train"] if job.trained else []), *job.attribution.splits]
    manifest.require_splits(found.listing, needed, file=job.data.manifest)
    return found


def _listing_warnings(job: Job, listed: pa.Table, rows: pa.Table) -> list[str]:
    """What a list or a set leaves to rules of ours; the audit counts the images whose patient these do not find."""
    lines, in_folders = [], job.data.format == "folders"
    unknown = 0 if in_folders else pc.sum(pc.invert(listed["patient_given"])).as_py()
    nobody = audit.without_patient(rows["image_id"].to_pylist(), rows["patient_id"].to_pylist()) if unknown else 0
    if job.data.manifest and unknown > nobody:
        lines.append(
            f"{unknown} of {listed.num_rows} images have no patient_id in the manifest: it is taken from the DICOM"
            " header or the file's path where these tell it"
        )
    shipped = pc.sum(pc.equal(listed["split"], "val")).as_py()
    # of folders it matters where those are explained: the published set has sixteen, for nothing else
    if shipped and job.data.val_fraction and (not in_folders or "val" in job.attribution.splits):
        lines.append(f"{shipped} val images join train before validation is carved; data.val_fraction = 0 keeps them")
    return lines


def write_phantom(job: Job, run: Run) -> None:
    """Generate the phantom images, once."""
    from pathlib import Path

    from pneumo_batch.core.data import phantom

    if not run.store.is_local:
        raise DataError("data.root 'phantom' needs a local run directory; write the set with `data demo` first")
    if not run.store.exists(PHANTOM):
        wanted = job.phantom
        phantom.write(
            Path(run.store.path(PHANTOM)),
            train=wanted.train,
            test=wanted.test,
            seed=wanted.seed,
            image_size=wanted.image_size,
            spread=_spread,
        )


def _spread(make: Callable[[list[int]], None], numbers: list[int]) -> None:
    """Call `make` on the cluster, with parts of equal mixture."""
    parts = math.ceil(len(numbers) / _FILMS_PER_TASK)
    task = ray.remote(_call)
    ray.get([task.remote(make, numbers[part::parts]) for part in range(parts)])


def _call(make: Callable[[list[int]], None], numbers: list[int]) -> None:
    make(numbers)


def inspect_task(batch: pa.Table, images: Roots, before: Callable[[str], None] = lambda _image_id: None) -> pa.Table:
    """Open the images of one block of a listing: its manifest rows and its quarantine rows in one table (INSPECTED).

    `before` is called with each id and may raise RejectedImage.
    """
    good, bad = manifest.inspect_batch(batch, images, before)
    bad = bad.append_column("rejected", pa.array([True] * bad.num_rows, pa.bool_()))
    # one schema whatever a block holds: blocks of different schemas cannot be put together
    schema = table_columns.labelled_as(INSPECTED, batch)
    return pa.concat_tables([schema.empty_table(), good, bad], promote_options="default")


def inspect(listing: pa.Table, images: Roots, board: Board, cpus: int) -> tuple[pa.Table, pa.Table]:
    """Open every listed image on the cluster: (manifest rows, quarantine rows), each sorted by id."""
    if not listing.num_rows:  # all that had joined a run is gone again
        return gathered([], listing)

    def inspect_batch(batch: pa.Table) -> pa.Table:
        inspected = []
        with watchdog.batch(board, batch["image_id"].to_pylist()) as guarded:
            for part in _cut(batch, _FEWEST_PER_TASK):
                inspected.append(inspect_task(part, images, guarded.begin))
                board.add("images", part.num_rows)
        return pa.concat_tables(inspected)

    fair = math.ceil(listing.num_rows / (4 * cpus))  # of a small set each processor has some
    tasks = _cut(listing, min(max(_FEWEST_PER_TASK, fair), _MOST_PER_TASK))
    dataset = ray.data.from_arrow(tasks).map_batches(inspect_batch, batch_format="pyarrow", batch_size=None)
    return gathered(dataset.iter_batches(batch_size=None, batch_format="pyarrow"), listing)


def _cut(table: pa.Table, rows: int) -> list[pa.Table]:
    return [table.slice(start, rows) for start in range(0, table.num_rows, rows)]


def gathered(parts: Iterable[pa.Table], listing: pa.Table) -> tuple[pa.Table, pa.Table]:
    """What `inspect_task` has made of the parts of a listing: (manifest rows, quarantine rows), each sorted by id."""
    nothing = table_columns.labelled_as(INSPECTED, listing).empty_table()
    table = pa.concat_tables([nothing, *parts], promote_options="default")
    order = pc.sort_indices(table, [("image_id", "ascending")])
    is_bad = pc.is_valid(table["rejected"]).combine_chunks().take(order)
    schema = table_columns.labelled_as(tables.MANIFEST, listing)
    # rows by their numbers: every sorted or filtered table is one more that holds all of them
    good = table.select(schema.names).take(order.filter(pc.invert(is_bad))).cast(schema)
    bad = table.select(tables.QUARANTINE.names).take(order.filter(is_bad)).cast(tables.QUARANTINE)
    assert good.num_rows + bad.num_rows == listing.num_rows, "index lost images"
    return good, bad


def _check_rejected(rejected: pa.Table, total: int, max_bad: float) -> None:
    if too_many := audit_lines.too_many_rejected(rejected, total, max_bad):
        raise DataError(too_many)


INSPECTED = pa.schema(
    [field.with_nullable(True) for field in tables.MANIFEST]
    + [tables.QUARANTINE.field("stage").with_nullable(True), tables.QUARANTINE.field("reason").with_nullable(True)]
    + [pa.field("rejected", pa.bool_())]
)
