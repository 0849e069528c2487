"""--hash-paths: a run directory that can be given away says nothing about where things lay."""

import gzip
import json
import re

import pyarrow.parquet as pq
import pytest
import torch
from helpers.tiny import lean_job, tiny_job

from pneumo_batch import cli, pipeline
from pneumo_batch.core.data import phantom
from pneumo_batch.core.models import networks
from pneumo_batch.errors import JobError
from pneumo_batch.rundir.writer import RunWriter


@pytest.fixture
def job(tmp_path):
    """A job that names its films and its models by absolute paths."""
    phantom.write(tmp_path / "films", train=8, test=10, seed=3, image_size=64)
    brought = []
    for seed, (name, kind) in enumerate({"mine": "true", "noise": "random"}.items()):
        torch.manual_seed(seed)
        path = tmp_path / f"{name}.pth"
        torch.save(networks.build("cnn5", image_size=64, channels=1, outputs=1).state_dict(), path)
        brought.append({"name": name, "kind": kind, "checkpoint": str(path)})
    return lean_job(
        data={"root": str(tmp_path / "films"), "normalise": [0.4, 0.3]},
        train={"true_seeds": [], "random_seeds": []},
        attribution={"methods": ["grad_cam"]},
        variant=brought,
    )


def contents(folder):
    """All that the files of a run say, tables as text."""
    for path in folder.rglob("*"):
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            texts = [name for name in table.column_names if not name.startswith(("grad_cam", "logit"))]
            yield path, f"{table.schema.metadata} {table.select(texts).to_pylist()}"
        elif path.is_file():
            data = path.read_bytes()
            yield path, (gzip.decompress(data) if path.suffix == ".gz" else data).decode(errors="replace")


def test_no_file_of_the_run_holds_an_absolute_path(ray_cluster, job, tmp_path):
    outcome = pipeline.execute(job, str(tmp_path / "run"), hash_paths=True)
    assert outcome.complete
    found = dict(contents(tmp_path / "run"))
    assert len(found) > 10
    assert [str(path) for path, text in found.items() if str(tmp_path) in text] == []
    assert re.fullmatch("path-[0-9a-f]{12}", RunWriter(tmp_path / "run").job.data.root)
    assert not pipeline.execute(job, str(tmp_path / "run"), hash_paths=True).worked
    # whoever gets the run has no films
    assert cli.cli.main(["report", str(tmp_path / "run")], standalone_mode=False) in (None, 0)


def test_what_ended_a_run_is_noted_without_the_path(job, tmp_path):
    broken = tmp_path / "mine.pth"
    broken.write_bytes(b"not weights")
    with pytest.raises(JobError, match=re.escape(str(broken))) as refused:  # told to who runs it, and leaves nothing
        pipeline.execute(job, str(tmp_path / "run"), hash_paths=True)
    assert not (tmp_path / "run").exists()
    run = RunWriter(tmp_path / "run")
    run.open(job, "0" * 64, hash_paths=True)
    run.fail(refused.value)  # as where the weights go while it runs
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert str(tmp_path) not in json.dumps(record)
    assert "path-" in record["error"]["message"]


def test_no_event_holds_the_path_of_the_run(job, tmp_path):
    run = RunWriter(tmp_path / "run")
    run.open(job, "0" * 64, hash_paths=True)
    run.event("warning", message=f"begins again: {tmp_path}/run/maps: torn")
    assert json.loads((tmp_path / "run" / "events.jsonl").read_text())["message"] == "begins again: RUN/maps: torn"


def test_credentials_in_a_uri_are_refused():
    for uri in ("s3://key:secret@bucket/films", "s3://bucket/films?access_key=key&secret_key=secret"):
        with pytest.raises(JobError, match="s3://bucket/films: credentials in a URI") as caught:
            pipeline.execute(tiny_job(), uri)
        assert "secret@" not in str(caught.value)
