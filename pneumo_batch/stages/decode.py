"""Decoded images: read and prepared once on the cluster, as training and comparing need them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pneumo_batch.config import Job
from pneumo_batch.core import manifest
from pneumo_batch.core.images import Preprocess
from pneumo_batch.core.training import Split
from pneumo_batch.run import Run

_ROWS_PER_TASK = 256


def split(rows: pa.Table, name: str, job: Job, run: Run) -> Split:
    """All images of a split, in the order of the sorted ids.

    Raises DataError when one can no longer be read: training without it would be another training.
    """
    chosen = rows.filter(pc.equal(rows["split"], name)).sort_by("image_id")
    size = job.data.image_size
    pixels_NHW = np.empty((chosen.num_rows, size, size), np.uint8)
    if chosen.num_rows:
        _decode(chosen, Preprocess(size=size, pad=job.data.pad), run, pixels_NHW)
    return Split(pixels_NHW, chosen["label"].to_numpy().astype(np.int64))


def _decode(chosen: pa.Table, preprocess: Preprocess, run: Run, pixels_NHW: np.ndarray) -> None:
    images = run.images

    def decode(batch: pa.Table) -> dict[str, np.ndarray]:
        arrays = []
        for image_id in batch["image_id"].to_pylist():
            try:
                arrays.append(preprocess.pixels(images.read_bytes(image_id)))
            except (OSError, ValueError) as error:
                raise manifest.DataError(f"{image_id}: no longer readable since the index: {error}") from error
        return {"position": batch["position"].to_numpy(), "pixels": np.stack(arrays)}

    table = chosen.select(["image_id"]).append_column("position", pa.array(np.arange(chosen.num_rows)))
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
