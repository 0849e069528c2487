import os
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pneumo_batch.errors import DamagedError, JobError, RunBusyError
from pneumo_batch.rundir import exchange, locations, lock
from pneumo_batch.rundir.integrity import parquet_bytes
from pneumo_batch.rundir.storage import Store


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
    exchange.move(store, "staging/t", "t")
    assert store.files("t") == ["t/new"]
    assert not store.exists("staging/t")
    store.remove("t")
    store.remove("t")
    assert not store.exists("t")


def test_a_uri_nothing_opens_is_one_line():
    with pytest.raises(ValueError, match="nothing://x") as caught:
        Store("nothing://x")
    assert "\n" not in str(caught.value)


def part(*values):
    return pa.table({"x": list(values)})


def values(store, table):
    return sorted(store.read_table(table)["x"].to_pylist())


def test_a_table_is_extended_and_files_of_it_replaced(tmp_path):
    store = Store(tmp_path)
    store.write_table("staging/t/a.parquet", part(1, 2))
    store.write_table("staging/t/b.parquet", part(3))
    exchange.extend(store, "t", "staging/t", "", {})
    assert values(store, "t") == [1, 2, 3]
    before = (tmp_path / "t" / "b.parquet").stat().st_ino
    store.write_table("staging/t/a.parquet", part(5))
    exchange.extend(store, "t", "staging/t", "p0002-", {"t/a.parquet": parquet_bytes(part(2))})
    assert store.files("t") == ["t/a.parquet", "t/b.parquet", "t/p0002-a.parquet"]
    assert values(store, "t") == [2, 3, 5]
    assert (tmp_path / "t" / "b.parquet").stat().st_ino == before  # not a byte of it was written again
    assert [path.name for path in (tmp_path / "staging").iterdir()] == []


def test_a_part_that_comes_again_replaces_itself_and_no_other_name_of_its_file(tmp_path):
    store = Store(tmp_path)
    store.write_table("staging/t/a.parquet", part(1))
    exchange.extend(store, "t", "staging/t", "p0002-", {})
    os.link(tmp_path / "t" / "p0002-a.parquet", tmp_path / "kept.parquet")
    store.write_table("staging/t/a.parquet", part(7))
    exchange.extend(store, "t", "staging/t", "p0002-", {})
    assert values(store, "t") == [7]
    assert store.read_table("kept.parquet")["x"].to_pylist() == [1]


@pytest.mark.parametrize("renames", [0, 1, 2, 3])
def test_a_crash_between_any_two_renames_is_made_good(tmp_path, monkeypatch, renames):
    """The table is the old one, the new one, or absent for a moment, never half; `recover` ends with the new one."""
    store = Store(tmp_path)
    store.write_table("t/a.parquet", part(1))
    store.write_table("staging/t/b.parquet", part(2))
    done, real = [], Path.rename

    def dying(path, target):
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(target)
        return real(path, target)

    monkeypatch.setattr(Path, "rename", dying)
    if renames < 3:
        with pytest.raises(KeyboardInterrupt):
            exchange.extend(store, "t", "staging/t", "", {})
    else:
        exchange.extend(store, "t", "staging/t", "", {})
    monkeypatch.undo()
    if store.exists("t"):
        assert values(store, "t") in ([1], [1, 2])
    exchange.recover(store, "t", "staging/t")
    if renames == 0:  # nothing was ready: what is staged is committed again
        assert values(store, "t") == [1]
        exchange.extend(store, "t", "staging/t", "", {})
    assert values(store, "t") == [1, 2]
    exchange.recover(store, "t", "staging/t")
    assert values(store, "t") == [1, 2]


def test_reasons_are_one_line_without_the_number_of_the_request():
    from pneumo_batch.rundir.locations import reason

    error = OSError("AWS Error ACCESS_DENIED during PutObject: Access Denied (Request ID: 123)\nmore")
    assert reason(error) == "AWS Error ACCESS_DENIED during PutObject: Access Denied"
    assert reason(OSError()) == "OSError"


