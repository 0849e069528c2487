"""The images of a training, decoded once on the cluster into files below `staging/` that workers map into memory.

A file holds the images of some rows of the manifest that follow each other, and its name tells which: the SHA-256 of
what they are and how they are decoded. In front stands the SHA-256 of the content, so that a torn or foreign file is
found and written again. Where the run lies on an object store, each machine has copies of the files that its workers
read. No torch at the top, whose import would cost every task seconds.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pneumo_batch.core import table_columns
from pneumo_batch.core.data.images import Preprocess, Split
from pneumo_batch.core.data.pixels import Pixels
from pneumo_batch.errors import DamagedError, DataError, unread
from pneumo_batch.execution import cluster, places
from pneumo_batch.rundir import integrity
from pneumo_batch.rundir.layout import STAGING
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store
from pneumo_batch.stages.workers.decode import read_pixels

FOLDER = f"{STAGING}/pixels"
_MOST_ROWS = 256  # of a file: what a task decodes at a time, and its progress
_MOST_BYTES = 64 * 2**20


class Decoded(NamedTuple):
    """The images of a split, and how often each of the 256 levels of gray occurs in them."""

    split: Split
    levels: np.ndarray


def decoded(rows: pa.Table, name: str, preprocess: Preprocess, run: Run) -> Decoded:
    """A split in the order of the sorted ids. The cluster writes the files that are not there yet, and whole.

    Raises DataError when an image can no longer be read: training without it would be another training.
    """
    chosen = _of_split(rows, name)
    files = Files.of(chosen, name, preprocess, run)

    def task(batch: pa.Table) -> dict[str, np.ndarray]:
        contents = (files.content(row["number"], row["films"]) for row in batch.to_pylist())
        return {"levels": np.stack([_levels(content, files.side) for content in contents])}

    levels = np.zeros(256, np.int64)
    if chosen.num_rows:
        dataset = ray.data.from_arrow(files.parts(chosen)).map_batches(task, batch_format="pyarrow", batch_size=None)
        for batch in dataset.iter_batches(batch_size=None, batch_format="numpy"):
            levels += np.sum(batch["levels"], axis=0, dtype=np.int64)
    return Decoded(Split(Pixels(files, range(chosen.num_rows)), table_columns.labels_of(chosen)), levels)


def moments(levels: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of pixels scaled to [0, 1], from how often each level occurs (256,)."""
    gray = np.arange(256) / 255.0
    mean = float(levels @ gray / levels.sum())
    return mean, float(np.sqrt(levels @ (gray - mean) ** 2 / levels.sum()))


def discard(run: Run) -> None:
    """Remove the files, and the copies that machines have of them."""
    run.store.remove(FOLDER)
    if not run.store.is_local:
        with contextlib.suppress(ray.exceptions.RayError):  # a machine that is lost takes its copies with it
            cluster.on_every_node(_discard_copies, run.path)


def bytes_of(images: int, size: int) -> int:
    """What the files of so many images take."""
    return images * size**2


