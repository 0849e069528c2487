"""Data and runs on an object store: a real S3 server that the tests start and end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pytest
from helpers.command import command, free_port, one_line, wait_for
from helpers.tiny import tiny_job

from pneumo_batch import pipeline
from pneumo_batch.cli import data_check
from pneumo_batch.core.data import phantom
from pneumo_batch.errors import JobError, RunError
from pneumo_batch.execution import cluster
from pneumo_batch.job import jobfile
from pneumo_batch.job.schema import Data
from pneumo_batch.rundir import exchange, lease, verification
from pneumo_batch.rundir.integrity import parquet_bytes
from pneumo_batch.rundir.storage import Store
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages.workers import pixels

BEAT = 0.2
LIVING_BEAT = 2  # of a holder that is to be seen alive: the store tells whole seconds, and a busy machine renews late


def serve(**environment):
    """(process, environment of its clients)."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return process, client, port


@pytest.fixture(scope="module")
def bucket():
    """The URI of an empty bucket, and how clients reach it."""
    process, _, port = serve()
    place = f"endpoint_override=127.0.0.1%3A{port}&scheme=http&region=us-east-1"
    try:
        wait_for(lambda: can_connect(port), process)
        fs, _ = pyarrow.fs.FileSystem.from_uri(f"s3://bucket?{place}&allow_bucket_creation=true")
        fs.create_dir("bucket")
        yield lambda name: f"s3://bucket/{name}?{place}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def can_connect(port):
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def put_films(uri, folder):
    phantom.write(folder, train=40, test=8, seed=3, image_size=64)
    fs, path = pyarrow.fs.FileSystem.from_uri(uri)
    pyarrow.fs.copy_files(str(folder), path, destination_filesystem=fs)


def small_job(root):
    return tiny_job(
        data={"root": root},
        train={"true_seeds": [0], "epochs": 1, "max_epochs": 1},
        attribution={"integrated_gradients": {"steps": 4}},
    )


def test_data_check_of_an_object_store_is_the_local_one(bucket, tmp_path):
    phantom.write(tmp_path / "films", train=8, test=4, seed=0, image_size=32)
    next((tmp_path / "films" / "test" / "NORMAL").iterdir()).write_bytes(b"no image")
    pyarrow.fs.copy_files(str(tmp_path / "films"), bucket("checked"))
    found = [data_check.audit(Data(root=root)) for root in (bucket("checked"), str(tmp_path / "films"))]
    assert found[0] == found[1]
    assert (found[0].images, sum(found[0].quarantined.values())) == (11, 1)


@pytest.mark.slow
def test_a_run_on_an_object_store_is_the_local_one(ray_cluster, bucket, tmp_path):
    put_films(bucket("films"), tmp_path / "films")
    far = pipeline.execute(small_job(bucket("films")), bucket("runs/far"))
    near = pipeline.execute(small_job(str(tmp_path / "films")), str(tmp_path / "near"))
    assert far.complete
    assert far.run.store.walk("staging") == []
    assert not pixels._copies(far.run.path).exists()  # what this machine had of the decoded images
    assert far.run.record["fingerprint"] == near.run.record["fingerprint"]
    for variant in near.run.variants():
        weights = [run.store.read_bytes(f"models/{variant}/model.safetensors") for run in (far.run, near.run)]
        assert weights[0] == weights[1]
    for method in ("integrated_gradients", "grad_cam"):
        (ids, maps_NHW), (expected_ids, expected_NHW) = (run.maps(method, "true_0") for run in (far.run, near.run))
        assert ids == expected_ids
        np.testing.assert_array_equal(maps_NHW, expected_NHW)
    assert far.run.verdict["methods"] == near.run.verdict["methods"]
    assert far.run.inputs(ids[:1]).shape == (1, 1, 64, 64)
    assert not far.run.is_held()
    assert verification.verify(far.run).findings == []
    assert not pipeline.execute(small_job(bucket("films")), bucket("runs/far")).worked
    # A commit that was cut short: half of the table's files have moved, and readers are not shown them.
    run = far.run
    moved = run.store.files("maps", ".parquet")
    run.store.fs.move(run.store.path(moved[0]), run.store.path(f"staging/{moved[0]}"))
    run.store.remove("maps/_whole")
    stages = run.record["stages"]
    run.update_record(status="running", stages={name: stages[name] for name in ("index", "train")})
    with pytest.raises(ValueError, match="no maps yet"):
        run.maps("grad_cam", "true_0")
    again = pipeline.execute(small_job(bucket("films")), bucket("runs/far"))
    assert again.complete
    assert run.store.files("maps", ".parquet") == moved  # none computed again
    np.testing.assert_array_equal(run.maps("grad_cam", "true_0")[1], near.run.maps("grad_cam", "true_0")[1])
    damaged = bytearray(run.store.read_bytes(moved[0]))
    damaged[100] ^= 1
    run.store.write_bytes(moved[0], bytes(damaged))
    assert [finding.name for finding in verification.verify(run).findings] == [moved[0]]


