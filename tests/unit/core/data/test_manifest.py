import hashlib
import io
import itertools
import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from helpers.paths import REAL
from PIL import Image
from pyarrow import fs as pafs

from pneumo_batch.core import tables
from pneumo_batch.core.data import manifest, splits
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import DataError

KERMANY = REAL / "kermany224"
LOCAL = pafs.LocalFileSystem()


def png(value=0, size=(4, 3)):
    stream = io.BytesIO()
    Image.new("L", size, value).save(stream, "PNG")
    return stream.getvalue()


def write(root, *paths, data=None):
    for k, path in enumerate(paths):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(png(k % 256) if data is None else data)
    return str(root)


def discover(fs, root, classes, **options):
    return manifest.discover(Roots.one(fs, root), classes, **options)


def inspect(listing, fs, root):
    return manifest.inspect_batch(listing, Roots.one(fs, root))


SMALL = (
    "test/NORMAL/IM-0001-0001.jpeg",
    "test/PNEUMONIA/person1_virus_1.jpeg",
    "train/NORMAL/NORMAL2-IM-0002-0001.jpeg",
    "train/PNEUMONIA/person2_bacteria_3.jpeg",
)


@pytest.mark.parametrize(
    ("name", "patient", "subtype"),
    [
        ("person1000_bacteria_2931.jpeg", "person1000_bacteria", "bacteria"),
        ("person1000_virus_1681.jpeg", "person1000_virus", "virus"),
        ("person447_virus_921_1.jpeg", "person447_virus", "virus"),
        ("IM-0115-0001.jpeg", "IM-0115", None),
        ("IM-0640-0001-0002.jpeg", "IM-0640", None),
        ("NORMAL2-IM-1427-0001.jpeg", "NORMAL2-IM-1427", None),
        ("scan 7.png", "scan 7", None),
    ],
)
def test_parse_name(name, patient, subtype):
    assert manifest.parse_name(name) == (patient, subtype)


def test_discover_lists_sorted_rows(tmp_path):
    listing, classes = discover(LOCAL, write(tmp_path, *SMALL), None)
    assert classes == ["NORMAL", "PNEUMONIA"]
    assert listing.schema == manifest.LISTING
    assert listing.to_pylist()[1] == {
        "image_id": "test/PNEUMONIA/person1_virus_1.jpeg",
        "split": "test",
        "class_name": "PNEUMONIA",
        "label": 1,
        "patient_id": "person1_virus",
        "subtype": "virus",
        "bytes": len(png(1)),
        "patient_given": False,
        "patient_rule": "Kermany names",
        **dict.fromkeys(("view", "sex", "age", "site")),
    }
    assert listing["image_id"].to_pylist() == sorted(SMALL)


def test_any_file_system_gives_the_same_listing(tmp_path):
    write(tmp_path / "data", *SMALL)
    expected, _ = discover(LOCAL, str(tmp_path / "data"), None)
    for other in (
        pafs.SubTreeFileSystem(str(tmp_path), LOCAL),
        pafs.PyFileSystem(pafs.FSSpecHandler(_bucket(tmp_path))),
    ):
        listing, _ = discover(other, "data", None)
        assert listing.equals(expected)
        good, bad = inspect(listing, other, "data")
        assert (good.num_rows, bad.num_rows) == (4, 0)


def _bucket(folder):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory", skip_instance_cache=True)
    memory.store = {}
    for path in SMALL:
        memory.pipe(f"data/{path}", (folder / "data" / path).read_bytes())
    return memory


def test_a_trailing_slash_and_a_relative_root_change_nothing(tmp_path, monkeypatch):
    write(tmp_path / "data", *SMALL)
    expected, _ = discover(LOCAL, str(tmp_path / "data"), None)
    monkeypatch.chdir(tmp_path)
    for root in (f"{tmp_path}/data/", "data", "./data", f"{tmp_path}//data"):
        assert discover(LOCAL, root, None)[0].equals(expected)


