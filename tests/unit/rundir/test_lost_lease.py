"""A holder that was suspended, and whose run somebody else has taken up."""

import itertools
import signal
import threading

import pyarrow as pa
import pyarrow.fs
import pytest

from pneumo_batch import pipeline
from pneumo_batch.rundir import lease, storage
from pneumo_batch.rundir.writer import RunWriter


class Terminated(BaseException):
    """What the command makes of SIGTERM."""


@pytest.fixture(autouse=True)
def far(tmp_path, monkeypatch):
    """Runs that are held by a lease, in a process that unwinds when it is told to end."""
    place = pa.fs.SubTreeFileSystem(str(tmp_path), pa.fs.LocalFileSystem())
    monkeypatch.setattr(storage, "open_filesystem", lambda location: (place, "run"))

    def terminate(*_arguments):
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_holder_that_has_lost_its_lease_leaves_the_record_to_the_next():
    run, other = RunWriter("s3://b/run"), RunWriter("s3://b/run")
    base = {"name": "n", "fingerprint": "f" * 64, "status": "running", "stages": {}, "counts": {}, "error": None}
    run.write_record(base)
    claim = lease.Lease(run.store, 0.1)
    claim.acquire()
    try:
        with pytest.raises(Terminated), pipeline._recorded(run):  # noqa: PT012
            other.stage("index", status="complete", counts={})
            events = other.store.files("events")
            lease._remove(other.store, claim.name)  # as its next holder does
            threading.Event().wait(30)
    finally:
        claim.release()
    assert other.record["status"] == "running"
    assert other.record["error"] is None
    assert other.store.files("events") == events


def test_a_holder_that_was_suspended_amid_its_renewal_finds_out_with_the_next(monkeypatch):
    run, other = RunWriter("s3://b/run"), RunWriter("s3://b/run")
    claim = lease.Lease(run.store, 0.1)
    claim.acquire()
    put, renewals = claim._put, itertools.count()

    def renew(suffix):
        if next(renewals) == 0:  # it has looked, and is suspended until the lease has gone to somebody else
            lease._remove(other.store, claim.name)
        put(suffix)

    monkeypatch.setattr(claim, "_put", renew)
    try:
        with pytest.raises(Terminated):
            threading.Event().wait(10)
    finally:
        claim.release()
    assert lease.claims(other.store) == []
