"""Whatever a file holds or is called: it is a film or has a reason, by the code that the stages run in their tasks."""

import os
import shutil

import pyarrow as pa
import pytest
from helpers.mutated_films import FILMS, SIZE, listed, mutated, through_the_stages
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import fs as pafs

from pneumo_batch.core import tables
from pneumo_batch.core.data import audit, manifest
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.rundir.storage import Store
from pneumo_batch.stages import index
from pneumo_batch.stages.workers import decode

QUICK = {"derandomize": True, "deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@pytest.mark.parametrize("name", FILMS)
def test_sound_files_are_films(name, tmp_path):
    assert through_the_stages(tmp_path, FILMS[name][0]) == "film"


@settings(max_examples=250, **QUICK)
@given(mutated())
def test_a_spoilt_file_is_a_film_or_has_a_reason(tmp_path, spoilt):
    name, data = spoilt
    reason = through_the_stages(tmp_path, data)
    assert reason.strip() == reason
    assert reason
    assert "\n" not in reason
    assert "0x" not in reason  # an object's address says nothing
    assert not [secret for secret in ("Secret", "4711") if secret in reason], name


@settings(max_examples=50, **QUICK)
@given(st.binary(min_size=1, max_size=40).filter(lambda name: not {0, 47} & set(name) and name not in (b".", b"..")))
def test_any_name_is_a_film_a_reason_or_passed_over(tmp_path, name):
    root = tmp_path / "films"
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("test/NORMAL", "test/PNEUMONIA"):
        (root / folder).mkdir(parents=True)
        (root / folder / "sound.png").write_bytes(FILMS["PNG 8"][0])
    (root / "test" / "NORMAL" / os.fsdecode(name + b".png")).write_bytes(FILMS["PNG 8"][0])
    (root / "test" / "NORMAL" / os.fsdecode(name)).write_bytes(FILMS["PNG 8"][0])
    images = Roots.one(pafs.LocalFileSystem(), str(root))
    found = manifest.inventory(images, None)
    good, bad = manifest.inspect_batch(found.listing, images)
    hidden = 2 * name.startswith(b".")
    assert good.num_rows + bad.num_rows + sum(found.passed_over.values()) == 4 - hidden
    assert set(bad["reason"].to_pylist()) <= {"name is not UTF-8: rename it"}
    assert audit.audit(good, bad, passed_over=found.passed_over).as_dict()["images"] == good.num_rows


def test_a_film_that_changed_since_the_index_is_noted(tmp_path):
    listing, images = listed(tmp_path, FILMS["PNG 8"][0])
    rows = index.inspect_task(listing, images).select(tables.MANIFEST.names).cast(tables.MANIFEST)
    listed(tmp_path, FILMS["PNG 16"][0])
    store = Store(tmp_path / "run")
    assert decode.decode_task(rows, images, Preprocess(SIZE), store).num_rows == 0
    assert [row["reason"] for row in decode.rejected(store)] == ["changed since it was indexed"]
    assert pa.Table.from_pylist(decode.rejected(store), schema=tables.QUARANTINE).num_rows == 1
