import os

import pytest
from helpers.paths import HELPERS
from helpers.tiny import tiny_job

from pneumo_batch import pipeline
from pneumo_batch.job import schema
from pneumo_batch.rundir.reader import Run


@pytest.fixture(scope="session", autouse=True)
def environment():
    """What Ray's workers need, which have the environment that Ray was started with."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(HELPERS.parent), prepend=os.pathsep)  # a test's own networks and methods
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.setenv(name, "any")  # the S3 server of test_s3.py wants some
        patched.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="session")
def ray_cluster():
    """One small Ray cluster for all tests of a session; runs join it instead of starting their own."""
    from pneumo_batch.execution import cluster

    with cluster.session(schema.Cluster()) as resources:
        yield resources


@pytest.fixture(scope="session")
def tiny_run(ray_cluster, tmp_path_factory) -> Run:
    """A complete run that tests read and must not change."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    outcome = pipeline.execute(tiny_job(), str(path))
    assert outcome.complete
    return outcome.run