def test_clutter_is_passed_over(tmp_path):
    write(tmp_path, *SMALL, ".hidden/train/NORMAL/a.png", "train/.cache/a.png", "train/loose.png", "loose.png")
    write(tmp_path, "train/NORMAL/._IM-0001-0001.jpeg", "train/NORMAL/.DS_Store", "__MACOSX/train/OTHER/a.jpeg")
    write(tmp_path, "train/NORMAL/Thumbs.db", "train/NORMAL/notes.txt", "masks/train/PNEUMONIA/a.png")
    assert discover(LOCAL, str(tmp_path), None)[0]["image_id"].to_pylist() == sorted(SMALL)


def passed_over(tmp_path):
    return dict(manifest.inventory(Roots.one(LOCAL, str(tmp_path)), None).passed_over)


def test_what_is_passed_over_is_counted_by_kind(tmp_path):
    write(tmp_path, *SMALL, "train/loose.png", "loose.png", "masks/train/PNEUMONIA/a.png", ".hidden/train/NORMAL/a.png")
    write(tmp_path, "train/NORMAL/a.jfif", data=jpeg())
    write(tmp_path, "train/NORMAL/Thumbs.db", "test/NORMAL/a.txt", "test/NORMAL/b.TXT", data=b"text")
    write(tmp_path, "test/NORMAL/1.2.840.113", "test/NORMAL/IM0001", data=b"neither film nor picture")
    write(tmp_path, "README.md", data=b"# beside the images, where nobody looks for any")
    assert discover(LOCAL, str(tmp_path), None)[0]["image_id"].to_pylist() == sorted(SMALL)
    assert passed_over(tmp_path) == {
        ".jfif (an image by its content: rename it)": 1,
        ".db": 1,
        ".txt": 2,
        "without an ending": 2,
        "image outside of <split>/<class>/": 2,
    }


