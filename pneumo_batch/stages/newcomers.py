"""What joins a run whose data grow: images that are new, and those rejected before that can be read now."""

import functools
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import RejectedImage
from pneumo_batch.execution import cluster, culprits, local_pool
from pneumo_batch.execution.staging import rows_without
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.integrity import sha256
from pneumo_batch.stages.workers import decode

_LOOKS = 1000  # rejected images of a stage that are opened to see whether a pass is worth it: some seconds


class Newcomers(NamedTuple):
    """Images of the splits to attribute that the run does not know by their ids."""

    rows: pa.Table  # of the listing: those to take up
    moved: dict[str, str]  # the others by their ids: images of the run, and the ids it knows them by


def find(listing: pa.Table, known: pa.Table, job: Job, images: Roots) -> Newcomers:
    """What is listed and not in the manifest. An image under another name or class would count twice: it has moved."""
    fresh = rows_without(listing, known["image_id"])
    fresh = fresh.filter(pc.is_in(fresh["split"], pa.array(job.attribution.splits)))
    moved = _moved(fresh, rows_without(known, listing["image_id"]), images)
    return Newcomers(rows_without(fresh, pa.array(list(moved), pa.string())), moved)


def _moved(fresh: pa.Table, gone: pa.Table, images: Roots) -> dict[str, str]:
    """Of the fresh images those with the bytes of one that is gone: their ids, and the ids that they had."""
    same_size = fresh.filter(pc.is_in(fresh["bytes"], gone["bytes"]))  # no others are read
    gone = gone.filter(pc.is_in(gone["bytes"], same_size["bytes"]))
    former = dict(zip(gone["sha256"].to_pylist(), gone["image_id"].to_pylist(), strict=True))
    digests = {image_id: _sha256(images, image_id) for image_id in same_size["image_id"].to_pylist()}
    return {image_id: former[digest] for image_id, digest in digests.items() if digest in former}


def one_was_repaired(rejected: pa.Table, new: pa.Table, known: pa.Table, images: Roots) -> bool:
    """Whether some image that an earlier pass rejected (schema QUARANTINE) can be read now."""
    return _one_opens(rejected, new, images) or _one_is_back(rejected, known, images)


def _one_opens(rejected: pa.Table, new: pa.Table, images: Roots) -> bool:
    """Of those that could not be indexed. What a worker died of or hung on would only take its time again."""
    harmless = [row["image_id"] for row in _of_stage(rejected, "index") if not culprits.gave_up(row["reason"])]
    rows = new.filter(pc.is_in(new["image_id"], pa.array(harmless, pa.string()))).slice(0, _LOOKS)
    inspect = functools.partial(manifest.inspect_batch, roots=images)
    return any(good.num_rows for good, _bad in local_pool.each_block(rows, inspect, cpus=cluster.usable_cpus()))


def _one_is_back(rejected: pa.Table, known: pa.Table, images: Roots) -> bool:
    """Of those that were indexed, and then lost or changed before they were explained."""
    lost = [row["image_id"] for row in _of_stage(rejected, "attribute") if decode.was_lost(row["reason"])]
    rows = known.filter(pc.is_in(known["image_id"], pa.array(lost, pa.string()))).slice(0, _LOOKS)
    return any(_sha256(images, row["image_id"]) == row["sha256"] for row in rows.to_pylist())


def _of_stage(rejected: pa.Table, stage: str) -> list[dict[str, str]]:
    return rejected.filter(pc.equal(rejected["stage"], stage)).to_pylist()


def _sha256(images: Roots, image_id: str) -> str | None:
    """Of an image's file; None where it cannot be read."""
    try:
        return sha256(images.read_bytes(image_id))
    except (OSError, RejectedImage):
        return None
