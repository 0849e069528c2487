"""A holder that was suspended, and whose run somebody else has taken up."""

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


def test_a_holder_that_has_lost_its_lease_leaves_the_record_to_the_next(tmp_path, monkeypatch):
    far = pa.fs.SubTreeFileSystem(str(tmp_path), pa.fs.LocalFileSystem())
    monkeypatch.setattr(storage, "open_filesystem", lambda location: (far, "run"))

    def terminate(*_arguments):
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
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
        signal.signal(signal.SIGTERM, before)
        claim.release()
    assert other.record["status"] == "running"
    assert other.record["error"] is None
    assert other.store.files("events") == events
