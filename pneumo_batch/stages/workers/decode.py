"""Decoded images: read and prepared on the cluster. No torch here, whose import would cost every task seconds."""

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pneumo_batch.core import tables
from pneumo_batch.core.data.images import Preprocess, Split
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import DataError, RejectedImage
from pneumo_batch.execution import watchdog
from pneumo_batch.execution.board import Board
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.layout import STAGING
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store

REJECTED = f"{STAGING}/rejected"
_ROWS_PER_TASK = 256


def split(rows: pa.Table, name: str, job: Job, run: Run) -> Split:
    """All images of a split, in the order of the sorted ids.

    Raises DataError when one can no longer be read: training without it would be another training.
    """
    chosen = rows.filter(pc.equal(rows["split"], name)).sort_by("image_id")
    size = job.data.image_size
    pixels_NHW = np.empty((chosen.num_rows, size, size), np.uint8)
    if chosen.num_rows:
        _decode(chosen, Preprocess(size=size, pad=job.data.pad, resize=job.data.resize), run, pixels_NHW)
    return Split(pixels_NHW, tables.labels_of(chosen))


def _decode(chosen: pa.Table, preprocess: Preprocess, run: Run, pixels_NHW: np.ndarray) -> None:
    images = run.images

    def decode(batch: pa.Table) -> dict[str, np.ndarray]:
        arrays = []
        for row in batch.select(["image_id", "sha256"]).to_pylist():
            try:
                arrays.append(read_pixels(images, row, preprocess))
            except (OSError, ValueError) as error:
                raise DataError(f"{row['image_id']}: no longer readable since the index: {error}") from error
        return {"position": batch["position"].to_numpy(), "pixels": np.stack(arrays)}

    table = chosen.select(["image_id", "sha256"]).append_column("position", pa.array(np.arange(chosen.num_rows)))
    tasks = [table.slice(start, _ROWS_PER_TASK) for start in range(0, table.num_rows, _ROWS_PER_TASK)]
    dataset = ray.data.from_arrow(tasks).map_batches(decode, batch_format="pyarrow", batch_size=None)
    for batch in dataset.iter_batches(batch_size=None, batch_format="numpy"):
        pixels_NHW[batch["position"]] = batch["pixels"]


def moments(pixels_NHW: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over all pixels scaled to [0, 1], from the histogram: no float copy."""
    counts = np.zeros(256, np.int64)
    for pixels_HW in pixels_NHW:
        counts += np.bincount(pixels_HW.ravel(), minlength=256)
    levels = np.arange(256) / 255.0
    mean = float(counts @ levels / counts.sum())
    return mean, float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()))


def decoder(run: Run, variant: str, board: Board) -> Callable[[pa.Table], pa.Table]:
    """A function that adds the column `pixels` to manifest rows, as a variant's network takes them.

    An image that cannot be read, or that a variant has no number for, leaves the batch and a note why (`rejected`).
    """
    store, images, preprocess, unanswered = run.store, run.images, run.preprocess(variant), run.unanswered()

    def decode(batch: pa.Table) -> pa.Table:
        with watchdog.batch(board, batch["image_id"].to_pylist()) as guarded:

            def begin(image_id: str) -> None:
                guarded.begin(image_id)
                if image_id in unanswered:
                    raise RejectedImage(unanswered[image_id])

            return decode_task(batch, images, preprocess, store, begin)

    return decode


def decode_task(
    batch: pa.Table,
    images: Roots,
    preprocess: Preprocess,
    store: Store,
    before: Callable[[str], None] = lambda _image_id: None,
) -> pa.Table:
    """One batch of `decoder`; `before` is called with each id and may raise RejectedImage."""
    kept, arrays = [], []
    for position, row in enumerate(batch.to_pylist()):
        try:
            before(row["image_id"])
            arrays.append(read_pixels(images, row, preprocess))
            kept.append(position)
        except (OSError, ValueError) as error:
            reject(store, row, str(error))
    names = [field.name for field in tables.IDENTITY] + ["split"]
    return (
        batch.take(pa.array(kept, pa.int64())).select(names).append_column("pixels", _column(arrays, preprocess.size))
    )


def _column(arrays: list[np.ndarray], side: int) -> pa.FixedShapeTensorArray:
    """Pixels (side, side) of each image; Arrow makes no such column of an empty array."""
    if arrays:
        return pa.FixedShapeTensorArray.from_numpy_ndarray(np.stack(arrays))
    kind = pa.fixed_shape_tensor(pa.uint8(), (side, side))
    return pa.ExtensionArray.from_storage(kind, pa.array([], kind.storage_type))


def read_pixels(images: Roots, row: Mapping[str, str], preprocess: Preprocess) -> np.ndarray:
    """Pixels of a manifest row's image; raises OSError or ValueError where it is not what was indexed."""
    data = images.read_bytes(row["image_id"])
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise ValueError("changed since it was indexed")
    return preprocess.pixels(data)


def attributed_pixels(images: Roots, row: Mapping[str, str], preprocess: Preprocess) -> np.ndarray:
    """As `read_pixels`, of an image that has maps. Raises DataError: its maps would be compared with another image."""
    try:
        return read_pixels(images, row, preprocess)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{row['image_id']}: no longer readable since attributed: {error}; put the file back as it was, then the"
            " same command continues the run"
        ) from error


def reject(store: Store, row: Mapping[str, str], reason: str) -> None:
    """Note that an image is left out of the maps; `row` has its id, split and class."""
    entry = {name: row[name] for name in ("image_id", "split", "class_name")}
    name = hashlib.sha256(row["image_id"].encode()).hexdigest()[:32]  # a retried task writes the same file again
    store.write_json(f"{REJECTED}/{name}.json", {**entry, "stage": "attribute", "reason": reason})


def rejected(store: Store) -> list[dict[str, str]]:
    """Quarantine rows of the images that could not be read or explained while attributing."""
    return [store.read_json(name) for name in store.files(REJECTED, ".json")]
