import contextlib
import os

import filelock
import pytest
from helpers import forked_workers
from helpers.paths import HELPERS
from helpers.tiny import tiny_job

from pneumo_batch import pipeline
from pneumo_batch.job import schema
from pneumo_batch.rundir.layout import RECORD
from pneumo_batch.rundir.reader import Run


@pytest.fixture(scope="session", autouse=True)
def environment():
    """What Ray's workers need, which have the environment that Ray was started with."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(HELPERS.parent), prepend=os.pathsep)  # a test's own networks and methods
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.setenv(name, "any")  # the S3 server of test_s3.py wants some
        patched.setenv("AWS_EC2_METADATA_DISABLED", "true")
        # Idle workers stay for the next stage and the next run: one that starts anew imports everything again.
        patched.setenv("RAY_num_workers_soft_limit", "6")
        yield


@pytest.fixture(scope="session")
def ray_cluster():
    """One small Ray cluster for all tests of a session; runs join it instead of starting their own.

    It is as on a machine of one processor: a run has a process less for each of training and attribution, and beside
    it works another session of tests. Processes are forked, for each would import the same for seconds.
    """
    from pneumo_batch.execution import cluster

    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patched:  # while it starts: other tests ask what this machine has
            patched.setattr(cluster, "usable_cpus", lambda: 1)
            forked_workers.install(patched, stack)
            resources = stack.enter_context(cluster.session(schema.Cluster()))
        yield resources


@pytest.fixture(scope="session")
def tiny_run(ray_cluster, common_folder) -> Run:
    """A complete run that tests read and must not change."""
    run = Run(common_folder / "tiny")
    with filelock.FileLock(f"{run.path}.lock"):
        if not run.store.exists(RECORD) or run.record["status"] != "complete":
            assert pipeline.execute(tiny_job(), run.path).complete
    return run
