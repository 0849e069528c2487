"""Does a table of a run account for every image? Read from the files themselves, not from the counts of a record."""

from collections import Counter
from collections.abc import Iterable

import pyarrow.compute as pc

from pneumo_batch.core import tables
from pneumo_batch.rundir.layout import QUARANTINE
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store


class ImbalanceError(RuntimeError):
    """Tables that do not account for every image."""


def rows_by_image(store: Store, name: str) -> Counter[str]:
    """Rows of each image in one file. Raises DamagedError."""
    counts = pc.value_counts(store.read_texts(name, "image_id"))
    return Counter(dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)))


def check_balance(
    wanted: Iterable[str], found: Counter[str], excused: Iterable[str], table: str, rows: int = 1
) -> None:
    """Every wanted image has its `rows` rows in the table, or is excused. Raises ImbalanceError."""
    wanted, excused = set(wanted), set(excused)
    lost = sum(found[image_id] < rows for image_id in wanted - excused)
    doubled = sum(count > rows for count in found.values())
    strange = len(found.keys() - wanted)
    if lost or doubled or strange:
        raise ImbalanceError(
            f"the {table} table does not balance with the manifest: {lost} images missing, {doubled} too often, "
            f"{strange} unknown"
        )


def tally(run: Run, folder: str) -> Counter[str]:
    """Rows of each image in a table. Raises DamagedError."""
    found: Counter[str] = Counter()
    for name in run.store.files(folder, ".parquet"):
        found.update(rows_by_image(run.store, name))  # += would go through all images for every file
    return found


def quarantined(run: Run, stage: str) -> list[str]:
    """Images that a stage rejected."""
    rows = run.store.read_table(QUARANTINE, schema=tables.QUARANTINE)
    return rows.filter(pc.equal(rows["stage"], stage))["image_id"].to_pylist()
