"""Tables in the making: Ray writes files below `staging/`, and the folder becomes the table once it is whole.

Ray's Parquet writer is not atomic and a killed run leaves torn files: a file counts only if its footer can be read.
"""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray.data

from pneumo_batch.run import STAGING, Run
from pneumo_batch.storage import Store


def finished_ids(run: Run, table: str) -> list[str]:
    """Image ids in the complete files of this pass, staged or in the table, with repeats. Torn files are removed."""
    ids: list[str] = []
    for name in [*run.store.files(f"{STAGING}/{table}", ".parquet"), *run.files_of_pass(table)]:
        try:
            ids += _ids(run.store, name)
        except (pa.ArrowInvalid, OSError):
            run.store.remove(name)
    return ids


def earlier_ids(run: Run, table: str) -> list[str]:
    """Image ids that a table has from the passes before this one, with repeats."""
    return [image_id for name in run.files_of_pass(table, earlier=True) for image_id in _ids(run.store, name)]


def _ids(store: Store, name: str) -> list[str]:
    return pq.read_table(store.path(name), columns=["image_id"], filesystem=store.fs)["image_id"].to_pylist()


def without(rows: pa.Table, ids: list[str]) -> pa.Table:
    """The rows whose `image_id` is not among `ids`."""
    return rows.filter(pc.invert(pc.is_in(rows["image_id"], pa.array(ids, pa.string()))))


def write(dataset: ray.data.Dataset, run: Run, table: str, dictionary: list[str]) -> None:
    """Write a data set as files of a staged table; `dictionary` names the columns that repeat their values."""
    folder = run.store.path(f"{STAGING}/{table}")
    if not run.store.is_object_store:
        run.store.fs.create_dir(folder, recursive=True)
    dataset.write_parquet(folder, filesystem=run.store.fs, compression="zstd", use_dictionary=dictionary)


def check_balance(wanted: list[str], found: list[str], excused: list[str], table: str) -> None:
    """Every wanted image stands in the table once, or is excused. Raises RuntimeError: it would be our own fault."""
    doubled = len(found) - len(set(found))
    lost = set(wanted) - set(found) - set(excused)
    strange = set(found) - set(wanted)
    if doubled or lost or strange:
        raise RuntimeError(
            f"the {table} table does not balance with the manifest: {len(lost)} images missing, {doubled} twice, "
            f"{len(strange)} unknown"
        )
