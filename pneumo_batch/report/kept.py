"""Films of the gallery as an earlier report drew them: a run outlives its images, and its gallery should too."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from pneumo_batch.report.figures import overlays
from pneumo_batch.report.source import Source
from pneumo_batch.rundir.layout import REPORT

_SIDE = 224
_SCHEMA = pa.schema([pa.field("image_id", pa.string(), nullable=False), pa.field("jpeg", pa.binary(), nullable=False)])
_FILE = f"{REPORT.rpartition('/')[0]}/films.parquet"


def films(source: Source, image_ids: list[str]) -> tuple[dict[str, bytes], str | None]:
    """JPEG files by id, and what to say of them: as read now and kept beside the page, else those kept before."""
    found = source.films.read(image_ids, _SIDE)
    if source.films.problem is None:
        encoded = _encoded(found)
        _keep(source, encoded)
        return encoded, None
    kept = _kept(source)
    shown = {image_id: jpeg for image_id, jpeg in {**kept, **_encoded(found)}.items() if image_id in set(image_ids)}
    if not kept:
        return shown, source.films.problem
    _keep(source, kept)  # again: a report lists the files that it writes as its own
    return shown, f"{source.films.problem} The films here are those of an earlier report of this run."


def _keep(source: Source, jpegs: Mapping[str, bytes]) -> None:
    table = {"image_id": list(jpegs), "jpeg": list(jpegs.values())}
    source.run.store.write_table(_FILE, pa.table(table, schema=_SCHEMA))


def _kept(source: Source) -> dict[str, bytes]:
    if not source.run.store.exists(_FILE):
        return {}
    table = source.run.store.read_table(_FILE, schema=_SCHEMA)
    return dict(zip(table["image_id"].to_pylist(), table["jpeg"].to_pylist(), strict=True))


def _encoded(found: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    return {image_id: overlays.jpeg(film_HW) for image_id, film_HW in found.items()}