KILLED = """
name = "killed"
[data]
root = "{root}"
image_size = 64
[train]
true_seeds = [0]
random_seeds = [100]
epochs = 1
max_epochs = 1
batch_size = 8
[attribution]
rows_per_file = 1
integrated_gradients = {{ steps = 100 }}
[compare]
resamples = 100
"""


@pytest.mark.slow
def test_a_run_killed_on_an_object_store_goes_on_and_is_the_local_one(ray_cluster, bucket, tmp_path):
    put_films(bucket("films_killed"), tmp_path / "films")
    job, uri = tmp_path / "killed.toml", bucket("runs/killed")
    job.write_text(KILLED.format(root=bucket("films_killed")))
    store = Store(uri)
    with subprocess.Popen(command("run", str(job), "--run-dir", uri), stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: bool(store.files("staging/maps", ".parquet")), process)
        process.kill()
    assert RunWriter(uri).record["status"] == "running"
    kept = store.files("staging/maps", ".parquet")
    early = subprocess.run(command("run", str(job), "--run-dir", uri), capture_output=True, text=True, check=False)
    assert early.returncode == 75, early.stderr  # nobody can tell yet that the holder is dead
    assert f"process {process.pid} on " in one_line(early)
    time.sleep(lease.BEAT_SECONDS * lease.LIFE_BEATS)
    later = subprocess.run(command("run", str(job), "--run-dir", uri), capture_output=True, text=True, check=False)
    assert later.returncode == 0, later.stderr
    run = RunWriter(uri)
    assert {name.rpartition("/")[2] for name in kept} < {
        name.rpartition("/")[2] for name in store.files("maps", ".parquet")
    }
    near = pipeline.execute(jobfile.load(job, [f"data.root={tmp_path / 'films'}"]), str(tmp_path / "near")).run
    assert run.record["status"] == "complete"
    assert run.record["counts"] == near.record["counts"]
    for variant in near.variants():
        for method in ("integrated_gradients", "grad_cam"):
            (ids, maps_NHW), (expected_ids, expected_NHW) = (one.maps(method, variant) for one in (run, near))
            assert ids == expected_ids
            np.testing.assert_array_equal(maps_NHW, expected_NHW)
    assert run.verdict["methods"] == near.verdict["methods"]


def test_a_store_that_nodes_cannot_reach_is_one_line_before_anything_is_computed(ray_cluster):
    gone = RunWriter(f"s3://bucket/run?endpoint_override=127.0.0.1%3A{free_port()}&scheme=http&region=us-east-1")
    with pytest.raises(JobError, match="a node of the cluster: it needs the credentials"):
        cluster.check_shared(gone)
    with pytest.raises(RunError, match=r"^s3://bucket/run\?.*: cannot be read: "):
        assert gone.is_new


@pytest.mark.parametrize("there", ["film.png", "maps/a.parquet", "nested/marker/"])
def test_a_prefix_of_something_else_becomes_no_run(bucket, there):
    store = Store(bucket(f"taken/{there[:4]}"))
    if there.endswith("/"):
        store.fs.create_dir(store.path(there.rstrip("/")))  # the object of no bytes that stands for a folder
    else:
        store.write_bytes(there, b"theirs")
    run = RunWriter(store.location)
    first = there.partition("/")[0]
    with pytest.raises(
        RunError, match=rf"holds no run, but is not empty \(it has {first}\): choose another --run-dir$"
    ):
        run.refuse_other_folder()
    with pytest.raises(RunError, match="holds no run, but is not empty"):
        pipeline.execute(tiny_job(), store.location)
    if not there.endswith("/"):
        with pytest.raises(RunError, match=r"a file, not a folder: choose another --run-dir$"):
            RunWriter(bucket(f"taken/{there[:4]}/{there}")).refuse_other_folder()
    assert not [info for info in store.fs.get_file_info(pa.fs.FileSelector(store.root)) if info.base_name != first]


