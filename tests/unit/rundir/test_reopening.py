"""A run whose damaged stages are taken back, and a kill at each of the steps of that."""

import itertools

import pyarrow as pa
import pytest
from helpers.tiny import tiny_job

from pneumo_batch import cli
from pneumo_batch.errors import RunBusyError
from pneumo_batch.rundir import checksums, exchange, verification
from pneumo_batch.rundir.layout import STAGES
from pneumo_batch.rundir.writer import RunWriter


class Killed(BaseException):
    """As a SIGKILL, it runs no cleanup of the program."""


def damaged_run(path, status):
    """A run with two files of maps, one of them damaged, and a table of scores."""
    run = RunWriter(path)
    run.checksums.begin()
    done = {"status": "complete"}
    run.write_record({"status": status, "stages": dict.fromkeys(STAGES, done), "counts": {}})
    for table, stage in (("maps", "attribute"), ("scores", "compare")):
        for image in "ab":
            run.store.write_sealed(f"staging/{table}/{image}", pa.table({"image_id": [image]}))
        run.commit_table(table)
        run.checksums.seal(stage)
    name = run.store.files("maps")[0]
    content = bytearray(run.store.read_bytes(name))
    content[60] ^= 1
    run.store.write_bytes(name, bytes(content))
    return RunWriter(path)


def dying(monkeypatch, run, calls):
    """Let a process die at one of its steps."""
    left = itertools.count(calls, -1)

    def step(real):
        def call(*arguments, **named):
            if next(left) == 0:
                raise Killed
            return real(*arguments, **named)

        return call

    monkeypatch.setattr(run.store, "write_bytes", step(run.store.write_bytes))
    monkeypatch.setattr(run.store, "remove", step(run.store.remove))
    monkeypatch.setattr(exchange, "move", step(exchange.move))


def reopen(run):
    verification.reopen(run, verification.verify(run).findings, grows=False)


def state(run):
    """What its files hold, but for times and what was said."""
    names = set(run.store.walk("")) - {"run.json", ".backup/run.json", "events.jsonl"}
    contents = {name: run.store.read_bytes(name) for name in names}
    return contents, {key: value for key, value in run.record.items() if key != "updated"}


@pytest.mark.parametrize("status", ["complete", "running"])
def test_damage_is_not_forgotten_when_its_reopening_is_killed(tmp_path, monkeypatch, status):
    whole = damaged_run(tmp_path / "whole", status)
    reopen(whole)
    for calls in itertools.count():
        run = damaged_run(tmp_path / str(calls), status)
        with monkeypatch.context() as killing:
            dying(killing, run, calls)
            try:
                reopen(run)
                was_killed = False
            except Killed:
                was_killed = True
        run = RunWriter(run.path)
        assert "attribute" not in run.record["stages"] or verification.verify(run).findings
        reopen(run)  # as the next call does
        assert list(run.record["stages"]) == ["index", "train"]
        assert run.record["status"] == "running"
        assert verification.verify(run).findings == []
        assert [name.partition("-")[0] for name in run.store.files("staging/maps")] == ["staging/maps/b"]
        assert run.store.files("maps") == run.store.files("scores") == []
        assert state(run) == state(whole)
        if not was_killed:
            assert calls > 5
            return


@pytest.fixture
def crashed(tmp_path, monkeypatch):
    """A run that was killed when its maps were ready to become a table, and of which a model is damaged."""
    run = RunWriter(tmp_path / "run")
    run.open(tiny_job(), "f" * 64)
    checksums.write_model(run.store, "true_0", {"model.safetensors": b"weights", "model.json": b"{}"})
    run.stage("index", status="complete")
    run.checksums.seal("train")
    run.stage("train", status="complete")
    run.store.write_sealed("staging/maps/a", pa.table({"image_id": ["a"]}))

    def killed(*_):
        raise Killed

    with monkeypatch.context() as killing:
        killing.setattr(exchange, "recover", killed)
        with pytest.raises(Killed):
            run.commit_table("maps")
    run.store.write_bytes("models/true_0/model.safetensors", b"others")
    return run.path


def test_a_table_that_a_crash_left_ready_does_not_come_back_after_its_stage_was_taken_back(crashed):
    assert cli.cli.main(["verify", crashed, "--reopen"], standalone_mode=False) == 3
    run = RunWriter(crashed)
    run.recover()
    assert list(run.record["stages"]) == ["index"]
    assert not run.is_committed("maps")
    assert run.store.walk("staging") == []


def test_what_was_found_of_a_run_is_not_done_to_one_that_has_gone_on_meanwhile(crashed, monkeypatch):
    real = verification.verify_unheld

    def overtaken(run):
        found = real(run)
        RunWriter(run.path).stage("attribute", status="complete")
        return found

    monkeypatch.setattr(verification, "verify_unheld", overtaken)
    with pytest.raises(RunBusyError, match=r"another process has worked on this run meanwhile; try again$"):
        cli.cli.main(["verify", crashed, "--reopen"], standalone_mode=False)
    assert list(RunWriter(crashed).record["stages"]) == ["index", "train", "attribute"]


@pytest.mark.parametrize("calls", range(3))
def test_a_kill_while_predictions_are_cut_leaves_models_that_are_as_listed(tmp_path, monkeypatch, calls):
    from pneumo_batch.rundir.integrity import parquet_bytes
    from pneumo_batch.stages import train

    run = RunWriter(tmp_path)
    run.checksums.begin()
    run.write_record({"status": "running", "stages": {}, "counts": {}})
    whole = pa.table({"image_id": ["a", "b"]})
    for variant in ("true_0", "random_100"):
        files = {"predictions.parquet": parquet_bytes(whole), "model.json": b"{}"}
        checksums.write_model(run.store, variant, files)
    monkeypatch.setattr(RunWriter, "unanswered", lambda self: {"b": "no number"})
    monkeypatch.setattr(RunWriter, "variants", lambda self: ["true_0", "random_100"])
    monkeypatch.setattr(RunWriter, "count", lambda self, table: 2)
    monkeypatch.setattr(RunWriter, "predictions_table", lambda self, variant: whole)
    real, written = run.checksums.write, itertools.count()

    def write(sections):
        if next(written) == calls + 1:  # the first is the seal
            raise Killed
        real(sections)

    monkeypatch.setattr(run.checksums, "write", write)
    with pytest.raises(Killed):
        train._leave_out_unanswered(run)
    assert verification.verify(RunWriter(tmp_path)).findings == []
