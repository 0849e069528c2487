"""Two passes over growing data, killed before any of their writes: the next call makes what an undisturbed one makes.

The stages compute nothing; what they write, and all that is written around them, goes the ways of a run. `make test`
kills at some of the writes, `make test-faults` at each.
"""

import itertools
import os
import shutil

import pyarrow as pa
import pyarrow.fs
import pytest
from helpers.tiny import tiny_job

from pneumo_batch import pipeline
from pneumo_batch.execution import staging
from pneumo_batch.rundir import accounts, checksums, storage, verification
from pneumo_batch.rundir.integrity import parquet_bytes
from pneumo_batch.rundir.layout import MANIFEST, MAPS, QUARANTINE, SCORES, STAGING
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages.index import write_manifest
from pneumo_batch.stages.stage import Stage

JOB, FINGERPRINT = tiny_job(data={"root": "films", "grows": True}), "f" * 64
NIGHTS = (["a", "b"], ["a", "b", "c"])


class Killed(BaseException):
    """As a SIGKILL, it runs no cleanup of the program."""


def rows(ids, value=0):
    return pa.table({"image_id": pa.array(ids, pa.string()), "value": [value] * len(ids)})


def balance(run, table):
    accounts.check_balance(accounts.tally(run, MANIFEST).ids, accounts.tally(run, table), [], table)


class Nothing:
    """A stage that writes nothing, and what the others have of it."""

    def execute(self, job, run, resources):
        return {}

    def verify(self, job, run):
        return None


class Index(Nothing):
    def __init__(self, ids):
        self.ids = ids

    def execute(self, job, run, resources):
        if not run.is_committed(MANIFEST):
            fresh = accounts.ids_without(pa.array(self.ids), staging.earlier_ids(run, MANIFEST))
            run.checksums.replace(QUARANTINE, parquet_bytes(rows([])))
            write_manifest(run, rows(fresh.to_pylist()))
            run.commit_table(MANIFEST)
        return {"images": len(accounts.tally(run, MANIFEST))}

    def verify(self, job, run):
        accounts.check_balance(pa.array(self.ids), accounts.tally(run, MANIFEST), [], MANIFEST)


class Train(Nothing):
    def execute(self, job, run, resources):
        for variant in ("true_0", "random_100"):
            if not run.store.exists(f"models/{variant}/model.json"):
                weights = {"model.safetensors": variant.encode(), "predictions.parquet": b"old", "model.json": b"{}"}
                checksums.write_model(run.store, variant, weights)
        return {}


class Rows(Nothing):
    """One file an image, and in the second pass another content in one of the first."""

    def __init__(self, table):
        self.table = table

    def execute(self, job, run, resources):
        if not run.is_committed(self.table):
            wanted = accounts.ids_without(accounts.tally(run, MANIFEST).ids, staging.earlier_ids(run, self.table))
            done = staging.tally(run, self.table).ids
            for image_id in accounts.ids_without(wanted, done).to_pylist():
                run.store.write_sealed(f"{STAGING}/{self.table}/{image_id}", rows([image_id]))
            accounts.check_balance(wanted, staging.tally(run, self.table), [], self.table)
            earlier = run.files_of_pass(self.table, earlier=True)
            run.commit_table(self.table, {earlier[0]: rows(["a"], 1)} if earlier and self.table == SCORES else {})
        if self.table == MAPS and run.number > 1:
            for variant in ("true_0", "random_100"):
                run.checksums.replace(f"models/{variant}/predictions.parquet", b"new")
        return {}

    def verify(self, job, run):
        balance(run, self.table)


class Files(Nothing):
    def __init__(self, *names):
        self.names = names

    def execute(self, job, run, resources):
        for name in self.names:
            run.store.write_bytes(name, f"{name} of pass {run.number}".encode())
        return {}


def command(path, ids, monkeypatch):
    """What `run` does with a run of these films."""
    works = (
        Index(ids),
        Train(),
        Rows(MAPS),
        Rows(SCORES),
        Nothing(),
        Files("summary.parquet"),
        Files("report/index.html"),
    )
    named = zip(pipeline.layout.STAGES, works, strict=True)
    monkeypatch.setattr(pipeline, "STAGES", [Stage(name, lambda work=work: work, False) for name, work in named])
    run = RunWriter(path)
    run.refuse_other_folder()
    run.open(JOB, FINGERPRINT)
    run.recover()
    pipeline._reopen_damaged(JOB, run)
    pipeline._advance(JOB, run, None, "report")
    if len(accounts.tally(run, MANIFEST)) < len(ids):
        run.begin_pass()
        pipeline._reopen_damaged(JOB, run)
        pipeline._advance(JOB, run, None, "report")
    return run


