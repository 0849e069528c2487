"""Runs whose data grow: what has joined the data since the last pass, and what else has changed there."""

import dataclasses
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch import terminal
from pneumo_batch.core import tables
from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import DataError
from pneumo_batch.execution import progress, staging
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.layout import MANIFEST, QUARANTINE
from pneumo_batch.rundir.locations import open_roots
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import index
from pneumo_batch.stages.stage import Survey


def begin(job: Job, run: RunWriter) -> bool:
    """Begin a pass over the images that joined, if there are any; say in words what it leaves as it is.

    Raises DataError when the classes are no longer those the models were trained for.
    """
    known, rejected = run.manifest_table(), _rejected(run)
    listing = _listing(job, run.images, known)
    for line in _warnings(listing, known, rejected, job):
        progress.warn(run, "index", line)
    new = index.joined(listing, known, job)
    if not _is_news(new, rejected):
        return False
    terminal.say(f"{_images(new.num_rows)} joined the data")
    run.begin_pass()
    return True


def remaining(job: Job, found: Survey, run: Run) -> Survey:
    """What was found; of data that grow, less what passes before the next one, or the one that goes on, have had.

    Raises DataError as `begin` does.
    """
    ended = run.record["status"] == "complete"
    if not job.data.grows or (run.number == 1 and not ended):
        return found
    known = run.manifest_table()
    listing = _listing(job, open_roots(job.data.root), known)
    if not ended:
        known = known.filter(pc.is_in(known["image_id"], staging.earlier_ids(run, MANIFEST)))
    new = index.joined(listing, known, job)
    count = 0 if ended and not _is_news(new, _rejected(run)) else new.num_rows
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


def _rejected(run: Run) -> pa.Array:
    return run.store.read_table(QUARANTINE, schema=tables.QUARANTINE)["image_id"].combine_chunks()


def _is_news(new: pa.Table, rejected: pa.Array) -> bool:
    """Whether there is an image among those that joined that was not rejected before."""
    return pc.all(pc.is_in(new["image_id"], rejected)).as_py() is False


def _warnings(listing: pa.Table, known: pa.Table, rejected: pa.Array, job: Job) -> Iterator[str]:
    there = listing["image_id"].combine_chunks()
    others = listing.filter(pc.invert(pc.is_in(listing["split"], pa.array(job.attribution.splits))))
    before = pa.concat_arrays([known["image_id"].combine_chunks(), rejected])
    added = pc.sum(pc.invert(pc.is_in(others["image_id"], before))).as_py() or 0
    if added:
        yield (
            f"{_images(added)} joined the training data and {'is' if added == 1 else 'are'} not used: the models are"
            " those of the first pass"
        )
    gone = known.filter(pc.invert(pc.is_in(known["image_id"], there)))
    if gone.num_rows:
        first = gone["image_id"][0].as_py()
        are = "is" if gone.num_rows == 1 else "are"
        yield f"{_images(gone.num_rows)} {are} no longer there (the first: {first}); what is known of them stays"
    sizes = dict(zip(there.to_pylist(), listing["bytes"].to_pylist(), strict=True))
    rows = zip(known["image_id"].to_pylist(), known["bytes"].to_pylist(), strict=True)
    changed = [image_id for image_id, size in rows if sizes.get(image_id, size) != size]
    if changed:
        have = "has" if len(changed) == 1 else "have"
        count = _images(len(changed))
        yield f"{count} {have} changed (the first: {changed[0]}); their maps stay those of the earlier files"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
