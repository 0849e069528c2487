"""What the models say of images that joined the data after they were trained."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.models import evaluation, training
from pneumo_batch.execution import staging
from pneumo_batch.rundir.integrity import parquet_bytes
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages.workers import decode

_ROWS = 256  # images in memory


def extend(run: RunWriter) -> None:
    """Add the attributed images that it lacks to each variant's predictions table; one that vanished stays out."""
    attributed = run.maps_table([])["image_id"].combine_chunks()
    rows = run.manifest_table(looks=False)
    rows = rows.filter(pc.is_in(rows["image_id"], attributed))
    for variant in run.variants():
        known = run.predictions_table(variant)
        missing = staging.rows_without(rows, known["image_id"])
        if missing.num_rows:
            table = pa.concat_tables([known, *_predictions(run, variant, missing)])
            run.checksums.replace(f"models/{variant}/predictions.parquet", parquet_bytes(table))


def _predictions(run: Run, variant: str, rows: pa.Table) -> list[pa.Table]:
    model, preprocess = run.model(variant), run.preprocess(variant)
    found = []
    for start in range(0, rows.num_rows, _ROWS):
        part, pixels_NHW = _read(run, preprocess, rows.slice(start, _ROWS))
        for split in part["split"].unique().to_pylist():
            here_N = np.array(part["split"].to_pylist()) == split
            logits_NK = training.predict(model, preprocess, pixels_NHW[here_N]).numpy()
            found.append(evaluation.predictions(part.filter(pa.array(here_N)), {split: logits_NK}))
    return found


def _read(run: Run, preprocess: Preprocess, rows: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """The rows whose images can be read, sorted, and their pixels (N, H, W)."""
    kept, arrays = [], []
    rows = rows.sort_by("image_id")
    for position, row in enumerate(rows.to_pylist()):
        try:
            arrays.append(decode.read_pixels(run.images, row, preprocess))
            kept.append(position)
        except (OSError, ValueError):
            continue
    side = preprocess.size
    return rows.take(pa.array(kept, pa.int64())), np.array(arrays, np.uint8).reshape(-1, side, side)
