"""One flipped bit anywhere in a run: named, or of a file that nothing is read from."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.command import call, one_line
from helpers.tiny import tiny_job

from pneumo_batch import pipeline
from pneumo_batch.errors import DamagedError, RunError
from pneumo_batch.rundir import verification
from pneumo_batch.rundir.writer import RunWriter

PLACES = 200
NOTHING_IS_READ_FROM = {"events.jsonl", "metrics.prom", ".lock"}
# What a run is made of: a bit of each of these is flipped, and of the others by chance.
KINDS = [
    "run.json",
    "SHA256SUMS",
    ".backup/run.json",
    ".backup/SHA256SUMS",
    "job.toml",
    "events.jsonl",
    "metrics.prom",
    "manifest/*.parquet",
    "quarantine.parquet",
    "phantom/test/*/*",
    "phantom/masks/*/*/*",
    "models/*/model.safetensors",
    "models/*/model.json",
    "models/*/history.parquet",
    "models/*/predictions.parquet",
    "models/*/SHA256SUMS",
    "maps/*.parquet",
    "scores/*.parquet",
    "summary.parquet",
    "scales.parquet",
    "history.parquet",
    "verdict.json",
    "report/index.html",
    "report/figures/*",
    "report/*.md",
    "report/paper/*",
]


@pytest.fixture
def copied(tiny_run, tmp_path):
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(tiny_run.path, tmp_path / "run"))


def flip(path, chance):
    """Turn one bit of a file over."""
    data = bytearray(path.read_bytes())
    place = chance.randrange(8 * len(data))
    data[place // 8] ^= 1 << place % 8
    path.write_bytes(data)


def test_a_flipped_bit_is_named_wherever_it_is(copied):
    chance, unnamed = random.Random(1), []
    every = sorted(path for path in copied.rglob("*") if path.is_file() and path.stat().st_size)
    first = [chance.choice(sorted(copied.glob(kind))) for kind in KINDS]
    for path in [*first, *chance.choices(every, k=PLACES - len(first))]:
        name, good = path.relative_to(copied).as_posix(), path.read_bytes()
        flip(path, chance)
        found = [(finding.name, finding.problem) for finding in verification.verify(RunWriter(copied)).findings]
        if found != [(name, "damaged")]:
            assert found == []
            unnamed.append(name)
        path.write_bytes(good)
    assert set(unnamed) <= NOTHING_IS_READ_FROM | {"run.json", ".backup/run.json"}  # spaces of their JSON
    assert sum("run.json" in name for name in unnamed) < 5
    assert verification.verify(RunWriter(copied)).findings == []


def test_flipped_weights_are_not_loaded(copied):
    path = copied / "models" / "true_0" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"models/true_0/model\.safetensors: damaged"):
        RunWriter(copied).model("true_0")
    RunWriter(copied).model("true_1")


def test_verify_as_scripts_see_it(copied):
    whole = call("verify", str(copied))
    assert (whole.returncode, whole.stderr) == (0, "")
    assert whole.stdout.endswith("files, each as it was written\n")
    (copied / "report" / "index.html").unlink()
    maps = sorted((copied / "maps").iterdir())[0]
    maps.write_bytes(maps.read_bytes()[:-1])
    (copied / "scores" / "mine.parquet").write_bytes(b"")
    (copied / "notes.txt").write_text("outside the folders that readers open")
    found = call("verify", str(copied))
    assert found.returncode == 3
    assert sorted(found.stdout.splitlines()) == [
        f"maps/{maps.name}: damaged",
        "report/index.html: missing",
        "scores/mine.parquet: foreign",
    ]
    machine = call("verify", str(copied), "--json")
    assert machine.returncode == 3
    assert {"name": "report/index.html", "problem": "missing", "stage": "report"} in json.loads(machine.stdout)[
        "findings"
    ]
    refused = call("verify", str(copied), "--reopen")
    assert refused.returncode == 2
    assert "scores/mine.parquet: not written by this run; move it elsewhere" in one_line(refused)


def test_a_run_of_an_older_version_opens_and_has_nothing_to_verify(copied, ray_cluster):
    for path in (copied / "SHA256SUMS", copied / ".backup", *copied.glob("models/*/SHA256SUMS")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    record = json.loads((copied / "run.json").read_text())
    del record["checksum"]
    (copied / "run.json").write_text(json.dumps(record))
    assert len(RunWriter(copied).maps("grad_cam", "true_0")[0]) == 14
    RunWriter(copied).model("true_0")
    result = call("verify", str(copied))
    assert result.returncode == 2
    assert "has no checksums" in one_line(result)
    assert not pipeline.execute(tiny_job(), str(copied)).worked
    # one that was not complete has them from now on
    record["stages"].pop("report")
    (copied / "run.json").write_text(json.dumps({**record, "status": "failed"}))
    assert pipeline.execute(tiny_job(), str(copied)).complete
    assert verification.verify(RunWriter(copied)).findings == []


def test_both_copies_of_the_record_damaged_is_one_line(copied):
    for path in (copied / "run.json", copied / ".backup" / "run.json"):
        path.write_bytes(path.read_bytes().replace(b"complete", b"bomplete", 1))
    result = call("status", str(copied))
    assert result.returncode == 2
    assert "run.json: damaged: not what was written" in one_line(result)


@pytest.mark.parametrize(
    "kind",
    [
        *("models/true_0/predictions.parquet", "manifest/*.parquet", "summary.parquet"),
        *("maps/*.parquet", "scores/*.parquet", "scales.parquet"),
    ],
)
def test_a_damaged_table_is_one_line_for_those_who_read_it(copied, kind):
    """The data root of a phantom run is in it: `report` reads all of these, and leaves the former one as it was."""
    path = sorted(copied.glob(kind))[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DamagedError, match="damaged"):
        RunWriter(copied).store.read_table(path.relative_to(copied).as_posix())
    before = [(path, path.stat().st_mtime_ns) for path in [copied / "SHA256SUMS", *copied.rglob("report/**/*")]]
    result = call("report", str(copied))
    assert result.returncode == 3
    assert "pneumo-batch verify --reopen" in one_line(result)
    assert [(path, path.stat().st_mtime_ns) for path, _ in before] == before


def test_a_damaged_file_of_a_kept_run_is_computed_again(copied, tiny_run, ray_cluster, capfd):
    """`verify --reopen`, then `run`: what is whole stays, byte for byte, and the rest is as before."""
    chance = random.Random(2)
    damaged = [sorted((copied / "maps").iterdir())[1], copied / "summary.parquet", copied / "run.json"]
    kept = {path: path.read_bytes() for path in sorted((copied / "maps").iterdir()) if path != damaged[0]}
    for path in damaged[:2]:
        flip(path, chance)
    (copied / "run.json").write_bytes(damaged[2].read_bytes().replace(b'"images": 54', b'"images": 55', 1))
    run = RunWriter(copied)
    found = verification.verify(run).findings
    assert [finding.name for finding in found] == ["run.json", f"maps/{damaged[0].name}", "summary.parquet"]
    run.heal()
    verification.reopen(run, found, grows=False)
    assert f"maps/{damaged[0].name}: damaged; it is computed again" in capfd.readouterr().err
    assert pipeline.execute(tiny_job(), str(copied)).complete
    assert all(path.read_bytes() == content for path, content in kept.items())
    for method in ("integrated_gradients", "grad_cam"):
        (ids, maps_NHW), (expected_ids, expected_NHW) = (one.maps(method, "true_1") for one in (run, tiny_run))
        assert ids == expected_ids
        np.testing.assert_array_equal(maps_NHW, expected_NHW)
    assert run.verdict == tiny_run.verdict
    assert run.record["counts"] == tiny_run.record["counts"]
    assert verification.verify(run).findings == []


def test_a_run_that_somebody_put_a_file_into_goes_on_only_without_it(copied, ray_cluster):
    shutil.copy(sorted((copied / "maps").iterdir())[0], copied / "maps" / "copy.parquet")
    run = RunWriter(copied)
    run.update_record(status="failed")
    with pytest.raises(RunError, match=r"maps/copy\.parquet: not written by this run"):
        pipeline.execute(tiny_job(), str(copied))
