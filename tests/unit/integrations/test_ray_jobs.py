"""What a cluster is told of a job, and how its log is followed, against a client that answers as Ray's does."""

import pytest

from pneumo_batch.errors import JobError
from pneumo_batch.integrations import ray_jobs
from pneumo_batch.job import schema
from pneumo_batch.rundir import locations

ADDRESS = "http://head:8265"
SECRET = "s3://AKIA:SECRET@bucket/films"


class Untouched:
    """A client that is told nothing."""

    def list_jobs(self):
        raise AssertionError("asked for its jobs")


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        (SECRET, {}),
        ("s3://bucket/films?access_key=AKIA&secret_key=SECRET", {}),
        (None, {"data": {"root": SECRET}}),
        (None, {"data": {"root": ["/films", SECRET]}}),
        (None, {"data": {"root": "/films", "format": "list", "manifest": SECRET}}),
        (None, {"data": {"regions": SECRET}}),
        (None, {"variant": [{"name": "mine", "kind": "true", "checkpoint": SECRET}]}),
        (None, {"network": {"name": f"{SECRET}.pt"}}),
        (None, {"network": {"weights": SECRET}}),
    ],
)
def test_credentials_in_a_uri_are_not_sent_to_a_cluster(place, fields):
    with pytest.raises(JobError, match=r"^s3://bucket/films\S*: credentials in a URI would get into records") as caught:
        ray_jobs.submit(Untouched(), ADDRESS, schema.Job(name="x", **fields), place)
    assert "SECRET" not in str(caught.value)
    assert "AKIA" not in str(caught.value)


def test_a_uri_that_is_none_is_one_line_without_what_it_holds():
    with pytest.raises(JobError, match=r"^s3://: Invalid IPv6 URL$"):
        ray_jobs.submit(Untouched(), ADDRESS, schema.Job(name="x"), "s3://AKIA:SECRET@[bucket/run")


def test_a_uri_without_credentials_is_none_to_refuse():
    for location in ("s3://bucket/a:b@c", "s3://key@bucket/films", "a folder:b@c", "s3://bucket?scheme=http"):
        locations.refuse_credentials(location)
