"""Does a table of a run account for every image? Read from the files themselves, not from the counts of a record."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core import tables
from pneumo_batch.rundir.layout import QUARANTINE
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store

Ids: TypeAlias = pa.Array | pa.ChunkedArray  # texts


class ImbalanceError(RuntimeError):
    """Tables that do not account for every image."""


@dataclass(frozen=True)
class Tally:
    """How many rows of a table each image has: `ids`, each once, and their `rows` (N,) int64.

    In Arrow's memory: a million ids are 100 MB more as objects of Python, and as much again in a set of them.
    """

    ids: pa.Array
    rows: np.ndarray

    @classmethod
    def of(cls, ids: Ids) -> "Tally":
        """Of the ids of rows, encoded or not."""
        counts = pc.value_counts(ids)
        return cls(counts.field("values").cast(pa.string()), counts.field("counts").to_numpy())

    @classmethod
    def joined(cls, parts: Iterable["Tally"]) -> "Tally":
        """Of all of them; an image may be in several."""
        parts = [cls.of(pa.array([], pa.string())), *parts]
        ids = pa.chunked_array([part.ids for part in parts], pa.string())
        rows = pa.chunked_array([pa.array(part.rows) for part in parts])
        every = pa.table({"id": ids, "rows": rows}).group_by("id", use_threads=False).aggregate([("rows", "sum")])
        return cls(every["id"].combine_chunks(), every["rows_sum"].to_numpy())

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, ids: Ids) -> np.ndarray:
        """(N,) int64: the rows of these images, 0 of one that is not here."""
        place = pc.index_in(ids, self.ids).fill_null(len(self.ids)).to_numpy()
        return np.append(self.rows, 0)[place]

    def only(self, ids: Ids) -> "Tally":
        """Of these images alone, as far as they are here."""
        return self._where(pc.is_in(self.ids, ids))

    def without(self, ids: Ids) -> "Tally":
        """Of the other images."""
        return self._where(pc.invert(pc.is_in(self.ids, ids)))

    def _where(self, chosen: pa.Array) -> "Tally":
        return Tally(self.ids.filter(chosen), self.rows[chosen.to_numpy(zero_copy_only=False)])


def ids_without(ids: Ids, others: Ids) -> Ids:
    """The ids that are not among the others, in their order."""
    return ids.filter(pc.invert(pc.is_in(ids, others)))


def rows_by_image(store: Store, name: str) -> Tally:
    """Rows of each image in one file. Raises DamagedError."""
    return Tally.of(store.read_texts(name, "image_id"))


def check_balance(wanted: Ids, found: Tally, excused: Iterable[str], table: str, rows: int = 1) -> None:
    """Every wanted image has its `rows` rows in the table, or is excused. Raises ImbalanceError."""
    wanted = pc.unique(wanted)
    lost = int((found.rows_of(ids_without(wanted, pa.array(list(excused), pa.string()))) < rows).sum())
    doubled = int((found.rows > rows).sum())
    strange = len(found.without(wanted))
    if lost or doubled or strange:
        raise ImbalanceError(
            f"the {table} table does not balance with the manifest: {lost} images missing, {doubled} too often, "
            f"{strange} unknown"
        )


def tally(run: Run, folder: str) -> Tally:
    """Rows of each image in a table. Raises DamagedError."""
    return Tally.joined(rows_by_image(run.store, name) for name in run.store.files(folder, ".parquet"))


def quarantined(run: Run, stage: str) -> list[str]:
    """Images that a stage rejected."""
    rows = run.store.read_table(QUARANTINE, schema=tables.QUARANTINE)
    return rows.filter(pc.equal(rows["stage"], stage))["image_id"].to_pylist()