def jpeg():
    stream = io.BytesIO()
    Image.new("L", (4, 3)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.parametrize("name", ["IM000001", "x.IMA", "1.2.840.113619.2.5", "x.dcm.bak", "x.jfif"])
def test_dicom_is_known_by_its_content(name, tmp_path):
    write(tmp_path, *SMALL)
    write(tmp_path, f"test/NORMAL/{name}", data=b"\0" * 128 + b"DICM and whatever follows")
    listed = discover(LOCAL, str(tmp_path), None)[0]["image_id"].to_pylist()
    assert listed == sorted([*SMALL, f"test/NORMAL/{name}"])
    assert passed_over(tmp_path) == {}


def test_a_link_out_of_the_root_is_not_looked_into(tmp_path):
    write(tmp_path / "outside", "film", data=b"\0" * 128 + b"DICM")
    root = write(tmp_path / "root", *SMALL)
    (tmp_path / "root/test/NORMAL/film").symlink_to(tmp_path / "outside/film")
    assert discover(LOCAL, root, None)[0]["image_id"].to_pylist() == sorted(SMALL)
    assert passed_over(tmp_path / "root") == {"without an ending": 1}


@pytest.mark.parametrize("name", ["validation", "valid", "dev", "Validation", "VAL"])
def test_the_validation_split_has_many_names(name, tmp_path):
    root = write(tmp_path, *SMALL, f"{name}/NORMAL/a.png", f"{name}/PNEUMONIA/b.png")
    listing, classes = discover(LOCAL, root, None)
    assert classes == ["NORMAL", "PNEUMONIA"]
    found = {row["image_id"]: row["split"] for row in listing.to_pylist()}
    assert (found[f"{name}/NORMAL/a.png"], found[f"{name}/PNEUMONIA/b.png"]) == ("val", "val")
    assert passed_over(tmp_path) == {}


def test_splits_in_any_case(tmp_path):
    listing, _ = discover(
        LOCAL, write(tmp_path, "Train/A/1.png", "Train/B/1.png", "TEST/A/1.png", "TEST/B/1.png"), None
    )
    assert listing["split"].to_pylist() == ["test", "test", "train", "train"]


def test_a_folder_above_the_splits_may_have_such_a_name(tmp_path):
    """`dev` is the val split beside `train` only; here it holds the whole data set."""
    root = write(tmp_path, *(f"dev/{path}" for path in SMALL))
    listing, classes = discover(LOCAL, root, None)
    assert classes == ["NORMAL", "PNEUMONIA"]
    assert set(listing["split"].to_pylist()) == {"train", "test"}
    alone, _ = discover(LOCAL, write(tmp_path / "only", "valid/A/1.png", "valid/B/1.png"), None)
    assert alone["split"].to_pylist() == ["val", "val"]


def test_a_name_that_is_not_utf8_is_quarantined_under_an_escaped_one(tmp_path):
    root = write(tmp_path, *SMALL)
    (tmp_path / os.fsdecode(b"test/NORMAL/r\xf6ntgen.jpeg")).write_bytes(png())
    folder = tmp_path / os.fsdecode(b"test/NORMAL/stra\xdfe")
    folder.mkdir()
    (folder / "a.jpeg").write_bytes(png())
    listing, _ = discover(LOCAL, root, None)
    good, bad = inspect(listing, LOCAL, root)
    assert good["image_id"].to_pylist() == sorted(SMALL)
    assert bad["image_id"].to_pylist() == ["test/NORMAL/r\\xf6ntgen.jpeg", "test/NORMAL/stra\\xdfe"]
    assert bad["reason"].unique().to_pylist() == ["name is not UTF-8: rename it"]


def test_a_class_whose_name_is_not_utf8_is_one_clear_line(tmp_path):
    root = write(tmp_path, *SMALL)
    (tmp_path / os.fsdecode(b"train/stra\xdfe")).mkdir()
    with pytest.raises(DataError, match=r"train/stra\\xdfe has a name that is not UTF-8: rename it$"):
        discover(LOCAL, root, None)


def test_extensions_in_any_case(tmp_path):
    root = write(tmp_path, "test/A/x.JPG", "test/B/y.Tiff")
    assert discover(LOCAL, root, None)[0]["image_id"].to_pylist() == ["test/A/x.JPG", "test/B/y.Tiff"]


def test_the_nested_copy_is_taken_once_and_ids_stay_relative_to_the_root(tmp_path):
    for prefix in ("chest_xray/", "chest_xray/chest_xray/", "chest_xray/__MACOSX/chest_xray/"):
        write(tmp_path, *(prefix + path for path in SMALL))
    outer, _ = discover(LOCAL, str(tmp_path), None)
    assert outer["image_id"].to_pylist() == [f"chest_xray/{path}" for path in sorted(SMALL)]
    inner, _ = discover(LOCAL, str(tmp_path / "chest_xray"), None)
    assert inner["image_id"].to_pylist() == sorted(SMALL)


def test_several_data_sets_are_refused(tmp_path):
    root = write(tmp_path, "a/train/X/1.png", "b/train/X/1.png")
    with pytest.raises(DataError, match=r"holds several data sets \(a, b\): name one as data.root$"):
        discover(LOCAL, root, None)


def test_images_below_a_class_folder_belong_to_it(tmp_path):
    listing, _ = discover(LOCAL, write(tmp_path, "test/A/deep/er/x.png", "test/B/train/C/x.png"), None)
    assert listing["class_name"].to_pylist() == ["A", "B"]


def test_unknown_names_are_different_people(tmp_path):
    root = write(tmp_path, "train/A/001.png", "train/B/001.png", "test/A/001.png", "test/B/001.png")
    patients = discover(LOCAL, root, None)[0]["patient_id"].to_pylist()
    assert patients == ["test/A/001", "test/B/001", "train/A/001", "train/B/001"]


def test_classes_select_and_order(tmp_path):
    root = write(tmp_path, "test/A/1.png", "test/B/2.png", "test/C/3.png", "train/A/4.png", "train/C/5.png")
    listing, classes = discover(LOCAL, root, ["C", "A"])
    assert classes == ["C", "A"]
    assert listing["class_name"].to_pylist() == ["A", "C", "A", "C"]
    assert listing["label"].to_pylist() == [1, 0, 1, 0]


def test_classes_by_subtype(tmp_path):
    root = write(tmp_path, "test/NORMAL/IM-0001-0001.jpeg", "test/PNEUMONIA/person1_virus_1.jpeg")
    write(tmp_path, "test/PNEUMONIA/person1_bacteria_1.jpeg")
    listing, classes = discover(LOCAL, root, "subtype")
    assert classes == ["BACTERIA", "NORMAL", "VIRUS"]
    assert listing["class_name"].to_pylist() == ["NORMAL", "BACTERIA", "VIRUS"]
    write(tmp_path, "test/PNEUMONIA/other.png")
    with pytest.raises(DataError, match=r"^test/PNEUMONIA/other.png: .* needs bacteria or virus in the name$"):
        discover(LOCAL, root, "subtype")


@pytest.mark.parametrize(
    ("paths", "classes", "message"),
    [
        (["NORMAL/1.png"], None, "no images found under train/<class>/"),
        (["train/1.png"], None, r"\(1 images elsewhere, 0 files of other types\)"),
        (["train/A/1.nii"], None, r"\(0 images elsewhere, 1 files of other types\)"),
        (["test/A/1.png"], None, r"found the class A only: at least two classes are needed"),
        (
            ["test/A/1.png", "test/B/1.png", "train/A/1.png"],
            None,
            "classes differ between splits: no images in train/B;",
        ),
        (
            ["test/A/1.png", "test/BEE/1.png"],
            ["A", "BEEE"],
            r"^data.classes: no image is of class BEEE \(did you mean BEE\?\)",
        ),
        (["test/A/1.png", "test/B/1.png", "test/C/x.txt"], None, "no images in test/C;"),
    ],
)
def test_unusable_data_is_one_clear_line(tmp_path, paths, classes, message):
    with pytest.raises(DataError, match=message) as error:
        discover(LOCAL, write(tmp_path, *paths), classes)
    assert "\n" not in str(error.value)


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such folder; set data.root"):
        discover(LOCAL, str(tmp_path / "nowhere"), None)


def test_require_splits(tmp_path):
    listing, _ = discover(LOCAL, write(tmp_path, *SMALL), None)
    manifest.require_splits(listing, ["train", "test"])
    only_test, _ = discover(LOCAL, str(tmp_path), None, splits=["test"])
    assert only_test["split"].unique().to_pylist() == ["test"]
    with pytest.raises(DataError, match=r"^no images in train/ and val/ \(found: test\): add the folder"):
        manifest.require_splits(only_test, ["train", "val", "test"])
    with pytest.raises(DataError, match=r"^x\.csv: names no images of split val in its column split \(found: test\)$"):
        manifest.require_splits(only_test, ["val", "test"], file="x.csv")


def test_listing_digest_sees_names_and_sizes(tmp_path):
    listing, _ = discover(LOCAL, write(tmp_path, *SMALL), None)
    text = "".join(f"{path}\n{(tmp_path / path).stat().st_size}\n" for path in sorted(SMALL))
    assert manifest.listing_digest(listing) == hashlib.sha256(text.encode()).hexdigest()
    assert manifest.listing_digest(listing.slice(1)) != manifest.listing_digest(listing)


def test_inspect_batch_quarantines_and_counts_balance(tmp_path):
    root = write(tmp_path, *SMALL)
    write(tmp_path, "train/NORMAL/broken.png", data=b"no image")
    write(tmp_path, "train/NORMAL/empty.png", data=b"")
    listing, _ = discover(LOCAL, root, None)
    good, bad = inspect(listing, LOCAL, root)
    assert good.schema == tables.MANIFEST
    assert bad.schema == tables.QUARANTINE
    assert good["image_id"].to_pylist() == sorted(SMALL)
    first = good.to_pylist()[0]
    assert (first["width"], first["height"], first["mode"]) == (4, 3, "L")
    assert first["sha256"] == hashlib.sha256((tmp_path / first["image_id"]).read_bytes()).hexdigest()
    reasons = [(row["image_id"], row["stage"], row["reason"]) for row in bad.to_pylist()]
    assert reasons == [
        ("train/NORMAL/broken.png", "index", "not an image, or of an unknown format"),
        ("train/NORMAL/empty.png", "index", "empty file"),
    ]


def test_inspect_batch_of_nothing_keeps_the_schemas():
    good, bad = inspect(manifest.LISTING.empty_table(), LOCAL, "anywhere")
    assert (good.schema, bad.schema) == (tables.MANIFEST, tables.QUARANTINE)


def test_files_that_change_after_listing_are_quarantined(tmp_path):
    root = write(tmp_path, *SMALL)
    listing, _ = discover(LOCAL, root, None)
    (tmp_path / SMALL[0]).unlink()
    write(tmp_path, SMALL[1], data=b"longer than any of these images" * 10)
    _, bad = inspect(listing, LOCAL, root)
    gone, grown = bad["reason"].to_pylist()
    assert gone == "cannot be read: No such file or directory"
    assert grown == f"changed while it was indexed: {len(png(1))} bytes listed, 310 read"


@pytest.mark.parametrize("nested", [False, True])
def test_links_out_of_the_root_are_not_followed(tmp_path, nested):
    root = write(tmp_path / "root", *SMALL)
    write(tmp_path / "outside", "secret.png")
    (tmp_path / "root/train/NORMAL/out.png").symlink_to(tmp_path / "outside/secret.png")
    (tmp_path / "root/train/NORMAL/folder").symlink_to(tmp_path / "outside")
    (tmp_path / "root/train/NORMAL/in.png").symlink_to(tmp_path / "root" / SMALL[0])
    (tmp_path / "root/train/NORMAL/dangling.png").symlink_to(tmp_path / "nothing.png")
    fs, path = (pafs.SubTreeFileSystem(str(tmp_path), LOCAL), "root") if nested else (LOCAL, root)
    listing, _ = discover(fs, path, None)
    good, bad = inspect(listing, fs, path)
    assert good["image_id"].to_pylist() == sorted([*SMALL, "train/NORMAL/in.png"])
    assert {row["image_id"]: row["reason"] for row in bad.to_pylist()} == {
        "train/NORMAL/folder": "a link that leaves the data root",
        "train/NORMAL/out.png": "a link that leaves the data root",
    }


def rows(specification):
    """Manifest rows from (image_id, split, label, patient, sha256)."""
    fields = ("image_id", "split", "label", "patient_id", "sha256")
    filler = {"subtype": None, "width": 1, "height": 1, "mode": "L", "bytes": 1}
    values = [{**filler, **dict(zip(fields, row, strict=True)), "class_name": f"C{row[2]}"} for row in specification]
    return pa.Table.from_pylist(values, schema=tables.MANIFEST)


def test_carving_keeps_patients_and_identical_images_together():
    # 40 patients of 3 images a class; image 0 of patients 2k and 2k + 1 are byte-identical: groups of 6 images.
    table = rows(
        (
            f"{label}-{patient:02}-{k}",
            "train",
            label,
            f"{label}-{patient}",
            f"{label}{patient // 2 if k == 0 else (patient, k)}",
        )
        for label in (0, 1)
        for patient in range(40)
        for k in range(3)
    )
    carved = splits.carve_validation(table, 0.1, seed=3).to_pandas()
    assert (carved["split"] == "val").groupby(carved["label"]).sum().tolist() == [12, 12]  # 10 % of 120, whole groups
    assert carved.groupby("patient_id")["split"].nunique().max() == 1
    assert carved.groupby("sha256")["split"].nunique().max() == 1
    assert carved.drop(columns="split").equals(table.to_pandas().drop(columns="split"))


def mixed_patients(rng):
    """As in a hospital: a third of the films of a tenth of the patients show it, and none of the others'."""
    return rows(
        (f"i{patient:04}-{k}", "train", int(patient % 10 == 0 and k % 3 == 0), f"p{patient}", f"s{patient}-{k}")
        for patient in range(1000)
        for k in range(int(rng.integers(1, 9)))
    )


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.35])
def test_of_patients_with_films_of_both_classes_each_class_gives_its_share(fraction):
    """A patient was drawn for each of the classes: of the rarer twice the share was carved."""
    carved = splits.carve_validation(mixed_patients(np.random.default_rng(0)), fraction, seed=1).to_pandas()
    assert (carved["split"] == "val").groupby(carved["label"]).mean().to_numpy() == pytest.approx(fraction, abs=0.03)
    assert carved.groupby("patient_id")["split"].nunique().max() == 1


