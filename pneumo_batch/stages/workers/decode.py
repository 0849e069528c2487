"""Decoded images: read and prepared on the cluster. No torch here, whose import would cost every task seconds."""

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from pneumo_batch.core import tables
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import UNREAD, DataError, RejectedImage, unread
from pneumo_batch.execution import watchdog
from pneumo_batch.execution.board import Board
from pneumo_batch.rundir.integrity import sha256
from pneumo_batch.rundir.layout import STAGING
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store

REJECTED = f"{STAGING}/rejected"
_CHANGED = "changed since it was indexed"


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
            reject(store, row, unread(error))
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
    if sha256(data) != row["sha256"]:
        raise ValueError(_CHANGED)
    return preprocess.pixels(data)


def attributed_pixels(images: Roots, row: Mapping[str, str], preprocess: Preprocess) -> np.ndarray:
    """As `read_pixels`, of an image that has maps. Raises DataError: its maps would be compared with another image."""
    try:
        return read_pixels(images, row, preprocess)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{row['image_id']}: no longer readable since attributed: {unread(error)}; put the file back as it was,"
            " then the same command continues the run"
        ) from error


def was_lost(reason: str) -> bool:
    """Whether an image was rejected for this reason because its file was not there, or another: it can be put back."""
    return reason == _CHANGED or reason.startswith(UNREAD)


def reject(store: Store, row: Mapping[str, str], reason: str) -> None:
    """Note that an image is left out of the maps; `row` has its id, split and class."""
    entry = {name: row[name] for name in ("image_id", "split", "class_name")}
    name = sha256(row["image_id"].encode())[:32]  # a retried task writes the same file again
    store.write_json(f"{REJECTED}/{name}.json", {**entry, "stage": "attribute", "reason": reason})


def rejected(store: Store) -> list[dict[str, str]]:
    """Quarantine rows of the images that could not be read or explained while attributing."""
    return [store.read_json(name) for name in store.files(REJECTED, ".json")]
