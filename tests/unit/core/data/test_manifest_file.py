import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyarrow import fs as pafs

from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.formats import manifest_file
from pneumo_batch.core.data.roots import Root, Roots
from pneumo_batch.errors import DataError

LOCAL = pafs.LocalFileSystem()
LINES = (
    "path,label,split,patient_id,subtype,PatientName",
    "a/1.png,NORMAL,train,p1,,Secret^Person",
    "./a/2.png,PNEUMONIA,train,p2,virus,x",
    "b//3.png,NORMAL,test,,,x",
    "b/person7_bacteria_1.png,PNEUMONIA,test,,,x",
)
PATHS = ("a/1.png", "a/2.png", "b/3.png", "b/person7_bacteria_1.png")


@pytest.fixture
def folder(tmp_path):
    for k, path in enumerate(PATHS):
        target = tmp_path / "films" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 3), k).save(target)
    return tmp_path / "films"


def read(folder, *lines, classes=None, name="images.csv"):
    return manifest_file.read("\n".join(lines).encode(), name, Roots.one(LOCAL, str(folder)), classes)


def test_a_manifest_becomes_a_listing(folder):
    listing, classes = read(folder, *LINES)
    assert classes == ["NORMAL", "PNEUMONIA"]
    assert listing.schema == manifest.LISTING
    columns = ("image_id", "split", "label", "patient_id", "subtype", "patient_given")
    assert [tuple(row[name] for name in columns) for row in listing.to_pylist()] == [
        ("a/1.png", "train", 0, "p1", None, True),
        ("a/2.png", "train", 1, "p2", "virus", True),
        ("b/3.png", "test", 0, "b/3", None, False),
        ("b/person7_bacteria_1.png", "test", 1, "person7_bacteria", "bacteria", False),
    ]
    assert listing["bytes"].to_pylist() == [(folder / path).stat().st_size for path in PATHS]
    good, bad = manifest.inspect_batch(listing, Roots.one(LOCAL, str(folder)))
    assert (good.num_rows, bad.num_rows) == (4, 0)
    assert "Secret" not in str(good.to_pylist())


def test_a_list_tells_view_sex_age_and_site_where_it_has_them(folder):
    lines = (
        "path,label,split,view,sex,age,site,scanner",
        f"{PATHS[0]},A,train,PA,F,61.5,north,x",
        f"{PATHS[1]},B,train,,,058Y,,x",
    )
    listing, _ = read(folder, *lines)
    columns = ("view", "sex", "age", "site")
    told = [("PA", "F", 61.5, "north"), (None, None, None, None)]
    assert [tuple(row[name] for name in columns) for row in listing.to_pylist()] == told
    rows, _ = manifest.inspect_batch(listing, Roots.one(LOCAL, str(folder)))
    assert [tuple(row[name] for name in columns) for row in rows.to_pylist()] == told
    other, _ = read(folder, *(line.replace("north", "south") for line in lines))
    assert manifest.strata_digest(listing, ["sex"]) == manifest.strata_digest(other, ["sex"])
    assert manifest.strata_digest(listing, ["site"]) != manifest.strata_digest(other, ["site"])


def test_classes_select_and_order(folder):
    listing, classes = read(folder, *LINES, classes=["PNEUMONIA", "NORMAL"])
    assert classes == ["PNEUMONIA", "NORMAL"]
    assert listing["label"].to_pylist() == [1, 0, 1, 0]