def test_no_class_of_few_patients_leaves_train():
    """Three patients have films of both classes, forty of one."""
    table = rows(
        (f"i{patient:02}-{k}", "train", int(patient < 3 and k == 0), f"p{patient}", f"s{patient}-{k}")
        for patient in range(43)
        for k in range(3)
    )
    for seed in range(200):
        carved = splits.carve_validation(table, 0.3, seed=seed).to_pandas()
        assert set(carved.loc[carved["split"] == "train", "label"]) == {0, 1}
        assert set(carved.loc[carved["split"] == "val", "label"]) == {0, 1}


def test_where_patients_have_films_of_one_class_the_split_is_what_it_was():
    """Digests of version 3 of the results."""
    table = rows((f"i{k:03}", "train", int(k % 3 == 0), f"p{k % 2}-{k % 3 == 0}-{k // 7}", f"s{k}") for k in range(300))
    for fraction, seed, expected in ((0.1, 3, "76c336b1e95ba39a"), (0.25, 0, "a41308c5528c4d45")):
        found = splits.carve_validation(table, fraction, seed)["split"].to_pylist()
        assert hashlib.sha256("".join(split[0] for split in found).encode()).hexdigest()[:16] == expected


def classes_of(carved, split):
    return set(carved.loc[carved["split"] == split, "label"])


