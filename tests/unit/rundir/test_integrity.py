"""What tells a whole file from a damaged one."""

import errno
import hashlib
import random
import shutil
import subprocess

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from helpers.tiny import tiny_job

from pneumo_batch.cli import display
from pneumo_batch.errors import DamagedError, RunError
from pneumo_batch.rundir import checksums, integrity, storage, verification
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store
from pneumo_batch.rundir.writer import RunWriter

TABLE = pa.table({"image_id": [f"test/{i}.png" for i in range(200)], "x": [i / 7 for i in range(200)]})


def flipped(data, place):
    """`data` with the bit `place` turned over."""
    damaged = bytearray(data)
    damaged[place // 8] ^= 1 << place % 8
    return bytes(damaged)


def flip(path, place):
    path.write_bytes(flipped(path.read_bytes(), place))


def test_a_damaged_page_of_a_table_never_reads_as_another_table(tmp_path):
    """400 seeded places in the pages; without checksums of pages more than half would be read as other values."""
    store = Store(tmp_path)
    store.write_table("t.parquet", TABLE)
    good = (tmp_path / "t.parquet").read_bytes()
    footer = int.from_bytes(good[-8:-4], "little")
    chance, caught = random.Random(0), []
    for _ in range(400):
        (tmp_path / "t.parquet").write_bytes(flipped(good, chance.randrange(8 * (len(good) - footer - 8))))
        try:
            assert store.read_table("t.parquet").equals(TABLE)
        except DamagedError as error:
            caught.append(str(error))
    assert len(caught) > 300  # what is left changes nothing that is read
    assert all("t.parquet: damaged: " in line and "\n" not in line for line in caught)


def test_pages_carry_checksums(tmp_path):
    """Read by pyarrow itself: the same damage goes unnoticed where its reader does not look."""
    place = tmp_path / "t.parquet"
    Store(tmp_path).write_table("t.parquet", pa.table({"x": pa.array([1.5, 2.5, 3.5])}))
    good = place.read_bytes()
    silent = []
    for at in range(8 * 4, 8 * 60):
        damaged = flipped(good, at)
        try:
            pq.read_table(pa.BufferReader(damaged), page_checksum_verification=False)
        except (OSError, pa.ArrowException):
            continue
        try:
            pq.read_table(pa.BufferReader(damaged), page_checksum_verification=True)
        except OSError as error:
            if "CRC checksum verification failed" in str(error):
                silent.append(at)
    assert silent


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        PermissionError(errno.EACCES, "Permission denied"),
        FileNotFoundError(errno.ENOENT, "No such file"),
        OSError("When reading information for key 'x' in bucket 'y': AWS Error NETWORK_CONNECTION"),
    ],
)
def test_troubles_of_disk_and_network_are_no_damage(error):
    with pytest.raises(OSError, match=str(error).split("] ")[-1][:20]) as caught, integrity.reading("t.parquet"):
        raise error
    assert caught.value is error


def test_a_mistake_of_ours_is_no_damage():
    with pytest.raises(RuntimeError, match="ours"), integrity.reading("t.parquet"):
        raise RuntimeError("ours")


def test_a_sealed_name_tells_the_content(tmp_path):
    store = Store(tmp_path)
    store.write_sealed("t/part-000001", TABLE)
    (name,) = store.files("t", ".parquet")
    assert integrity.stem(name) == "t/part-000001"
    assert integrity.seal(name) == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert integrity.seal("t/part-000001.parquet") is None
    assert store.read_table("t").equals(TABLE)


def test_a_state_with_its_digest_in_front():
    kept = integrity.with_digest(b"state")
    assert integrity.without_digest("s.pt", kept) == b"state"
    for place in range(8 * len(kept)):
        with pytest.raises(DamagedError, match=r"s\.pt: damaged"):
            integrity.without_digest("s.pt", flipped(kept, place))
    with pytest.raises(DamagedError, match=r"s\.pt"):
        integrity.without_digest("s.pt", kept[:20])


def test_the_list_is_one_that_sha256sum_reads(tmp_path):
    run = RunWriter(tmp_path)
    run.checksums.begin()
    run.store.write_bytes("verdict.json", b"{}")
    run.store.write_bytes("report/a page.html", b"<html></html>")
    run.checksums.seal("conclude")
    assert set(run.checksums.read()["conclude"]) == {"verdict.json", "report/a page.html"}
    if not shutil.which("sha256sum"):
        pytest.skip("this machine has no sha256sum")
    subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True, capture_output=True)


def test_a_damaged_list_is_known_and_its_copy_serves(tmp_path):
    run = RunWriter(tmp_path)
    run.checksums.begin()
    run.store.write_bytes("verdict.json", b"{}")
    run.checksums.seal("conclude")
    good = (tmp_path / "SHA256SUMS").read_bytes()
    for place in range(0, 8 * len(good) - 8, 5):  # but for the last line's end
        with pytest.raises(DamagedError, match="SHA256SUMS: damaged"):
            checksums.parse(flipped(good, place))
    flip(tmp_path / "SHA256SUMS", 100)
    assert set(run.checksums.read()["conclude"]) == {"verdict.json"}


def test_a_crash_while_a_listed_file_is_replaced_leaves_it_known(tmp_path):
    run = RunWriter(tmp_path)
    run.checksums.begin()
    run.store.write_bytes("models/a/predictions.parquet", b"old")
    run.checksums.seal("train")
    with (
        pytest.raises(KeyboardInterrupt),
        run.checksums.replacing({"models/a/predictions.parquet": integrity.sha256(b"new")}),
    ):
        raise KeyboardInterrupt
    known = run.checksums.expected()["models/a/predictions.parquet"][1]
    assert set(known) == {integrity.sha256(b"old"), integrity.sha256(b"new")}
    run.checksums.replace("models/a/predictions.parquet", b"newer")
    assert run.checksums.expected()["models/a/predictions.parquet"][1] == (integrity.sha256(b"newer"),)


