"""Rows of each image, counted from files however they were written."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pneumo_batch.errors import DamagedError
from pneumo_batch.rundir.accounts import rows_by_image
from pneumo_batch.rundir.storage import Store

IDS = ["b", "a", "b", "c", "b", "a", "d"]


@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 100])  # of a group; every group has a dictionary of its own
def test_rows_are_counted_over_all_groups_of_a_file(tmp_path, dictionary, rows):
    table = pa.table({"label": range(len(IDS)), "image_id": IDS})
    pq.write_table(table, tmp_path / "t.parquet", use_dictionary=dictionary, row_group_size=rows)
    found = rows_by_image(Store(tmp_path), "t.parquet")
    assert dict(zip(found.ids.to_pylist(), found.rows, strict=True)) == {"b": 3, "a": 2, "c": 1, "d": 1}


def test_a_file_without_rows_has_none(tmp_path):
    pq.write_table(pa.table({"image_id": pa.array([], pa.string())}), tmp_path / "t.parquet")
    assert len(rows_by_image(Store(tmp_path), "t.parquet")) == 0


@pytest.mark.parametrize("dictionary", [True, False])
def test_one_flipped_bit_of_the_ids_is_damage(tmp_path, dictionary):
    store = Store(tmp_path)
    stem = "t-" if dictionary else "u-"
    store.write_sealed(stem, pa.table({"image_id": IDS}), dictionary=["image_id"] if dictionary else [])
    path = next(tmp_path.iterdir())
    column = pq.read_metadata(path).row_group(0).column(0)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=path.name):
        rows_by_image(store, path.name)