def of_patients(*classes):
    """A training film of each patient in each of its classes."""
    return rows(
        (f"p{who}-{label}", "train", label, f"p{who}", f"s{who}-{label}")
        for who, of in enumerate(classes)
        for label in of
    )


def can_be_divided(patients, labels):
    """By trying every choice of patients."""
    ways = itertools.product((False, True), repeat=len(patients))
    return any(
        all(
            {label for of, mine in zip(patients, way, strict=True) if mine is side for label in of} == labels
            for side in (False, True)
        )
        for way in ways
    )


@pytest.mark.parametrize(("count", "most"), [(2, 5), (3, 4)])
def test_train_and_validation_of_a_few_patients_have_every_class_wherever_they_can(count, most):
    """Every set of three to five patients: a class to be had from patients of both only was missing in some."""
    labels = set(range(count))
    kinds = [of for size in range(1, count + 1) for of in itertools.combinations(range(count), size)]
    sets = itertools.chain(*(itertools.combinations_with_replacement(kinds, size) for size in range(3, most + 1)))
    refused = []
    for seed, patients in enumerate(one for one in sets if all(sum(k in of for of in one) > 1 for k in labels)):
        try:
            carved = splits.carve_validation(of_patients(*patients), 0.2, seed).to_pandas()
        except DataError as error:
            assert not can_be_divided(patients, labels)
            refused.append(str(error))
        else:
            assert classes_of(carved, "train") == classes_of(carved, "val") == labels, patients
    line = "whole patients cannot be divided so that train and val have every class: "
    assert set(refused) == ({line + "add others or set data.val_fraction = 0"} if count == 3 else set())