def test_an_empty_prefix_and_one_of_a_run_that_ended_before_its_record_become_one(bucket):
    for name in ("new", "marked", "begun", "copied"):
        run = RunWriter(bucket(f"fresh/{name}"))
        if name == "marked":
            run.store.fs.create_dir(run.store.root)
        if name in ("begun", "copied"):
            run.store.write_bytes(".lock/left~1~10~behind.claim", b"")
            run.checksums.begin()
            run.store.write_bytes("job.toml", b"")
        if name == "copied":  # killed between the record's copy and the record
            run.open(tiny_job(), "f" * 64)
            run.store.remove("run.json")
        run.refuse_other_folder()
        run.open(tiny_job(), "f" * 64)
        assert run.record["status"] == "running"
        run.refuse_other_folder()  # nor is a run that is resumed


def test_whether_a_prefix_is_taken_is_told_from_one_level_of_it(bucket):
    """What lies deeper may be a whole bucket."""
    store = Store(bucket("deep"))
    for number in range(3):
        store.write_bytes(f"a/b/{number}.png", b"")
    assert store.names() == ["a"]
    asked, real = [], store.fs

    class Asked:
        def __getattr__(self, name):
            return getattr(real, name)

        def get_file_info(self, what):
            found = real.get_file_info(what)
            asked.extend(found if isinstance(found, list) else [])
            return found

    run = RunWriter(store.location)
    run.store.fs = Asked()
    with pytest.raises(RunError, match=r"it has a\)"):
        run.refuse_other_folder()
    assert len(asked) == 1


class Dying:
    """A file system that is gone at a move: before it, or between the copy and the deletion that it is made of."""

    def __init__(self, real, moves, *, copied):
        self.real, self.left, self.copied = real, moves, copied

    def __getattr__(self, name):
        return getattr(self.real, name)

    def move(self, source, target):
        if not self.left:
            if self.copied:
                self.real.copy_file(source, target)
            raise OSError("the network went away")
        self.left -= 1
        self.real.move(source, target)


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("moves", [0, 1, 2, 3])
def test_a_table_that_is_being_extended_is_not_there_until_it_is_whole(bucket, moves, copied):
    store = Store(bucket("tables"))
    for name, value in (("t/old", 1), ("staging/t/a", 2), ("staging/t/b", 3), ("staging/t/c", 4)):
        store.write_table(f"{name}.parquet", pa.table({"x": [value]}))
    store.write_bytes("t/_whole", b"")
    replaced = parquet_bytes(pa.table({"x": [0]}))
    assert store.has("t")
    real, store.fs = store.fs, Dying(store.fs, moves, copied=copied)
    with pytest.raises(OSError, match="went away"):
        exchange.extend(store, "t", "staging/t", "p0002-", {"t/old.parquet": replaced})
    store.fs = real
    assert not store.has("t")
    for _ in range(2):  # there is nothing to recover the second time
        exchange.recover(store, "t", "staging/t")
        assert store.has("t")
        assert store.files("t") == ["t/old.parquet", *(f"t/p0002-{name}.parquet" for name in "abc")]
        assert sorted(store.read_table("t")["x"].to_pylist()) == [0, 2, 3, 4]
        assert store.walk("staging") == []