def test_parquet_with_numbers_nulls_and_further_columns_is_the_same(folder):
    columns = {
        "scanner": [1, 2, 3, 4],
        "split": pa.array(["train", "train", "test", "test"]).dictionary_encode(),
        "patient_id": [11, 12, None, None],
        "label": ["NORMAL", "PNEUMONIA"] * 2,
        "path": list(PATHS),
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    listing, _ = manifest_file.read(sink.getvalue(), "images.parquet", Roots.one(LOCAL, str(folder)), None)
    lines = [line.replace("p1", "11").replace("p2", "12").replace("virus", "") for line in LINES]
    assert listing.equals(read(folder, *lines)[0])


def test_a_byte_order_mark_windows_line_ends_and_quotes(folder):
    lines = [line.replace("NORMAL", '"NORMAL, both sides"') for line in LINES]
    listing, classes = manifest_file.read(
        "\ufeff".encode() + "\r\n".join([*lines, ""]).encode(), "images.csv", Roots.one(LOCAL, str(folder)), None
    )
    assert classes == ["NORMAL, both sides", "PNEUMONIA"]
    assert listing.num_rows == 4


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "images.csv: no column 'path'; it has: none"),
        (("path;label;split",), "images.csv: columns must be separated by commas, not ';': path;label;split"),
        (("path\tlabel\tsplit",), r"images.csv: columns must be separated by commas, not '\t': path"),
        (("path,label",), "images.csv: no column 'split'; it has: path, label"),
        ((LINES[0],), "images.csv: names no images"),
        ((*LINES, "a/1.png,NORMAL,train"), "images.csv line 6: a/1.png is named twice, first in images.csv line 2"),
        ((*LINES, "a/../a/1.png,NORMAL,train"), "images.csv line 6: 'a/../a/1.png' leaves data.root"),
        ((*LINES, "../x.png,NORMAL,train"), "images.csv line 6: '../x.png' leaves data.root"),
        ((*LINES, "/etc/passwd,NORMAL,train"), "images.csv line 6: '/etc/passwd' is absolute: paths are relative"),
        ((*LINES, "C:/x.png,NORMAL,train"), "images.csv line 6: 'C:/x.png' is absolute"),
        ((*LINES, "s3://b/x.png,NORMAL,train"), "images.csv line 6: 's3://b/x.png' is absolute"),
        ((*LINES, "a\\1.png,NORMAL,train"), r"images.csv line 6: 'a\\1.png': write the path with /"),
        ((*LINES, "a/9.png,NORMAL,train"), "images.csv line 6: no file a/9.png below data.root"),
        ((*LINES, "a,NORMAL,train"), "images.csv line 6: no file a below data.root"),
        ((*LINES, ",NORMAL,train"), "images.csv line 6: path is empty"),
        ((*LINES, "x.png,,train"), "images.csv line 6: label is empty"),
        ((*LINES, "x.png,NORMAL,dev"), "images.csv line 6: split 'dev': must be one of train, val, test"),
        (LINES[:4], "images.csv: classes differ between splits: no images in test/PNEUMONIA;"),
        ((*LINES[:2], *LINES[3:4]), "images.csv: found the class NORMAL only: at least two classes are needed"),
        ((*LINES, 'a"b,"c'), "images.csv: not a CSV file in UTF-8: "),
    ],
)
def test_a_manifest_that_cannot_be_used_is_one_line(folder, lines, message):
    with pytest.raises(DataError) as error:
        read(folder, *lines)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_files_that_are_no_manifest(folder):
    for data, message in [
        (b"\xff\xfe\x00", "images.csv: not a CSV file in UTF-8"),
        (b"PAR1 and nothing more", "images.csv: not a Parquet file"),
    ]:
        with pytest.raises(DataError, match=message):
            manifest_file.read(data, "images.csv", Roots.one(LOCAL, str(folder)), None)


def test_parquet_errors_name_the_row(folder):
    sink = io.BytesIO()
    pq.write_table(pa.table({"path": ["a/1.png", None], "label": ["A", "B"], "split": ["train"] * 2}), sink)
    with pytest.raises(DataError, match=r"^images\.parquet row 2: path is empty$"):
        manifest_file.read(sink.getvalue(), "images.parquet", Roots.one(LOCAL, str(folder)), None)


def test_a_link_out_of_the_root_is_quarantined(folder):
    Image.new("L", (4, 4)).save(folder.parent / "outside.png")
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    listing, _ = read(folder, *LINES, "link.png,NORMAL,train")
    _, bad = manifest.inspect_batch(listing, Roots.one(LOCAL, str(folder)))
    assert [(row["image_id"], row["reason"]) for row in bad.to_pylist()] == [
        ("link.png", "a link that leaves the data root")
    ]


def test_paths_begin_with_the_name_of_one_of_several_roots(folder):
    roots = Roots.several({"a": Root(LOCAL, str(folder / "a")), "b": Root(LOCAL, str(folder / "b"))})
    lines = (LINES[0], "a/1.png,X,train", "a/2.png,Y,train", "b/3.png,X,test", "b/person7_bacteria_1.png,Y,test")
    listing, _ = manifest_file.read("\n".join(lines).encode(), "images.csv", roots, None)
    assert listing["image_id"].to_pylist() == list(PATHS)
    assert manifest.inspect_batch(listing, roots)[0].num_rows == 4
    with pytest.raises(
        DataError, match=r"^images\.csv line 6: 'c/1\.png' does not begin with the name of a data root \(a, b\)"
    ):
        manifest_file.read("\n".join([*lines, "c/1.png,X,train"]).encode(), "images.csv", roots, None)


def test_the_digest_sees_every_word_of_the_manifest(folder):
    listing, _ = read(folder, *LINES)
    digest = manifest.assignment_digest(listing)
    assert digest == manifest.assignment_digest(read(folder, LINES[0], *reversed(LINES[1:]))[0])
    a, b = "a/1.png,NORMAL", "b//3.png,NORMAL"
    changes = [{a: b, b: a}, {"p1": "p9"}, {"virus": "other"}, {",test,": ",val,"}]
    for words in changes:
        lines = [next((line.replace(k, v) for k, v in words.items() if k in line), line) for line in LINES]
        assert manifest.assignment_digest(read(folder, *lines)[0]) != digest
