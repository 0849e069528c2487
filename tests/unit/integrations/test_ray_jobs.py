"""What a cluster is told of a job, and how its log is followed, against a client that answers as Ray's does."""

import aiohttp
import pytest
from ray.job_submission import JobDetails, JobStatus, JobType

from pneumo_batch.errors import JobError
from pneumo_batch.integrations import ray_jobs
from pneumo_batch.job import schema
from pneumo_batch.stages import survey

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


class Head:
    """A client whose connections each send the log from its beginning and end as they are told to."""

    def __init__(self, *connections):
        self.connections = list(connections)

    async def tail_job_logs(self, _):
        *chunks, end = self.connections.pop(0)
        for chunk in chunks:
            yield chunk
        if isinstance(end, Exception):
            raise end
        yield end

    def get_job_info(self, submission_id):
        status = JobStatus.RUNNING if self.connections else JobStatus.SUCCEEDED
        return JobDetails(type=JobType.SUBMISSION, submission_id=submission_id, status=status, entrypoint="x")


DROPPED = (
    RuntimeError("WebSocket connection closed unexpectedly with close code 1006"),
    aiohttp.ServerDisconnectedError(),
    aiohttp.WSServerHandshakeError(None, (), status=502, message="Invalid response status"),
    ConnectionResetError("reset"),
)


@pytest.fixture
def impatient(monkeypatch):
    """Time to lose: none from the first connection that fails."""
    monkeypatch.setattr(ray_jobs, "_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(ray_jobs, "_LOST_SECONDS", 0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("error", DROPPED, ids=lambda error: type(error).__name__)
def test_a_log_whose_connection_drops_is_shown_once(error, capsys):
    head = Head(["one\n", "two\n", error], ["one\ntw", "o\n", "three\n", error], ["one\ntwo\nthree\nfo", "ur\n"])
    assert ray_jobs.follow(head, ADDRESS, "x").status == JobStatus.SUCCEEDED
    assert capsys.readouterr().err == "one\ntwo\nthree\nfour\n"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("error", DROPPED, ids=lambda error: type(error).__name__)
def test_a_cluster_that_answers_no_more_is_one_line(error, capsys):
    head = Head(["one\n", error], [error], [error])
    with pytest.raises(JobError, match=rf"^--address {ADDRESS} no longer answers; x may still run: the same command"):
        ray_jobs.follow(head, ADDRESS, "x")
    assert capsys.readouterr().err == "one\n"
    assert len(head.connections) == 1


def test_files_of_the_network_are_sent_with_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def sent(**network):
        return ray_jobs._values(schema.Job(name="x", network=network))["network"]

    assert sent(name="nets/x.pt") == {"name": str(tmp_path / "nets" / "x.pt"), "weights": "none"}
    assert sent(name="/nets/x.pt2")["name"] == "/nets/x.pt2"
    assert sent(weights="nets/mine.pth") == {"name": "cnn5", "weights": str(tmp_path / "nets" / "mine.pth")}
    for network in (
        {"name": "cnn5", "weights": "none"},
        {"name": "resnet18", "weights": "imagenet"},
        {"name": "nets:cnn", "weights": "none"},
    ):
        assert sent(**network) == network


def test_a_job_is_named_by_the_fingerprint_that_its_run_has_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.pth").write_bytes(b"weights")
    asked = schema.Job(name="x", network={"weights": "mine.pth"})
    sent = schema.Job.model_validate(ray_jobs._values(asked))
    assert ray_jobs.identity(asked) == survey.survey(sent).fingerprint