@pytest.mark.parametrize(("content", "left"), [(b"old", [b"old"]), (b"new", [b"new"]), (b"torn", [b"old", b"new"])])
def test_of_two_digests_that_a_crash_has_left_the_next_call_keeps_that_of_the_file(tmp_path, content, left):
    run = RunWriter(tmp_path)
    run.checksums.begin()
    run.store.write_bytes("models/a/predictions.parquet", b"old")
    run.checksums.seal("train")
    becoming = {"models/a/predictions.parquet": integrity.sha256(b"new")}
    with pytest.raises(KeyboardInterrupt), run.checksums.replacing(becoming):  # noqa: PT012
        run.store.write_bytes("models/a/predictions.parquet", content)
        raise KeyboardInterrupt
    RunWriter(tmp_path).recover()
    known = run.checksums.expected()["models/a/predictions.parquet"][1]
    assert set(known) == {integrity.sha256(one) for one in left}


def test_a_job_that_was_written_before_a_kill_is_listed_by_the_next_call(tmp_path):
    RunWriter(tmp_path / "whole").open(tiny_job(), "f" * 64)
    run = RunWriter(tmp_path / "killed")
    run.checksums.begin()
    run.store.write_bytes("job.toml", (tmp_path / "whole" / "job.toml").read_bytes())
    again = RunWriter(run.path)
    again.open(tiny_job(), "f" * 64)
    assert "job.toml" in again.checksums.expected()


def test_what_tells_that_a_table_is_whole_is_listed_by_whatever_process_ends_the_stage(tmp_path, monkeypatch):
    far = pa.fs.SubTreeFileSystem(str(tmp_path), pa.fs.LocalFileSystem())
    monkeypatch.setattr(storage, "open_filesystem", lambda location: (far, "run"))
    run = RunWriter("s3://b/run")
    run.open(tiny_job(), "f" * 64)
    run.store.write_sealed("staging/maps/a", TABLE)
    run.commit_table("maps")
    run = RunWriter("s3://b/run")  # the other was killed
    run.checksums.seal("attribute")
    assert "maps/_whole" in run.checksums.expected()


def test_a_damaged_record_is_known_and_its_copy_serves(tmp_path):
    run = RunWriter(tmp_path)
    run.write_record({"format": 1, "name": "x", "status": "complete", "stages": {}, "counts": {"images": 7}})
    record, good = run.record, (tmp_path / "run.json").read_bytes()
    for place in range(8 * len(good)):
        (tmp_path / "run.json").write_bytes(flipped(good, place))
        found = run.record
        assert {key: found[key] for key in record} == record
    (tmp_path / ".backup" / "run.json").write_bytes(b"{")
    flip(tmp_path / "run.json", 300)
    with pytest.raises(RunError, match=r"run\.json: damaged"):
        _ = run.record


@pytest.mark.parametrize("problem", ["damaged", "missing"])
@pytest.mark.parametrize("name", ["run.json", ".backup/run.json", "SHA256SUMS", ".backup/SHA256SUMS"])
def test_of_two_copies_the_whole_one_mends_the_other_with_the_next_run(tmp_path, name, problem, capfd):
    path = tmp_path / "run"
    run = RunWriter(path)
    run.open(tiny_job(), "f" * 64)
    run.complete()
    good, place, record = (path / name).read_bytes(), path / name, run.record
    place.write_bytes(flipped(good, 300)) if problem == "damaged" else place.unlink()
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    found = verification.verify(Run(path)).findings
    assert [(finding.name, finding.problem) for finding in found] == [(name, problem)]
    assert Run(path).record == record
    assert [row["status"] for row in display.rows(str(tmp_path))] == ["complete"]
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    RunWriter(path).refuse_other_folder()
    assert not RunWriter(path).is_new
    RunWriter(path).open(tiny_job(), "f" * 64)
    assert place.read_bytes() == good
    assert f"{name}: {problem}; " in capfd.readouterr().err
    assert verification.verify(Run(path)).findings == []
    RunWriter(path).open(tiny_job(), "f" * 64)
    assert capfd.readouterr().err == ""


def test_a_run_of_an_older_version_without_copies_gets_them_without_a_word(tmp_path, capfd):
    run = RunWriter(tmp_path)
    run.open(tiny_job(), "f" * 64)
    shutil.rmtree(tmp_path / ".backup")
    (tmp_path / "SHA256SUMS").unlink()
    RunWriter(tmp_path).open(tiny_job(), "f" * 64)
    assert [path.name for path in (tmp_path / ".backup").iterdir()] == ["run.json"]
    assert not run.checksums.exist  # whether its files add up is asked first
    assert capfd.readouterr().err == ""


def test_of_two_files_of_a_repeated_task_one_is_taken(tmp_path):
    run = RunWriter(tmp_path)
    run.write_record({"format": 1, "stages": {}, "counts": {}})
    run.store.write_sealed("staging/maps/aa-000000", TABLE)
    run.store.write_sealed("staging/maps/aa-000000", TABLE.slice(0, 100))
    run.store.write_sealed("staging/maps/aa-000001", TABLE)
    assert len(run.staged("maps")) == 2
    assert len(run.store.files("staging/maps")) == 2