def test_a_draw_that_lacks_a_class_gains_the_fewest_films_that_have_it():
    """Twenty patients have a film of each class, the first one of class 0 only and the second one of class 1 only."""
    table = of_patients((0,), (1,), *[(0, 1)] * 20).sort_by("image_id")
    drawn = []
    for seed in range(40):
        carved = splits.carve_validation(table, 0.05, seed)
        drawn.append(set(carved.filter(pc.equal(carved["split"], "val"))["patient_id"].to_pylist()))
        again = splits.carve_validation(table.take(np.arange(len(table))[::-1]), 0.05, seed).sort_by("image_id")
        assert again.equals(carved)
    assert {"p0", "p1"} in drawn
    assert all(
        len(patients) == 1 and patients < {f"p{k}" for k in range(2, 22)} for patients in drawn if "p0" not in patients
    )


def test_carving_depends_on_the_seed_and_not_on_the_order():
    table = rows((f"i{k:03}", "train", k % 2, f"p{k}", f"s{k}") for k in range(100))
    carved = splits.carve_validation(table, 0.2, seed=0)
    shuffled = table.take(np.random.default_rng(0).permutation(100))
    again = splits.carve_validation(shuffled, 0.2, seed=0).sort_by("image_id")
    assert again["split"].to_pylist() == carved["split"].to_pylist()
    assert splits.carve_validation(table, 0.2, seed=1)["split"].to_pylist() != carved["split"].to_pylist()