@dataclass(frozen=True)
class Files:
    """The files of a split, as `core.data.pixels.Parts`."""

    run: Run
    split: str
    preprocess: Preprocess
    names: tuple[str, ...]
    total: int  # images
    rows: int

    @classmethod
    def of(cls, chosen: pa.Table, split: str, preprocess: Preprocess, run: Run) -> "Files":
        """`chosen` are the rows of the split, sorted."""
        rows = max(1, min(_MOST_ROWS, _MOST_BYTES // preprocess.size**2))
        digests, starts = chosen["sha256"], range(0, chosen.num_rows, rows)
        names = tuple(_name(digests.slice(start, rows).to_pylist(), preprocess) for start in starts)
        return cls(run, split, preprocess, names, chosen.num_rows, rows)

    @property
    def side(self) -> int:
        return self.preprocess.size

    def parts(self, chosen: pa.Table) -> list[pa.Table]:
        """For each file its number and films in one row, which Ray cannot divide between tasks."""
        films = chosen.select(["image_id", "sha256"])
        return [
            pa.Table.from_pylist([{"number": number, "films": films.slice(number * self.rows, self.rows).to_pylist()}])
            for number in range(len(self.names))
        ]

    def open(self, number: int) -> np.ndarray:
        """Maps a file; where it is not on this machine, or torn, it is fetched or made again."""
        place = _place(self.run, self.names[number])
        if not place.exists() or place.stat().st_size != integrity.DIGEST_BYTES + self._bytes(number):
            content = self.content(number, self._films(number))
            if not self.run.store.is_local:
                Store(place.parent).write_bytes(place.name, integrity.with_digest(content))
        return _mapped(place, integrity.DIGEST_BYTES + self._bytes(number)).reshape(-1, self.side, self.side)

    def content(self, number: int, films: Iterable[Mapping[str, str]]) -> bytes:
        """The pixels of a file, which is written where it is not there, or not what was written."""
        name, store = self.names[number], self.run.store
        try:
            found = integrity.without_digest(name, store.read_bytes(name))
        except (FileNotFoundError, DamagedError):
            found = b""
        if len(found) != self._bytes(number):
            found = b"".join(_decoded(row, self.preprocess, self.run) for row in films)
            store.write_bytes(name, integrity.with_digest(found))
        return found

    def _count(self, number: int) -> int:
        return min(self.rows, self.total - number * self.rows)

    def _bytes(self, number: int) -> int:
        return bytes_of(self._count(number), self.side)

    def _films(self, number: int) -> Iterator[Mapping[str, str]]:
        rows = _of_split(self.run.manifest_table(["image_id", "sha256", "split"]), self.split)
        yield from rows.select(["image_id", "sha256"]).slice(number * self.rows, self.rows).to_pylist()


def _mapped(place: Path, size: int) -> np.ndarray:
    """The content of a file of `size` bytes, not to be written to.

    By torch, which closes the file: Python and numpy keep it open, and a million films are 4 000 files.
    """
    import torch

    content = torch.from_file(str(place), shared=False, size=size, dtype=torch.uint8).numpy()[integrity.DIGEST_BYTES :]
    content.flags.writeable = False
    return content


def _of_split(rows: pa.Table, name: str) -> pa.Table:
    """The rows of a split, sorted: what tells their pixels, and their labels."""
    needed = {"image_id", "sha256", "split", "label", *table_columns.label_columns(rows.column_names)}
    rows = rows.select([column for column in rows.column_names if column in needed])
    return rows.filter(pc.equal(rows["split"], name)).sort_by("image_id")


def _name(digests: list[str], preprocess: Preprocess) -> str:
    what = (preprocess.size, preprocess.pad, preprocess.resize, *digests)
    return f"{FOLDER}/{hashlib.sha256(repr(what).encode()).hexdigest()}"


def _decoded(row: Mapping[str, str], preprocess: Preprocess, run: Run) -> bytes:
    try:
        return read_pixels(run.images, row, preprocess).tobytes()
    except (OSError, ValueError) as error:
        raise DataError(f"{row['image_id']}: no longer readable since the index: {unread(error)}") from error


def _levels(content: bytes, side: int) -> np.ndarray:
    counts = np.zeros(256, np.int64)
    for pixels_P in np.frombuffer(content, np.uint8).reshape(-1, side * side):  # all at once would take eight copies
        counts += np.bincount(pixels_P, minlength=256)
    return counts


# ------------------------------------------------------------------------------------------- what a machine has of them


def _place(run: Run, name: str) -> Path:
    """Where a file lies that this machine can map."""
    if run.store.is_local:
        return Path(run.store.path(name))
    return _copies(run.path) / name.rpartition("/")[2]


def _copies(run_path: str) -> Path:
    """A folder of this machine for the copies of a run; a run that goes on finds what is left of them."""
    return places.own_folder() / hashlib.sha256(run_path.encode()).hexdigest()[:16]


def _discard_copies(run_path: str) -> None:
    shutil.rmtree(_copies(run_path), ignore_errors=True)