def state(run):
    """What the files of a run hold, and its record without its times."""
    changing = ("run.json", ".backup/run.json", "events", "metrics.prom", ".")
    contents = {name: run.store.read_bytes(name) for name in run.store.walk("") if not name.startswith(changing)}
    record = {name: value for name, value in run.record.items() if name not in ("updated", "created")}
    stages = {name: {**stage, "seconds": 0} for name, stage in record["stages"].items()}
    return contents, {**record, "stages": stages}


class Steps:
    """Counts the changes of a disk and dies before one of them, and before all that would follow."""

    def __init__(self, allowed):
        self.left = itertools.count(allowed, -1)

    def __call__(self):
        if next(self.left) <= 0:
            raise Killed

    def before(self, real):
        def step(*arguments, **named):
            self()
            return real(*arguments, **named)

        return step


class DyingDisk:
    """An object store's file system: a move is a copy and a deletion, a folder goes object by object."""

    def __init__(self, real, steps):
        self.real, self.steps = real, steps

    def __getattr__(self, name):
        return getattr(self.real, name)

    def open_output_stream(self, path):
        self.steps()
        return self.real.open_output_stream(path)

    def delete_file(self, path):
        self.steps()
        self.real.delete_file(path)

    def delete_dir(self, path):
        for info in reversed(self.real.get_file_info(pa.fs.FileSelector(path, recursive=True))):
            if info.is_file:
                self.delete_file(info.path)
        self.real.delete_dir(path)

    def move(self, source, target):
        self.steps()
        self.real.copy_file(source, target)
        self.delete_file(source)


def dying(monkeypatch, steps, far):
    if far:
        monkeypatch.setattr(
            storage, "open_filesystem", lambda location: (DyingDisk(far, steps), location.rpartition("/")[2])
        )
        return
    for name in ("replace", "rename", "link", "unlink", "rmdir"):
        monkeypatch.setattr(os, name, steps.before(getattr(os, name)))
    monkeypatch.setattr(storage.Store, "remove", steps.before(storage.Store.remove))


def damage(folder, pattern):
    """Let a run that is to be resumed have a damaged file."""
    path = min(folder.glob(pattern))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("nights", "damaged"),
    [(0, None), (1, None), (1, "maps/a-*"), (1, "models/true_0/*.safetensors"), (2, "maps/p0002-*")],
)
@pytest.mark.parametrize("where", ["local", "far"])
@pytest.mark.parametrize("apart", [17, pytest.param(1, marks=pytest.mark.faults)])
def test_a_run_killed_before_a_write_becomes_what_it_would_have_been(
    where, nights, damaged, apart, tmp_path, monkeypatch
):
    far = pa.fs.SubTreeFileSystem(str(tmp_path), pa.fs.LocalFileSystem()) if where == "far" else None
    monkeypatch.setattr(os, "fsync", lambda _: None)  # which takes most of the time
    ids = NIGHTS[nights - 1 if damaged else nights]

    def call(name, ids, allowed=10**6):
        with monkeypatch.context() as patched:
            dying(patched, Steps(allowed), far)
            return command(f"s3://b/{name}" if far else f"{tmp_path}/{name}", ids, patched)

    for earlier in NIGHTS[:nights]:
        before = call("before", earlier)
    (tmp_path / "before").mkdir(exist_ok=True)
    if damaged:
        before.update_record(status="failed")
        damage(tmp_path / "before", damaged)
    shutil.copytree(tmp_path / "before", tmp_path / "whole")
    expected = state(call("whole", ids))
    for calls in itertools.count(step=apart):
        name = f"killed-{calls}"
        shutil.copytree(tmp_path / "before", tmp_path / name)
        try:
            call(name, ids, calls)
            was_killed = False
        except Killed:
            was_killed = True
        run = call(name, ids)
        assert state(run) == expected, calls
        assert verification.verify(run).findings == [], calls
        assert b'status="complete"} 1.0' in run.store.read_bytes("metrics.prom"), calls
        if not was_killed:
            break
    assert calls > 60