def test_the_shipped_validation_joins_train_first():
    table = rows(
        [(f"v{k}", "val", k % 2, f"v{k}", f"v{k}") for k in range(4)]
        + [(f"t{k}", "train", k % 2, f"t{k}", f"t{k}") for k in range(16)]
        + [(f"x{k}", "test", k % 2, f"x{k}", f"x{k}") for k in range(2)]
    )
    found = splits.carve_validation(table, 0.2, seed=0)["split"].to_pylist()
    assert (found.count("train"), found.count("val"), found[-2:]) == (16, 4, ["test", "test"])
    assert splits.carve_validation(table, 0, seed=0).equals(table)
    only_test = table.filter(pa.array([False] * 20 + [True] * 2))
    assert splits.carve_validation(only_test, 0.2, seed=0).equals(only_test)


def test_small_classes_still_get_one_validation_patient():
    table = rows((f"i{k}", "train", k % 2, f"p{k}", f"s{k}") for k in range(4))
    carved = splits.carve_validation(table, 0.1, seed=0).to_pandas()
    assert carved[carved["split"] == "val"]["label"].tolist() in ([0, 1], [1, 0])


def test_a_class_of_one_patient_cannot_be_carved():
    table = rows([("a", "train", 0, "p", "1"), ("b", "train", 0, "p", "2"), ("c", "train", 1, "q", "3")])
    with pytest.raises(
        DataError, match=r"^class C0 has one patient in train: add others or set data.val_fraction = 0$"
    ):
        splits.carve_validation(table, 0.5, seed=0)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_an_impossible_fraction_is_refused(fraction):
    with pytest.raises(ValueError, match="it must be at least 0 and below 1"):
        splits.carve_validation(rows([]), fraction, seed=0)


@pytest.mark.skipif(not KERMANY.is_dir(), reason="the Kermany data set is not beside the project")
def test_kermany_is_listed_as_published():
    listing, classes = discover(LOCAL, os.fspath(KERMANY), None)
    counts = listing.group_by(["split", "class_name"]).aggregate([("image_id", "count")]).to_pylist()
    assert classes == ["NORMAL", "PNEUMONIA"]
    assert {(row["split"], row["class_name"]): row["image_id_count"] for row in counts} == {
        ("train", "NORMAL"): 1341,
        ("train", "PNEUMONIA"): 3875,
        ("test", "NORMAL"): 234,
        ("test", "PNEUMONIA"): 390,
    }
    assert listing["subtype"].to_pylist().count("bacteria") == 2530 + 242
    patients = {split: set() for split in ("train", "test")}
    for row in listing.to_pylist():
        patients[row["split"]].add(row["patient_id"])
    assert not patients["train"] & patients["test"]
