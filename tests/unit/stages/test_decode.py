"""Images on their way to the models: what cannot be read is a row of the quarantine."""

import hashlib

import pyarrow as pa
from pyarrow import fs as pafs

from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.rundir.storage import Store
from pneumo_batch.stages.workers import decode


def test_a_file_that_is_gone_is_told_without_its_place(tmp_path):
    """The quarantine is given away with a run, and reasons are counted: no path, and one reason for all such files."""
    rows = [
        {"image_id": f"test/A/{name}.png", "split": "test", "class_name": "A", "label": 0, "patient_id": name}
        for name in ("gone", "too")
    ]
    batch = pa.Table.from_pylist([{**row, "sha256": hashlib.sha256(b"").hexdigest()} for row in rows])
    images, store = Roots.one(pafs.LocalFileSystem(), str(tmp_path / "films")), Store(tmp_path / "run")
    assert decode.decode_task(batch, images, Preprocess(32), store).num_rows == 0
    assert {row["reason"] for row in decode.rejected(store)} == {"cannot be read: No such file or directory"}
