import pytest
from PIL import Image
from pyarrow import fs as pafs

from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.roots import Root, Roots
from pneumo_batch.errors import DataError, RejectedImage
from pneumo_batch.rundir.locations import open_roots

LOCAL = pafs.LocalFileSystem()


def films(root, classes=("NORMAL", "PNEUMONIA"), splits=("train", "test")):
    for split in splits:
        for k, name in enumerate(classes):
            path = root / split / name / "1.png"
            path.parent.mkdir(parents=True)
            Image.new("L", (4, 3), k).save(path)
    return str(root)


def test_one_folder_gives_ids_without_a_prefix(tmp_path):
    roots = open_roots(films(tmp_path / "a"))
    assert manifest.discover(roots, None)[0]["image_id"][0].as_py() == "test/NORMAL/1.png"
    assert roots.read_bytes("test/NORMAL/1.png") == (tmp_path / "a/test/NORMAL/1.png").read_bytes()
    assert roots.exists("test/NORMAL/1.png")
    assert not roots.exists("test/NORMAL/2.png")


def test_several_folders_prefix_the_ids_with_their_names(tmp_path, monkeypatch):
    locations = [films(tmp_path / "x" / "second"), f"file://{films(tmp_path / 'y' / 'first')}/"]
    roots = open_roots(locations)
    listing, classes = manifest.discover(roots, None)
    wanted = [
        f"{root}/{split}/{name}/1.png"
        for root in ("first", "second")
        for split in ("test", "train")
        for name in ("NORMAL", "PNEUMONIA")
    ]
    assert listing["image_id"].to_pylist() == wanted
    assert listing["patient_id"].to_pylist() == [name.removesuffix(".png") for name in wanted]
    assert classes == ["NORMAL", "PNEUMONIA"]
    good, bad = manifest.inspect_batch(listing, roots)
    assert (good.num_rows, bad.num_rows) == (8, 0)
    monkeypatch.chdir(tmp_path / "x" / "second")
    assert list(open_roots(["."]).by_name) == ["second"]
    assert list(open_roots(["train/.."]).by_name) == ["second"]


def test_the_same_name_twice_is_refused(tmp_path):
    a, b = films(tmp_path / "a" / "films"), films(tmp_path / "b" / "films")
    with pytest.raises(DataError) as error:
        open_roots([a, b])
    assert str(error.value) == (
        f"data.root: {a} and {b} are both called 'films', so the ids of their images would begin alike: rename one"
    )
    with pytest.raises(DataError, match=r"^data\.root: / has no folder name"):
        open_roots(["/", a])


def test_every_root_needs_every_class(tmp_path):
    roots = open_roots([films(tmp_path / "a"), films(tmp_path / "b", classes=("NORMAL",))])
    with pytest.raises(DataError, match=r"^classes differ between data roots: no images in b \(PNEUMONIA\); a network"):
        manifest.discover(roots, None)


def test_a_root_may_hold_the_test_images_of_another_source(tmp_path):
    roots = open_roots([films(tmp_path / "a", splits=["train"]), films(tmp_path / "b", splits=["test"])])
    listing, _ = manifest.discover(roots, None)
    assert listing["image_id"].to_pylist() == [
        "a/train/NORMAL/1.png",
        "a/train/PNEUMONIA/1.png",
        "b/test/NORMAL/1.png",
        "b/test/PNEUMONIA/1.png",
    ]


def test_unknown_roots_and_uris(tmp_path):
    roots = open_roots([films(tmp_path / "a")])
    with pytest.raises(FileNotFoundError, match=r"^b/x\.png: no data root is called 'b'$"):
        roots.read_bytes("b/x.png")
    assert roots.exists("a/train/NORMAL/1.png")
    assert not roots.exists("b/train/NORMAL/1.png")
    assert open_roots([str(tmp_path / "a"), str(tmp_path / "none")]).missing() == [str(tmp_path / "none")]
    with pytest.raises(DataError, match=r"^data\.root: nothing://x"):
        open_roots("nothing://x")


def test_nothing_outside_of_a_root_is_read(tmp_path):
    films(tmp_path / "a")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "a" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    roots = Roots.one(LOCAL, str(tmp_path / "a"))
    for name in ("../secret.png", "link.png", "up/secret.png", str(tmp_path / "secret.png")):
        with pytest.raises(RejectedImage, match=r"^a link that leaves the data root$"):
            roots.read_bytes(name)
    assert Root(LOCAL, "/x").local().as_posix() == "/x"
    assert Root(pafs.SubTreeFileSystem("/x", LOCAL), "y").local().as_posix() == "/x/y"


def test_loops_of_links_come_to_an_end(tmp_path):
    """Two links that point upwards: a walk that follows them meets 2^40 paths."""
    root = films(tmp_path / "a")
    (tmp_path / "a/train/NORMAL/up").symlink_to("..")
    (tmp_path / "a/train/PNEUMONIA/up").symlink_to("../..")
    (tmp_path / "a/train/PNEUMONIA/self").symlink_to(".")
    listing, _ = manifest.discover(open_roots(root), None)
    assert listing["image_id"].to_pylist() == [
        "test/NORMAL/1.png",
        "test/PNEUMONIA/1.png",
        "train/NORMAL/1.png",
        "train/PNEUMONIA/1.png",
    ]


def test_a_link_to_another_folder_of_the_root_is_followed(tmp_path):
    root = films(tmp_path / "a", splits=["train"])
    (tmp_path / "a/test").symlink_to("train")
    assert manifest.discover(open_roots(root), None)[0].num_rows == 4


@pytest.mark.parametrize("link", ["test", "train/NORMAL"])
def test_a_split_or_class_that_lies_elsewhere_is_refused(tmp_path, link):
    films(tmp_path / "a")
    (tmp_path / "a" / link).rename(tmp_path / "elsewhere")
    (tmp_path / "a" / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=rf"/a: {link} is a link that leaves the data root: put the images below"):
        manifest.discover(open_roots(str(tmp_path / "a")), None)


def test_pipes_and_other_special_files_are_no_images(tmp_path):
    import os

    root = films(tmp_path / "a")
    os.mkfifo(tmp_path / "a/train/NORMAL/pipe.png")
    assert manifest.discover(open_roots(root), None)[0].num_rows == 4
