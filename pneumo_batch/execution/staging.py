"""Tables in the making: Ray writes files below `staging/`, and the folder becomes the table once it is whole.

A file is there when it is whole, and its name ends with the SHA-256 of its content: Ray's own Parquet writer leaves
torn files, and nothing to tell a damaged one by.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from ray.data.block import Block, BlockAccessor
from ray.data.datasource import Datasink

from pneumo_batch.errors import DamagedError
from pneumo_batch.rundir.accounts import Ids, Tally, rows_by_image
from pneumo_batch.rundir.layout import STAGING
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store
from pneumo_batch.rundir.writer import RunWriter


def tally(run: RunWriter, table: str) -> Tally:
    """Rows of each image in the whole files of this pass, staged or in the table. Damaged ones are removed."""
    return Tally.joined(_whole(run, [*run.staged(table), *run.files_of_pass(table)]))


def _whole(run: RunWriter, names: Iterable[str]) -> Iterator[Tally]:
    for name in names:
        try:
            yield rows_by_image(run.store, name)
        except DamagedError:
            run.store.remove(name)


def earlier_ids(run: Run, table: str) -> pa.Array:
    """Images that a table has from the passes before this one."""
    return Tally.joined(rows_by_image(run.store, name) for name in run.files_of_pass(table, earlier=True)).ids


def rows_without(rows: pa.Table, ids: Ids) -> pa.Table:
    """The rows whose `image_id` is not among `ids`."""
    return rows.filter(pc.invert(pc.is_in(rows["image_id"], ids)))


def write(dataset: ray.data.Dataset, run: Run, table: str, dictionary: list[str]) -> None:
    """Write a data set as files of a staged table; `dictionary` names the columns that repeat their values."""
    dataset.write_datasink(_SealedParquet(run.store, f"{STAGING}/{table}/{uuid.uuid4().hex[:12]}", dictionary))


class _SealedParquet(Datasink[None]):
    """What one task of Ray Data holds becomes one file; a task that is repeated writes it again."""

    def __init__(self, store: Store, stem: str, dictionary: Sequence[str]):
        self.store, self.stem, self.dictionary = store, stem, dictionary

    def write(self, blocks: Iterable[Block], ctx: Any) -> None:
        parts = [part for block in blocks if (part := BlockAccessor.for_block(block).to_arrow()).num_rows]
        if parts:
            self.store.write_sealed(f"{self.stem}-{ctx.task_idx:06}", pa.concat_tables(parts), self.dictionary)