@pytest.mark.parametrize("wanted", [["b"], ["a", "d"], ["none"], []])
def test_rows_of_some_images_are_those_that_a_filter_leaves(tmp_path, wanted):
    store = Store(tmp_path)
    for number, ids in enumerate((["a", "b"], ["c"], ["b", "d", "d"])):
        store.write_table(f"t/part-{number}.parquet", pa.table({"image_id": ids, "x": range(len(ids)), "y": ids}))

    found = store.read_images("t", wanted, ["image_id", "x"])
    few = store.read_images("t", wanted, filter=pa.compute.field("x") > 0)

    named = pa.compute.field("image_id").isin(pa.array(wanted, pa.string()))
    assert found.equals(store.read_table("t", ["image_id", "x"], filter=named))
    assert few.equals(store.read_table("t", filter=named & (pa.compute.field("x") > 0)))


def test_files_without_the_images_are_not_read_but_for_their_ids(tmp_path):
    store = Store(tmp_path)
    for number, image_id in enumerate("ab"):
        store.write_table(f"t/part-{number}.parquet", pa.table({"image_id": [image_id], "x": [number]}))
    path = tmp_path / "t/part-1.parquet"
    column = pq.read_metadata(path).row_group(0).column(1)
    content = bytearray(path.read_bytes())
    at = column.dictionary_page_offset or column.data_page_offset
    content[at : at + column.total_compressed_size] = bytes(column.total_compressed_size)  # of x
    path.write_bytes(content)

    assert store.read_images("t", ["a"])["x"].to_pylist() == [0]
    with pytest.raises(DamagedError):
        store.read_images("t", ["b"])


def test_texts_stay_encoded_in_batches_where_the_schema_has_them_so(tmp_path):
    store = Store(tmp_path)
    for number, ids in enumerate((["a", "b", "a"], [], ["c", "c"])):
        store.write_table(f"t/part-{number}.parquet", pa.table({"image_id": pa.array(ids, pa.string()), "x": ids}))
    schema = pa.schema([pa.field("image_id", pa.dictionary(pa.int32(), pa.string())), pa.field("x", pa.string())])
    batches = list(store.read_batches("t", schema))
    assert {batch.schema for batch in batches} == {schema}
    found = [value for batch in batches for value in batch.column("image_id").to_pylist()]
    assert found == [value for batch in batches for value in batch.column("x").to_pylist()] == ["a", "b", "a", "c", "c"]


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("s3://bucket/run/", "s3://bucket/run"),
        ("s3://bucket/run", "s3://bucket/run"),
        ("/data/run/", "/data/run"),
        ("s3://bucket/", "s3://bucket/"),
        ("s3://bucket", "s3://bucket"),
        ("file:///", "file:///"),
        ("file:///run/", "file:///run"),
        ("s3://bucket/run?region=here", "s3://bucket/run?region=here"),
    ],
)
def test_a_slash_behind_a_place_is_the_same_place(location, expected):
    assert locations.absolute(location) == expected


def test_the_home_of_nobody_is_one_line(tmp_path):
    for ask in (locations.absolute, locations.open_filesystem):
        with pytest.raises(JobError, match=r"^~nobody-of-this-name/run: there is no such user"):
            ask("~nobody-of-this-name/run")


def test_who_only_looks_does_not_keep_a_run_from_starting(tmp_path):
    """Looking takes the lock for a moment."""
    store, looks, starts = Store(tmp_path), threading.Event(), threading.Event()

    def look():
        with lock._lock(store, "run", 0):
            looks.set()
            starts.wait()
            time.sleep(0.05)

    looker = threading.Thread(target=look)
    looker.start()
    looks.wait()
    assert lock.is_held(store)
    starts.set()
    with lock.hold(store, "run"):
        looker.join()
        assert lock.is_held(store)
        with pytest.raises(RunBusyError, match=r"^run: another process holds this run"), lock.hold(store, "run"):
            pass
