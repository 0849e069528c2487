"""Rows of the index come in parts and are written in parts: the manifest is the same however it is cut."""

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pneumo_batch.cli import data_check
from pneumo_batch.core.data import manifest
from pneumo_batch.execution import local_pool
from pneumo_batch.job import jobfile
from pneumo_batch.rundir.integrity import parquet_bytes
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import index


@pytest.fixture
def job(tmp_path):
    """Five films of two classes in each split, one that cannot be read."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for number in range(10):
            path = tmp_path / "films" / split / "AB"[number % 2] / f"person{number}_virus_{split}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (40, 50), dtype=np.uint8)).save(path)
    (tmp_path / "films/test/A/broken.png").write_bytes(b"no image")
    return jobfile.parse({"name": "rows", "data": {"root": str(tmp_path / "films")}}, "test")


@pytest.fixture
def run(tmp_path, job):
    writer = RunWriter(tmp_path / "run")
    writer.open(job, "f" * 64)
    return writer


def _indexed(run, rows_of_a_part):
    listing = manifest.inventory(run.images, None).listing
    parts = [listing.slice(start, rows_of_a_part) for start in range(0, len(listing), rows_of_a_part)]
    return index.gathered((index.inspect_task(part, run.images) for part in parts), listing)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_rows_do_not_depend_on_the_parts_they_come_in(run, size):
    whole, rejected = _indexed(run, 100)
    rows, bad = _indexed(run, size)

    assert rows.equals(whole)
    assert bad.equals(rejected)
    assert rows["image_id"].to_pylist() == sorted(rows["image_id"].to_pylist())
    assert rows.num_rows == 20
    assert bad["image_id"].to_pylist() == ["test/A/broken.png"]


def test_no_image_at_all_is_no_row(run):
    nothing = manifest.inventory(run.images, None).listing.slice(0, 0)
    rows, bad = index.inspect(nothing, run.images, None, 2)
    assert (rows.num_rows, bad.num_rows) == (0, 0)
    whole, rejected = _indexed(run, 100)
    assert (rows.schema, bad.schema) == (whole.schema, rejected.schema)


@pytest.mark.parametrize(
    ("splits", "fraction", "told"), [(["val"], 0.1, True), (["val"], 0, False), (["test"], 0.1, False)]
)
def test_val_images_that_are_to_be_explained_and_join_train_are_told_of(run, job, splits, fraction, told):
    listing = manifest.inventory(run.images, None).listing
    split = pa.array([name.replace("test", "val") for name in listing["split"].to_pylist()])
    listing = listing.set_column(listing.column_names.index("split"), listing.schema.field("split"), split)
    values = {**job.model_dump(), "attribution": {"splits": splits}}
    values["data"] |= {"val_fraction": fraction}
    lines = index._listing_warnings(type(job).model_validate(values), listing, listing)
    line = "11 val images join train before validation is carved; data.val_fraction = 0 keeps them"
    assert lines == ([line] if told else [])


def test_a_small_manifest_is_one_file(run):
    rows, _ = _indexed(run, 100)
    index.write_manifest(run, rows)

    assert run.staged("manifest") == ["staging/manifest/part-0.parquet"]
    assert run.store.read_bytes("staging/manifest/part-0.parquet") == parquet_bytes(rows)


@pytest.mark.parametrize(("size", "last"), [(3, "part-6"), (1, "part-19"), (20, "part-0")])
def test_a_manifest_in_parts_is_read_as_one(run, monkeypatch, size, last):
    rows, rejected = _indexed(run, 100)
    monkeypatch.setattr(index, "ROWS_PER_FILE", 1)
    index.write_manifest(run, rows)  # of an attempt that was interrupted: none of it stays
    monkeypatch.setattr(index, "ROWS_PER_FILE", size)

    index.write_manifest(run, rows)
    run.commit_table("manifest")
    run.store.write_table("quarantine.parquet", rejected)
    run.stage("index", status="complete", counts={"images": 21})
    index.verify(run.job, run)

    assert run.store.files("manifest")[-1] == f"manifest/{last}.parquet"
    assert run.store.read_table("manifest").combine_chunks().equals(rows.combine_chunks())
    assert run.manifest_table().equals(rows)


def test_data_check_finds_the_same_in_small_parts(job, monkeypatch):
    whole = data_check.audit(job.data)
    monkeypatch.setattr(local_pool, "_FILMS_PER_PROCESS", 2)
    monkeypatch.setattr(local_pool, "_FILMS_PER_BLOCK", 2)

    assert data_check.audit(job.data) == whole
    assert whole.images == 20
    assert sum(whole.quarantined.values()) == 1


def test_a_listing_is_the_same_however_many_rows_are_made_at_once(run, monkeypatch):
    whole = manifest.inventory(run.images, None).listing
    monkeypatch.setattr(manifest, "_ROWS_AT_ONCE", 3)
    listing = manifest.inventory(run.images, None).listing

    assert listing.equals(whole)
    assert manifest.listing_digest(listing) == manifest.listing_digest(whole)
    assert manifest.assignment_digest(listing) == manifest.assignment_digest(whole)
