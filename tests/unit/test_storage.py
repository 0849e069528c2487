import pyarrow as pa
import pytest

from pneumo_batch.storage import Store


def test_a_write_that_fails_leaves_the_old_content_and_no_rest(tmp_path):
    store = Store(tmp_path)
    store.write_json("record.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        store.write_json("record.json", {"a": float("nan")})
    assert store.read_json("record.json") == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_readers_of_a_folder_skip_hidden_and_unfinished_files(tmp_path):
    store = Store(tmp_path)
    table = pa.table({"x": [1, 2]})
    store.write_table("t/part-0.parquet", table)
    (tmp_path / "t" / ".part-1.parquet.tmp").write_bytes(b"torn")
    (tmp_path / "t" / "_part-2.parquet").write_bytes(b"torn")
    assert store.files("t", ".parquet") == ["t/part-0.parquet"]
    assert store.read_table("t").equals(table)


def test_moving_replaces_what_is_there(tmp_path):
    store = Store(tmp_path)
    store.write_bytes("staging/t/new", b"new")
    store.write_bytes("t/old", b"old")
    store.move("staging/t", "t")
    assert store.files("t") == ["t/new"]
    assert not store.exists("staging/t")
    store.remove("t")
    store.remove("t")
    assert not store.exists("t")


def test_a_uri_nothing_opens_is_one_line():
    with pytest.raises(ValueError, match="nothing://x") as caught:
        Store("nothing://x")
    assert "\n" not in str(caught.value)
