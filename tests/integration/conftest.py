import os
import sys
from pathlib import Path

import pytest

from pneumo_batch import pipeline
from pneumo_batch.job import jobfile, schema
from pneumo_batch.rundir.reader import Run

# Workers find a test's own networks and methods where the driver does.
HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [HERE, os.environ.get("PYTHONPATH")]))
# Ray's workers have the environment that Ray was started with, and the S3 server of test_s3.py wants credentials, any.
os.environ.update(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_EC2_METADATA_DISABLED="true")

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
