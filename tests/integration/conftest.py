import os

import pytest
from helpers.paths import HELPERS

from pneumo_batch import pipeline
from pneumo_batch.job import jobfile, schema
from pneumo_batch.rundir.reader import Run

# What makes a run small: two epochs teach nothing, and nothing here asks a model to know anything.
TINY = {
    "name": "tiny",
    "data": {"root": "phantom", "image_size": 64, "val_fraction": 0.2},
    "phantom": {"train": 40, "test": 14, "image_size": 96},
    "train": {"true_seeds": [0, 1], "random_seeds": [100], "epochs": 2, "max_epochs": 2, "batch_size": 8},
    "attribution": {"rows_per_file": 4},
    "compare": {"resamples": 100},
}


def tiny_job(**sections):
    """The tiny job with some values of its sections replaced."""
    values = {name: dict(part) if isinstance(part, dict) else part for name, part in TINY.items()}
    for name, part in sections.items():
        values[name] = {**values.get(name, {}), **part} if isinstance(part, dict) else part
    return jobfile.parse(values, source="test")


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
