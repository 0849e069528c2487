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
from pneumo_batch.job import jobfile
from pneumo_batch.rundir import locations
from pneumo_batch.rundir.writer import RunWriter


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A home folder, a current folder beside it and a link to the films: nothing of this is to be in a record."""
    home, here = tmp_path / "mueller" / "home", tmp_path / "mueller" / "here"
    for folder in (home, here):
        folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    phantom.write(tmp_path / "mueller" / "archive", train=8, test=10, seed=3, image_size=64)
    (home / "films").symlink_to(tmp_path / "mueller" / "archive")
    return home.parent


@pytest.fixture
def job(places):
    """A job that names its films, labels, masks and models as people do: from their home, from here, in full."""
    films = sorted(places.glob("archive/t*/*/*.jpeg"))
    broken = films[-1]
    broken.write_bytes(broken.read_bytes()[:-200])
    rows = [f"{film.relative_to(places / 'archive')},{film.parent.name},{film.parts[-3]}" for film in films]
    (places / "labels.csv").write_text("\n".join(["path,label,split", *rows]))
    (places / "archive" / "masks").rename(places / "here" / "masks")
    brought = []
    for seed, (name, kind) in enumerate({"mine": "true", "noise": "random"}.items()):
        torch.manual_seed(seed)
        torch.save(networks.build("cnn5", image_size=64, channels=1, outputs=1).state_dict(), places / f"{name}.pth")
        brought.append({"name": name, "kind": kind, "checkpoint": f"{'..' if seed else places}/{name}.pth"})
    return lean_job(
        data={
            "root": "~/films",
            "manifest": "../labels.csv",
            "format": "list",
            "regions": "masks",
            "normalise": [0.4, 0.3],
            "max_bad": 0.2,
        },
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


def test_no_file_of_the_run_holds_a_path(ray_cluster, job, places):
    outcome = pipeline.execute(job, "../run", hash_paths=True)
    assert outcome.complete
    found = dict(contents(places / "run"))
    assert len(found) > 10
    assert [str(path) for path, text in found.items() if "mueller" in text] == []
    kept = RunWriter(places / "run").job
    for place in (kept.data.root, kept.data.manifest, kept.data.regions, *(spec.checkpoint for spec in kept.variant)):
        assert re.fullmatch("path-[0-9a-f]{12}", place)
    assert len(outcome.run.regions())
    assert outcome.run.record["counts"]["quarantined"] == 1
    assert not pipeline.execute(job, "../run", hash_paths=True).worked
    # whoever gets the run has no films
    assert cli.cli.main(["report", "../run"], standalone_mode=False) in (None, 0)
    assert [str(path) for path, text in contents(places / "run") if "mueller" in text] == []


def test_what_ended_a_run_is_noted_without_the_path(job, places):
    broken = places / "mine.pth"
    broken.write_bytes(b"not weights")
    with pytest.raises(JobError, match=re.escape(str(broken))) as refused:  # told to who runs it, and leaves nothing
        pipeline.execute(job, "../run", hash_paths=True)
    assert not (places / "run").exists()
    run = RunWriter("../run")
    run.open(locations.located(job), "0" * 64, hash_paths=True)
    run.fail(refused.value)  # as where the weights go while it runs
    record = json.loads((places / "run" / "run.json").read_text())
    assert "mueller" not in json.dumps(record)
    assert "path-" in record["error"]["message"]


def test_no_event_holds_a_path_however_it_is_written(job, places):
    run = RunWriter("../run")
    run.open(locations.located(job), "0" * 64, hash_paths=True)
    named = ["home/films/a.png", "archive/a.png", "here/a.png", "home/a.png", "here/../run/a.png"]
    for line in [*(f"{places}/{one}: torn" for one in named), "../run/a.png: torn"]:
        run.event("warning", message=line)
    said = (places / "run" / "events.jsonl").read_text()
    assert "mueller" not in said
    assert "../" not in said


def test_a_uri_of_this_machine_is_a_path_too(tmp_path):
    hidden = jobfile.hidden_paths(tiny_job(data={"root": f"file://{tmp_path}/a%20b"}))
    assert jobfile.redacted(f"file://{tmp_path}/a%20b; {tmp_path}/a b/x", hidden).count("path-") == 2
    assert jobfile.hidden_paths(tiny_job(data={"root": "s3://bucket/films"})) == {}


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
