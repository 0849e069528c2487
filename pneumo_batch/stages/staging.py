"""Tables in the making: Ray writes files below `staging/`, and the folder becomes the table once it is whole.

Ray's Parquet writer is not atomic and a killed run leaves torn files: a file counts only if its footer can be read.
"""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray.data

from pneumo_batch.layout import STAGING
from pneumo_batch.run import Run
from pneumo_batch.storage import Store


def tally(run: Run, table: str) -> Counter[str]:
    """Rows of each image in the complete files of this pass, staged or in the table. Torn files are removed."""
    found: Counter[str] = Counter()
    for name in [*run.store.files(f"{STAGING}/{table}", ".parquet"), *run.files_of_pass(table)]:
        try:
            found += rows_by_image(run.store, name)
        except (pa.ArrowInvalid, OSError):
            run.store.remove(name)
    return found


def earlier_ids(run: Run, table: str) -> set[str]:
    """Images that a table has from the passes before this one."""
    return {image_id for name in run.files_of_pass(table, earlier=True) for image_id in rows_by_image(run.store, name)}


def rows_by_image(store: Store, name: str) -> Counter[str]:
    """Rows of each image in one file; raises ArrowInvalid or OSError where it is not whole."""
    ids = pq.read_table(store.path(name), columns=["image_id"], filesystem=store.fs)["image_id"]
    return Counter({item["values"]: item["counts"] for item in pc.value_counts(ids).to_pylist()})


def without(rows: pa.Table, ids: Iterable[str]) -> pa.Table:
    """The rows whose `image_id` is not among `ids`."""
    return rows.filter(pc.invert(pc.is_in(rows["image_id"], pa.array(list(ids), pa.string()))))


def write(dataset: ray.data.Dataset, run: Run, table: str, dictionary: list[str]) -> None:
    """Write a data set as files of a staged table; `dictionary` names the columns that repeat their values."""
    folder = run.store.path(f"{STAGING}/{table}")
    if not run.store.is_object_store:
        run.store.fs.create_dir(folder, recursive=True)
    dataset.write_parquet(folder, filesystem=run.store.fs, compression="zstd", use_dictionary=dictionary)


def check_balance(
    wanted: Iterable[str], found: Counter[str], excused: Iterable[str], table: str, rows: int = 1
) -> None:
    """Every wanted image has its `rows` rows in the table, or is excused. Raises RuntimeError."""
    wanted, excused = set(wanted), set(excused)
    lost = sum(found[image_id] < rows for image_id in wanted - excused)
    doubled = sum(count > rows for count in found.values())
    strange = len(found.keys() - wanted)
    if lost or doubled or strange:
        raise RuntimeError(
            f"the {table} table does not balance with the manifest: {lost} images missing, {doubled} too often, "
            f"{strange} unknown"
        )
