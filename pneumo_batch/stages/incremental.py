"""Runs whose data grow: what has joined the data since the last pass, and what else has changed there."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch import terminal
from pneumo_batch.core import tables
from pneumo_batch.core.data import manifest
from pneumo_batch.errors import DataError
from pneumo_batch.execution import progress
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.layout import QUARANTINE
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import index


def begin(job: Job, run: RunWriter) -> bool:
    """Begin a pass over the images that joined, if there are any; say in words what it leaves as it is.

    Raises DataError when the classes are no longer those the models were trained for.
    """
    found = index.discover(job, run.images)
    listing, classes = found.listing, found.classes
    known = run.manifest_table()
    expected = manifest.class_names(known)
    if classes != expected:
        raise DataError(
            f"{', '.join(job.data.roots)}: the classes are {', '.join(classes)} now; this run knows "
            f"{', '.join(expected)}"
        )
    rejected = run.store.read_table(QUARANTINE, schema=tables.QUARANTINE)["image_id"].combine_chunks()
    for line in _warnings(listing, known, rejected, job):
        progress.warn(run, "index", line)
    new = index.joined(listing, known, job)
    if pc.all(pc.is_in(new["image_id"], rejected)).as_py() is not False:  # nothing, or what was rejected before
        return False
    terminal.say(f"{_images(new.num_rows)} joined the data")
    run.begin_pass()
    return True


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
