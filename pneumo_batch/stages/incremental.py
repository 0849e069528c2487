"""Runs whose data grow: what has joined the data since the last pass, and what else has changed there."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch import terminal
from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import DataError
from pneumo_batch.execution import progress, staging
from pneumo_batch.execution.staging import rows_without
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.layout import MANIFEST, QUARANTINE
from pneumo_batch.rundir.locations import open_roots
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import index, newcomers
from pneumo_batch.stages.stage import Survey


def begin(job: Job, found: Survey, run: RunWriter) -> Survey | None:
    """Begin a pass over the images that joined, if there are any; say in words what it leaves as it is.

    Returns what `remaining` would say of that pass, or None where there is none. Raises DataError when the classes are
    no longer those the models were trained for.
    """
    known, rejected = run.manifest_table(), _rejected(run)
    listing = _listing(job, run.images, known)
    new = newcomers.find(listing, known, job, run.images)
    for line in _warnings(listing, known, rejected, new.moved, job):
        progress.warn(run, "index", line)
    if not _is_news(new.rows, known, rejected, run.images):
        return None
    joined = rows_without(new.rows, rejected["image_id"]).num_rows
    terminal.say(f"{_images(joined)} joined the data" if joined else "an image that was rejected can be read now")
    run.begin_pass()
    return _only(new.rows.num_rows + _unexplained(listing, known, rejected), found, job)


def remaining(job: Job, found: Survey, run: Run) -> Survey:
    """What was found; of data that grow, less what passes before the next one, or the one that goes on, have had.

    Raises DataError as `begin` does.
    """
    ended = run.record["status"] == "complete"
    if not job.data.grows or (run.number == 1 and not ended):
        return found
    known = run.manifest_table()
    images = open_roots(job.data.root)
    listing, rejected = _listing(job, images, known), _rejected(run)
    if not ended:
        known = known.filter(pc.is_in(known["image_id"], staging.earlier_ids(run, MANIFEST)))
    new = newcomers.find(listing, known, job, images).rows
    count = new.num_rows + _unexplained(listing, known, rejected)
    if ended and not _is_news(new, known, rejected, images):
        count = 0
    return _only(count, found, job)


def _only(count: int, found: Survey, job: Job) -> Survey:
    """What was found, of which so many images are explained in this pass."""
    return dataclasses.replace(found, earlier=found.attributed(job) - count)


def _listing(job: Job, images: Roots, known: pa.Table) -> pa.Table:
    """The images that are there now."""
    found, expected = index.discover(job, images), manifest.class_names(known)
    if found.classes != expected:
        raise DataError(
            f"{', '.join(job.data.roots)}: the classes are {', '.join(found.classes)} now; this run knows "
            f"{', '.join(expected)}"
        )
    return found.listing


def _rejected(run: Run) -> pa.Table:
    return run.store.read_table(QUARANTINE, schema=tables.QUARANTINE)


def _unexplained(listing: pa.Table, known: pa.Table, rejected: pa.Table) -> int:
    """How many images are there and indexed, and were rejected afterwards: every pass tries to explain them again."""
    ids = rejected["image_id"].filter(pc.equal(rejected["stage"], "attribute"))
    ids = ids.filter(pc.is_in(ids, known["image_id"]))
    return int(pc.sum(pc.is_in(ids, listing["image_id"])).as_py() or 0)


def _is_news(new: pa.Table, known: pa.Table, rejected: pa.Table, images: Roots) -> bool:
    """Whether an image joined, or one that was rejected can be read now."""
    joined = rows_without(new, rejected["image_id"]).num_rows
    return joined > 0 or newcomers.one_was_repaired(rejected, new, known, images)


def _warnings(
    listing: pa.Table, known: pa.Table, rejected: pa.Table, moved: Mapping[str, str], job: Job
) -> Iterator[str]:
    """What else changed; `moved` has the images of the run that have another id now, which is the key."""
    there = listing["image_id"].combine_chunks()
    others = listing.filter(pc.invert(pc.is_in(listing["split"], pa.array(job.attribution.splits))))
    before = pa.chunked_array([*known["image_id"].chunks, *rejected["image_id"].chunks], pa.string())
    added = pc.sum(pc.invert(pc.is_in(others["image_id"], before))).as_py() or 0
    if added:
        yield (
            f"{_images(added)} joined the training data and {'is' if added == 1 else 'are'} not used: the models are"
            " those of the first pass"
        )
    if moved:
        now, then = min(moved.items())
        has, they = ("has", "it stays") if len(moved) == 1 else ("have", "they stay")
        yield (
            f"{_images(len(moved))} {has} moved (the first: {then} is {now} now); {they} in the run under the name and"
            " class of before, and counted once: for the new ones start another run, in another --run-dir"
        )
    gone = rows_without(rows_without(known, there), pa.array(list(moved.values()), pa.string()))
    if gone.num_rows:
        first = gone["image_id"][0].as_py()
        are = "is" if gone.num_rows == 1 else "are"
        yield f"{_images(gone.num_rows)} {are} no longer there (the first: {first}); what is known of them stays"
    now, then = _both(listing, known)
    changed = then.filter(pc.not_equal(now["bytes"], then["bytes"]))["image_id"]
    if len(changed):
        have, first = "has" if len(changed) == 1 else "have", changed[0]
        yield f"{_images(len(changed))} {have} changed (the first: {first}); their maps stay those of the earlier files"
    told = then.filter(_is_told_otherwise(now, then, job))["image_id"]
    if len(told):
        has, it = ("has", "it keeps") if len(told) == 1 else ("have", "they keep")
        yield (
            f"{_images(len(told))} {has} another label, split or patient now (the first: {told[0]}); {it} those of"
            " before: for the new ones start another run, in another --run-dir"
        )


def _both(listing: pa.Table, known: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The images of the run that are there: as they are listed now, and as the run knows them, in the same order."""
    places = pc.index_in(known["image_id"], listing["image_id"].combine_chunks())
    told = ["image_id", "bytes", "label", "split", "patient_id", *table_columns.label_columns(known.column_names)]
    now = listing.select([*told, "patient_given"]).take(places.drop_null())
    return now, known.select(told).filter(pc.is_valid(places))


def _is_told_otherwise(now: pa.Table, then: pa.Table, job: Job) -> pa.ChunkedArray:
    """Whether what is listed says another label, split or patient of an image; of a patient only where it names one."""
    differs = [pc.not_equal(now["label"], then["label"])]
    for name in table_columns.label_columns(then.column_names):
        differs.append(pc.not_equal(now[name].fill_null(tables.UNKNOWN), then[name].fill_null(tables.UNKNOWN)))
    given, listed = (_before_validation(rows["split"], job) for rows in (then, now))
    differs.append(pc.not_equal(given, listed))
    differs.append(pc.and_(now["patient_given"], pc.not_equal(now["patient_id"], then["patient_id"])))
    return functools.reduce(pc.or_, differs)


def _before_validation(splits: pa.ChunkedArray, job: Job) -> pa.ChunkedArray:
    """The splits as a list tells them, or as they were before validation was carved from both of these."""
    return pc.if_else(pc.equal(splits, "val"), "train", splits) if job.data.val_fraction else splits


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