def test_of_many_contenders_never_two_hold(bucket):
    store = Store(bucket("contended"))
    inside, most, won = [], [], []

    def contend():
        for _ in range(3):
            claim = lease.Lease(store, BEAT * 20)
            try:
                claim.acquire()
            except lease.HeldError:
                continue
            inside.append(claim)
            most.append(len(inside))
            won.append(1)
            time.sleep(0.02)
            inside.remove(claim)
            claim.release()

    threads = [threading.Thread(target=contend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won
    assert max(most) == 1
    assert lease.claims(store) == []


HOLD = """
import sys, time
from pneumo_batch.rundir import lease
from pneumo_batch.execution import cluster
from pneumo_batch.rundir.storage import Store
lease.Lease(Store(sys.argv[1]), float(sys.argv[2])).acquire()
print("held", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def holding(uri, beat):
    """A process that holds a run until the block ends."""
    with subprocess.Popen([sys.executable, "-c", HOLD, uri, str(beat)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def test_a_living_holders_lease_is_not_taken_however_long_ago_it_seems_renewed(bucket, monkeypatch):
    """Where this machine's clock is an hour ahead of the store's, every claim looks left behind."""
    uri = bucket("living")
    store = Store(uri)
    with holding(uri, LIVING_BEAT) as holder:
        (first,) = lease.claims(store)
        wait_for(lambda: lease.claims(store)[0].renewed > first.renewed, holder)
        for ahead in (0, 3600):
            now = time.time
            with monkeypatch.context() as wrong:
                wrong.setattr(lease.time, "time", lambda now=now, ahead=ahead: now() + ahead)
                assert lease.claims(store)[0].is_aged == bool(ahead)
                with pytest.raises(lease.HeldError, match=f"process {holder.pid} on "):
                    lease.Lease(store, BEAT).acquire()
                assert RunWriter(uri).is_held()
        assert [claim.name for claim in lease.claims(store)] == [first.name]
        assert holder.poll() is None


def test_a_killed_holders_lease_is_taken_over_once_its_life_is_over(bucket):
    uri = bucket("killed")
    store = Store(uri)
    with holding(uri, BEAT):
        pass
    wait_for(lambda: lease.claims(store)[0].is_aged)
    assert not RunWriter(uri).is_held()
    claim = lease.Lease(store, BEAT)
    claim.acquire()
    assert [one.name for one in lease.claims(store)] == [claim.name]
    claim.release()


def test_a_holder_whose_lease_was_taken_ends_itself(bucket):
    uri = bucket("lost")
    with holding(uri, BEAT) as holder:
        Store(uri).remove(f".lock/{lease.claims(Store(uri))[0].name}.claim")
        assert holder.wait(timeout=30) == -signal.SIGTERM


def test_a_run_that_is_held_is_busy_and_nothing_of_it_changes(bucket, tmp_path):
    uri = bucket("runs/held")
    put_films(bucket("few"), tmp_path / "films")
    job = tmp_path / "job.toml"
    job.write_text(f'name = "tiny"\n[data]\nroot = "{bucket("few")}"\nimage_size = 64\n')
    claim = lease.Lease(Store(uri))
    claim.acquire()
    result = subprocess.run(command("run", str(job), "--run-dir", uri), capture_output=True, text=True, check=False)
    assert result.returncode == 75
    assert f"process {os.getpid()} on " in one_line(result)
    assert not Store(uri).exists("run.json")
    claim.release()


def test_a_denied_or_missing_place_is_one_line_that_names_it(tmp_path):
    process, client, port = serve(INITIAL_NO_AUTH_ACTION_COUNT="0")
    try:
        wait_for(lambda: can_connect(port), process)
        data, run_dir = tmp_path / "data.toml", tmp_path / "run.toml"
        data.write_text('name = "x"\n[data]\nroot = "s3://denied/films"\n')
        run_dir.write_text('name = "x"\n[phantom]\ntrain = 8\ntest = 4\nimage_size = 64\n')
        environment = {**os.environ, **client}
        for arguments, code, message in (
            ((str(data),), 3, "s3://denied/films: cannot be "),
            ((str(run_dir), "--run-dir", "s3://denied/run"), 2, "s3://denied/run: cannot be "),
        ):
            result = subprocess.run(
                command("run", *arguments), env=environment, capture_output=True, text=True, check=False
            )
            assert result.returncode == code, result.stderr
            assert message in one_line(result)
            assert json.dumps(result.stderr).count("ACCESS_DENIED") + result.stderr.count("INVALID_ACCESS_KEY") == 1
    finally:
        process.terminate()
        process.wait(timeout=30)
