"""Files of decoded images: what is in them, and what becomes of those that are torn, foreign or lost."""

import shutil
from collections import namedtuple

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.fs
import pytest

from pneumo_batch.core.data import manifest, phantom
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.data.pixels import Pixels
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import DataError, JobError
from pneumo_batch.job import jobfile
from pneumo_batch.rundir import integrity
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import train
from pneumo_batch.stages.stage import Survey
from pneumo_batch.stages.workers import pixels

SIDE = 64
FORM = Preprocess(SIDE)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    phantom.write(folder, train=11, test=3, seed=1, image_size=96)
    return folder


@pytest.fixture
def run(films, tmp_path, monkeypatch):
    """A run with an index; three images a file."""
    monkeypatch.setattr(pixels, "_MOST_ROWS", 3)
    root = tmp_path / "films"
    shutil.copytree(films, root)
    writer = RunWriter(tmp_path / "run")
    writer.open(jobfile.parse({"name": "x", "data": {"root": str(root), "image_size": SIDE}}, "test"), "f")
    listing = manifest.inventory(Roots.one(pa.fs.LocalFileSystem(), str(root)), None).listing
    writer.store.write_table("manifest/part-0.parquet", manifest.inspect_batch(listing, writer.images)[0])
    return writer


@pytest.fixture
def far(run, tmp_path, monkeypatch):
    """The same run where it cannot be mapped, as on an object store; copies are in a folder of the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "copies"))
    (tmp_path / "copies").mkdir()
    run.store.fs = pa.fs.SubTreeFileSystem("/", pa.fs.LocalFileSystem())
    assert not run.store.is_local
    run.store.write_bytes("manifest/_whole", b"")
    return run


def rows_of(run, split="train"):
    return run.manifest_table().filter(pa.compute.equal(run.manifest_table()["split"], split)).sort_by("image_id")


def files_of(run, form=FORM):
    return pixels.Files.of(rows_of(run), "train", form, run)


def written(run):
    """The files of the training split, each written by its task."""
    files = files_of(run)
    for part in files.parts(rows_of(run)):
        for row in part.to_pylist():
            files.content(row["number"], row["films"])
    return files


def expected(run, form=FORM):
    return np.stack([form.pixels(run.images.read_bytes(name)) for name in rows_of(run)["image_id"].to_pylist()])


def read(files):
    return np.array(Pixels(files, range(files.total)))


def place(run, files, number):
    return pixels._place(run, files.names[number])


def test_files_hold_the_images_in_the_order_of_their_ids(run):
    files = written(run)
    assert len(run.store.files(pixels.FOLDER)) == len(files.names) == 4  # 3 + 3 + 3 + 2
    np.testing.assert_array_equal(read(files), expected(run))
    assert not files.open(0).flags.writeable


def test_a_file_that_is_mapped_is_not_kept_open(run):
    files = written(run)
    before = psutil.Process().num_fds()
    mapped = [files.open(number) for number in range(4)]
    assert psutil.Process().num_fds() == before
    assert [len(part) for part in mapped] == [3, 3, 3, 2]


def test_files_that_are_there_are_not_written_again(run):
    files = written(run)
    before = [place(run, files, number).stat().st_ino for number in range(4)]
    assert [place(run, written(run), number).stat().st_ino for number in range(4)] == before


def test_another_way_to_decode_has_other_files(run):
    written(run)
    for other in (Preprocess(SIDE + 1), Preprocess(SIDE, pad="none"), Preprocess(SIDE, resize="area")):
        assert not set(files_of(run, other).names) & set(files_of(run).names)
    assert files_of(run, Preprocess(SIDE, mean=0.1, channels=3)).names == files_of(run).names  # which are bytes of gray


DAMAGES = {
    "torn": lambda content: content[:-1],
    "empty": lambda content: b"",
    "one bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "foreign, of this length": lambda content: bytes(len(content)),
    "foreign, and whole": lambda content: integrity.with_digest(b"other"),
    "too long": lambda content: content + b"x",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_not_what_was_written_is_written_again(run, damage):
    files = written(run)
    damaged = place(run, files, 1)
    damaged.write_bytes(DAMAGES[damage](damaged.read_bytes()))
    np.testing.assert_array_equal(read(written(run)), expected(run))
    integrity.without_digest("part", damaged.read_bytes())


@pytest.mark.parametrize("damage", ["torn", "empty", "too long", "lost"])
def test_a_worker_makes_what_it_lacks(run, damage):
    files = written(run)
    damaged = place(run, files, 3)
    if damage == "lost":
        damaged.unlink()
    else:
        damaged.write_bytes(DAMAGES[damage](damaged.read_bytes()))
    np.testing.assert_array_equal(read(files), expected(run))


def test_a_machine_copies_what_it_cannot_map_and_makes_what_is_lost(far):
    files, wanted = written(far), expected(far)
    assert not place(far, files, 0).exists()
    np.testing.assert_array_equal(read(files), wanted)
    far.store.remove(pixels.FOLDER)
    np.testing.assert_array_equal(read(files), wanted)  # from the copies
    place(far, files, 2).write_bytes(b"torn")
    np.testing.assert_array_equal(read(files), wanted)
    pixels._discard_copies(far.path)
    assert not place(far, files, 0).parent.exists()


def test_a_file_that_is_damaged_where_it_is_fetched_from_is_no_other_image(far):
    files = written(far)
    damaged = bytearray(far.store.read_bytes(files.names[0]))
    damaged[100] ^= 1
    far.store.write_bytes(files.names[0], bytes(damaged))
    np.testing.assert_array_equal(read(files), expected(far))


def test_a_folder_of_another_user_is_not_written_to(far, monkeypatch):
    files = written(far)
    read(files)
    mine = place(far, files, 0).parent.parent
    other = mine.stat().st_uid + 1
    mine.rename(mine.with_name(f"pneumo-batch-{other}"))
    monkeypatch.setattr("os.getuid", lambda: other)
    with pytest.raises(PermissionError, match="belongs to another user; set TMPDIR"):
        files_of(far).open(0)


def test_a_film_that_has_changed_since_the_index_ends_the_run(run):
    first = rows_of(run)["image_id"].to_pylist()[0]
    (run.images.by_name[""].local() / first).write_bytes(b"other")
    with pytest.raises(DataError, match=f"{first}: no longer readable since the index: changed since it was indexed"):
        written(run)


def test_mean_and_deviation_are_those_of_all_pixels(run):
    files = written(run)
    levels = sum(pixels._levels(files.content(number, []), SIDE) for number in range(4))
    gray = expected(run) / 255.0
    assert pixels.moments(levels) == pytest.approx((gray.mean(), gray.std()), rel=1e-12)


def survey_of(run):
    return Survey("f", ["NORMAL", "PNEUMONIA"], {"train": 1_000_000, "test": 250_000}, {})


def test_decoded_images_that_the_disk_has_no_room_for_are_refused_with_the_numbers(run, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage(5_120_000_000))
    train._check_room(run.job, survey_of(run), run.store)  # 1.25e6 * 64 * 64
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage(5_040_000_000))
    with pytest.raises(JobError, match=r"5\.0 GB free, .* 5\.1 GB for 1250000 decoded images of 64 x 64; .* --run-dir"):
        train._check_room(run.job, survey_of(run), run.store)
    run.store.write_bytes(f"{pixels.FOLDER}/there", bytes(90_000_000))  # of a run that goes on
    train._check_room(run.job, survey_of(run), run.store)
    run.store.remove(pixels.FOLDER)
    for variant in run.job.variants:
        run.store.write_json(f"models/{variant.name}/model.json", {})
    train._check_room(run.job, survey_of(run), run.store)  # nothing is trained any more


def test_copies_need_room_in_the_folder_for_temporary_files(far, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage(5_040_000_000))
    with pytest.raises(JobError, match=r"/copies/pneumo-batch-\d+: 5\.0 GB free, .* set TMPDIR, on every node"):
        train._check_room(far.job, survey_of(far), far.store)
