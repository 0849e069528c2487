"""Which rows of the tables a later pass touches, by rules that need no cluster."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from helpers.film_killers import DeadlyFiles
from pyarrow import fs as pafs

from pneumo_batch import cli, pipeline, terminal
from pneumo_batch.cli import estimate
from pneumo_batch.core import tables
from pneumo_batch.core.data import manifest, phantom
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.core.similarity import pairs
from pneumo_batch.errors import EXIT_DATA, DataError, JobError
from pneumo_batch.execution import staging
from pneumo_batch.job import schema
from pneumo_batch.rundir.layout import SCORES, STAGES
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import compare, incremental, index, newcomers, survey

NO_FILES = Roots.one(pafs.LocalFileSystem(), "/nowhere")
JOB = schema.Job(name="x", data={"root": "films", "grows": True})


def images(count):
    """Identity rows; every patient has two images."""
    ids = [f"test/NORMAL/{number:03}.jpeg" for number in range(count)]
    columns = [ids, ["NORMAL"] * count, [0] * count, [f"p{number // 2}" for number in range(count)]]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, tables.IDENTITY, strict=True)]
    table = pa.table(arrays, schema=pa.schema(tables.IDENTITY))
    return table.append_column("file", pa.array(["f"] * count).dictionary_encode()).append_column(
        "row", pa.array(np.arange(count))
    )


def partners_of(rows):
    """Each image's partners as the definition says it: the next 16 in the order of hashes that show other patients."""
    ids = rows["image_id"].to_pylist()
    patients = dict(zip(ids, rows["patient_id"].to_pylist(), strict=True))
    order = [ids[position] for position in pairs.hash_order(ids, JOB.compare.partner_seed)]
    found = {}
    for place, image_id in enumerate(order):
        others = order[place + 1 :] + order[:place]
        found[image_id] = [other for other in others if patients[other] != patients[image_id]][:16]
    return found


@pytest.mark.parametrize("count", [3, 10, 119])
def test_those_crossed_anew_are_those_with_another_partner_now(count):
    every = images(120)
    earlier = every.take(np.random.default_rng(count).permutation(120)[:count])
    then, now = partners_of(earlier), partners_of(every)
    expected = {image_id for image_id in then if then[image_id] != now[image_id]}
    assert expected
    assert len(expected) < 119  # one newcomer among many changes the partners of its neighbours only
    found = compare._crossed_anew(every, earlier["image_id"].combine_chunks(), JOB)
    assert set(found["image_id"].to_pylist()) == expected


def test_nobody_is_crossed_anew_in_a_first_pass_or_without_newcomers():
    every = images(6)
    assert compare._crossed_anew(every, pa.array([], pa.string()), JOB).num_rows == 0
    assert compare._crossed_anew(every, every["image_id"].combine_chunks(), JOB).num_rows == 0


def test_a_task_is_told_the_places_of_partners_by_the_numbers_of_files():
    every = images(40)
    names = pa.array([f"maps/{number // 16}.parquet" for number in range(40)]).dictionary_encode()
    every = every.set_column(every.column_names.index("file"), "file", names)
    places = dict(zip(every["image_id"].to_pylist(), zip(names.to_pylist(), range(40), strict=True), strict=True))
    table, files = compare._with_partners(every, JOB)
    wanted = partners_of(every)
    for row in table.to_pylist():
        assert (files[row["file"]], row["row"]) == places[row["image_id"]]
        found = [(files[partner["file"]], partner["row"]) for partner in row["partners"]]
        assert found == [places[image_id] for image_id in wanted[row["image_id"]]]


def score_row(image_id, kind, score):
    return {
        **dict.fromkeys(tables.SCORES.names, "x"),
        "image_id": image_id,
        "label": 0,
        "kind": kind,
        "score": score,
        "degenerate": False,
    }


def test_former_cross_scores_of_those_go_and_their_others_stay(tmp_path):
    run = RunWriter(tmp_path)
    run.write_record({"format": 1, "pass": 2, "stages": {}, "counts": {}})
    rows = [score_row(i, kind, 0.5) for i in ("a", "b") for kind in ("true_true", "true_true_cross", "edge")]
    run.store.write_table("scores/one.parquet", pa.Table.from_pylist(rows, schema=tables.SCORES))
    untouched = pa.Table.from_pylist([score_row("c", "true_random_cross", 0.1)], schema=tables.SCORES)
    run.store.write_table("scores/two.parquet", untouched)
    replaced = compare._without_cross_kinds(run, pa.array(["a"]))
    assert list(replaced) == ["scores/one.parquet"]
    left = [(row["image_id"], row["kind"]) for row in replaced["scores/one.parquet"].to_pylist()]
    assert left == [("a", "true_true"), ("a", "edge"), *(("b", k) for k in ("true_true", "true_true_cross", "edge"))]
    # What this pass adds is told from what was there by the names of the files.
    run.store.write_table("staging/scores/new.parquet", untouched)
    run.commit_table(SCORES, replaced)
    assert run.store.files("scores") == ["scores/one.parquet", "scores/p0002-new.parquet", "scores/two.parquet"]
    assert sorted(staging.earlier_ids(run, SCORES).to_pylist()) == ["a", "b", "c"]
    new = staging.tally(run, SCORES)
    assert (new.ids.to_pylist(), new.rows.tolist()) == (["c"], [1])
    assert run.is_committed(SCORES)
    run.begin_pass()
    assert run.number == 3
    assert not run.is_committed(SCORES)
    assert not len(staging.tally(run, SCORES))


def rejected(*names, stage="index", reason="no image"):
    rows = [{"image_id": name, "stage": stage, "reason": reason} for name in names]
    return pa.Table.from_pylist(rows, schema=tables.QUARANTINE)


def listing(*names, size=10):
    shared = {"class_name": "A", "label": 0, "bytes": size}
    rows = [{"image_id": n, "split": n.split("/")[0], "patient_id": n, "sha256": "0" * 64, **shared} for n in names]
    table = pa.Table.from_pylist(rows, schema=pa.schema([tables.MANIFEST.field(name) for name in rows[0]]))
    return table.append_column("patient_given", pa.array([True] * len(rows)))


def test_only_newcomers_of_the_splits_to_attribute_join():
    known = listing("train/A/1", "test/A/1")
    now = listing("train/A/1", "train/A/2", "test/A/1", "test/A/2")
    found = newcomers.find(now, known, JOB, NO_FILES)
    assert found.rows["image_id"].to_pylist() == ["test/A/2"]
    assert not found.moved


def test_what_else_changed_is_said_in_words():
    known = pa.concat_tables([listing("train/A/1", "test/A/1", "test/A/2"), listing("test/A/3", size=99)])
    now = listing("train/A/1", "train/A/2", "test/A/2", "test/A/3", "test/A/4")
    assert list(incremental._warnings(now, known, rejected(), {}, JOB)) == [
        "1 image joined the training data and is not used: the models are those of the first pass",
        "1 image is no longer there (the first: test/A/1); what is known of them stays",
        "1 image has changed (the first: test/A/3); their maps stay those of the earlier files",
    ]
    assert list(incremental._warnings(known, known, rejected(), {}, JOB)) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [("label", 1), ("split", "train"), ("patient_id", "somebody"), (f"{tables.LABELS}Mass", None)],
)
def test_what_is_told_otherwise_of_an_image_of_the_run_is_warned_of(column, value):
    mass = pa.array([0, 1], pa.int8())
    known = listing("test/A/1", "test/A/2").append_column(f"{tables.LABELS}Mass", mass)
    rows = known.to_pylist()
    rows[1][column] = value
    now = pa.Table.from_pylist([*reversed(rows), {**rows[0], "image_id": "test/A/0"}], schema=known.schema)
    assert list(incremental._warnings(now, known, rejected(), {}, JOB)) == [
        "1 image has another label, split or patient now (the first: test/A/2); it keeps those of before: for the new"
        " ones start another run, in another --run-dir"
    ]


def test_neither_a_carved_validation_nor_a_patient_of_a_header_is_told_otherwise():
    known, now = listing("val/A/1", "test/A/2"), listing("train/A/1", "test/A/2")
    now = now.set_column(0, "image_id", known["image_id"])
    now = now.set_column(now.column_names.index("patient_id"), "patient_id", pa.array(["path", "path"]))
    now = now.set_column(now.column_names.index("patient_given"), "patient_given", pa.array([False, False]))
    assert list(incremental._warnings(now, known, rejected(), {}, JOB)) == []


def test_a_list_that_tells_other_labels_of_films_of_the_run_is_warned_of_by_the_next_command(tmp_path, capsys):
    root, labels = tmp_path / "films", tmp_path / "labels.csv"
    phantom.write(root, train=8, test=4, seed=0, image_size=32)
    films = sorted(path.relative_to(root) for path in root.glob("t*/*/*.jpeg"))
    rows = [f"{film},{film.parts[1]},{film.parts[0]}" for film in films]
    labels.write_text("\n".join(["path,label,split", *rows]))
    job = schema.Job(name="x", data={"root": str(root), "manifest": str(labels), "grows": True})
    run = finished_run(job, tmp_path)
    assert not begin(job, run)
    assert capsys.readouterr().err == ""
    rows[0] = f"{films[0]},PNEUMONIA,test"
    labels.write_text("\n".join(["path,label,split", *rows]))
    assert not begin(job, run)
    line = f"1 image has another label, split or patient now (the first: {films[0]})"
    assert line in capsys.readouterr().err
    assert line in run.store.read_bytes("events.jsonl").decode()


def test_a_training_image_that_was_rejected_in_the_first_pass_has_not_joined():
    known, now = listing("train/A/1", "test/A/1"), listing("train/A/1", "train/A/broken", "test/A/1")
    assert list(incremental._warnings(now, known, rejected("train/A/broken"), {}, JOB)) == []


@pytest.fixture
def finished(tmp_path):
    """A complete run over a folder of films, as far as its manifest; and its job."""
    root = tmp_path / "films"
    phantom.write(root, train=8, test=4, seed=0, image_size=32)
    job = schema.Job(name="x", data={"root": str(root), "grows": True})
    return job, finished_run(job, tmp_path), root


def finished_run(job, folder):
    run = RunWriter(folder / "run")
    run.open(job, "f" * 64)
    stages = {name: {"status": "complete"} for name in ("index", "train", "attribute", "cascade", "report")}
    run.update_record(status="complete", stages=stages)
    rows, rejected = manifest.inspect_batch(index.discover(job, run.images)[0], run.images)
    run.store.write_table("manifest/part-0.parquet", rows)
    run.store.write_table("quarantine.parquet", rejected)
    return run


def test_a_pass_begins_when_an_image_joined_and_settles_nothing_but_what_the_first_did(finished):
    job, run, root = finished
    assert not begin(job, run)
    assert run.number == 1
    shutil.copy(next((root / "train" / "NORMAL").iterdir()), root / "test" / "NORMAL" / "new-0001.jpeg")
    assert begin(job, run)
    record = run.record
    assert (record["pass"], record["status"], list(record["stages"])) == (2, "running", ["train", "cascade"])


def test_a_dry_run_tells_those_that_joined_from_those_that_are_done(finished):
    job, run, root = finished
    run.update_record(fingerprint=survey.survey(job).fingerprint)
    assert estimate.plan(job, run.path).done == list(run.record["stages"])  # nobody joined
    shutil.copy(next((root / "train" / "NORMAL").iterdir()), root / "test" / "NORMAL" / "new-0001.jpeg")
    planned = estimate.plan(job, run.path)
    assert planned.done == ["train", "cascade"]
    assert planned.plans["index"].line == "images: 1 new, 4 done"
    assert planned.plans["attribute"].line.startswith("1 image, 4 maps (")
    assert planned.power["random"].patients == 5  # of all images
    assert begin(job, run)  # and while that pass goes on
    assert estimate.plan(job, run.path).plans == planned.plans


def test_a_further_pass_needs_disk_for_the_maps_of_those_that_joined(finished, monkeypatch):
    job, run, root = finished
    stages = {name: {"status": "complete"} for name in STAGES}
    run.update_record(fingerprint=survey.survey(job).fingerprint, stages=stages)
    shutil.copy(next((root / "train" / "NORMAL").iterdir()), root / "test" / "NORMAL" / "new-0001.jpeg")
    monkeypatch.setattr("pneumo_batch.rundir.locations.free_bytes", lambda _: 1e6)
    monkeypatch.setattr("pneumo_batch.stages.train._check_room", lambda *_: None)  # of models that are there
    with pytest.raises(JobError, match="for 1 images and 2 variants"):
        pipeline.execute(job, run.path)
    assert run.number == 2


def test_what_was_rejected_once_is_no_news(finished):
    job, run, root = finished
    (root / "test" / "NORMAL" / "broken-0001.jpeg").write_bytes(b"no image")
    run.store.write_table("quarantine.parquet", rejected("test/NORMAL/broken-0001.jpeg"))
    assert not begin(job, run)
    assert left(job, run) == 0


def test_a_film_that_ends_its_process_does_not_end_the_look_at_those_rejected_before(finished):
    _, run, root = finished
    deadly = Roots.one(pafs.PyFileSystem(pafs.FSSpecHandler(DeadlyFiles())), str(root))
    for name in ("dies-0001.jpeg", "mended-0002.jpeg"):
        (root / "test" / "NORMAL" / name).write_bytes(next((root / "test" / "NORMAL").iterdir()).read_bytes())
    new = manifest.inventory(deadly, None).listing
    for names, news in ((["dies-0001"], False), (["dies-0001", "mended-0002"], True)):
        before = rejected(*(f"test/NORMAL/{name}.jpeg" for name in names))
        assert newcomers.one_was_repaired(before, new, run.manifest_table(), deadly) == news


def begin(job, run):
    """Begin a pass if something joined; whether one has begun."""
    found = survey.survey(job)
    left = incremental.begin(job, found, run)
    if left:
        assert left == incremental.remaining(job, found, run)  # one listing tells both
    return left is not None


def left(job, run):
    """How many images a dry run says that a pass would take up."""
    return incremental.remaining(job, survey.survey(job), run).attributed(job)


def test_an_image_that_was_rejected_and_is_repaired_begins_a_pass(finished, capsys):
    job, run, root = finished
    broken = root / "test" / "NORMAL" / "broken-0001.jpeg"
    broken.write_bytes(another_film(root))
    run.store.write_table("quarantine.parquet", rejected("test/NORMAL/broken-0001.jpeg"))
    assert left(job, run) == 1
    assert begin(job, run)
    assert "an image that was rejected can be read now\n" in capsys.readouterr().err


def another_film(root):
    return next((root / "train" / "NORMAL").iterdir()).read_bytes()


@pytest.mark.parametrize("reason", ["the process that worked on it died, 3 times", "no result within 60 s (cluster.x)"])
def test_what_a_worker_died_of_is_not_opened_by_the_driver(finished, reason):
    job, run, root = finished
    (root / "test" / "NORMAL" / "killer-0001.jpeg").write_bytes(another_film(root))
    run.store.write_table("quarantine.parquet", rejected("test/NORMAL/killer-0001.jpeg", reason=reason))
    assert not begin(job, run)
    assert left(job, run) == 0


def test_of_very_many_rejected_images_some_are_opened(finished, monkeypatch):
    job, run, root = finished
    names = [f"broken-{number}.jpeg" for number in range(5)]
    for name in names:
        (root / "test" / "NORMAL" / name).write_bytes(b"no image")
    run.store.write_table("quarantine.parquet", rejected(*(f"test/NORMAL/{name}" for name in names)))
    shutil.copy(next((root / "train" / "NORMAL").iterdir()), root / "test" / "NORMAL" / names[3])  # repaired
    for looks, begins in ((3, False), (4, True)):
        monkeypatch.setattr(newcomers, "_LOOKS", looks)
        assert begin(job, run) == begins


@pytest.mark.parametrize(
    ("reason", "begins"),
    [
        ("changed since it was indexed", True),
        ("cannot be read: No such file or directory", True),
        ("the network true_0 gives nan for it", False),
    ],
)
def test_an_image_that_was_lost_before_it_was_explained_and_is_back_begins_a_pass(finished, reason, begins):
    job, run, root = finished
    film = next((root / "test" / "NORMAL").iterdir())
    row = rejected(f"test/NORMAL/{film.name}", stage="attribute", reason=reason)
    run.store.write_table("quarantine.parquet", row)
    assert left(job, run) == begins
    content = film.read_bytes()
    film.write_bytes(content[:-1] + b"x")
    assert left(job, run) == 0
    assert not begin(job, run)
    film.write_bytes(content)
    assert begin(job, run) is begins


@pytest.mark.parametrize("folder", ["test/PNEUMONIA", "test/NORMAL"])
def test_an_image_that_moved_is_not_taken_up_again(finished, folder, capsys):
    job, run, root = finished
    film = next((root / "test" / "NORMAL").iterdir())
    film.rename(root / folder / "other-0001.jpeg")
    assert not begin(job, run)
    assert capsys.readouterr().err == (
        f"warning: 1 image has moved (the first: test/NORMAL/{film.name} is {folder}/other-0001.jpeg now); it stays in"
        " the run under the name and class of before, and counted once: for the new ones start another run, in another"
        " --run-dir\n"
    )
    assert left(job, run) == 0


def test_a_training_image_that_moved_to_the_tests_is_not_tested(finished, capsys):
    job, run, root = finished
    film = next((root / "train" / "NORMAL").iterdir())
    film.rename(root / "test" / "NORMAL" / film.name)
    assert not begin(job, run)
    assert f"train/NORMAL/{film.name} is test/NORMAL/{film.name} now" in capsys.readouterr().err


def test_an_image_that_was_copied_has_not_moved(finished):
    """The index refuses it in two classes."""
    job, run, root = finished
    film = next((root / "test" / "NORMAL").iterdir())
    shutil.copy(film, root / "test" / "PNEUMONIA" / "other-0001.jpeg")
    assert begin(job, run)
    with pytest.raises(DataError, match="lie in two classes"):
        new_rows(job, run)


def new_rows(job, run):
    """(manifest rows, quarantine) that the pass adds; the images are opened in this process."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(index, "_inspect_watched", lambda _, run, rows, __: manifest.inspect_batch(rows, run.images))
        return index._index_new(job, run, 1)


def test_a_pass_with_a_newcomer_leaves_out_what_moved_and_forgets_rejected_images_that_were_removed(finished):
    job, run, root = finished
    film = next((root / "test" / "NORMAL").iterdir())
    film.rename(root / "test" / "PNEUMONIA" / film.name)
    phantom.write(root.parent / "more", train=8, test=4, seed=77, image_size=32)
    shutil.copy(next((root.parent / "more" / "test" / "NORMAL").iterdir()), root / "test" / "NORMAL" / "new-0001.jpeg")
    run.store.write_table("quarantine.parquet", rejected("test/NORMAL/removed-0001.jpeg"))
    assert left(job, run) == 1
    assert begin(job, run)
    rows, still_rejected = new_rows(job, run)
    assert rows["image_id"].to_pylist() == ["test/NORMAL/new-0001.jpeg"]
    assert still_rejected.num_rows == 0


@pytest.mark.parametrize("name", ["manifest/part-0.parquet", "quarantine.parquet"])
def test_what_joined_is_not_told_from_a_damaged_index(finished, name, capsys):
    job, run, _ = finished
    run.checksums.seal("index")
    pipeline._reopen_damaged(job, run)
    assert run.record["status"] == "complete"
    data = bytearray(run.store.read_bytes(name))
    data[20] ^= 1
    Path(run.store.path(name)).write_bytes(data)
    pipeline._reopen_damaged(job, run)
    assert capsys.readouterr().err == f"warning: {run.path}: {name}: damaged; it is computed again\n"
    assert (run.record["status"], run.record["stages"]) == ("running", {})
    assert not run.store.exists("manifest")


def test_verify_says_that_the_next_run_computes_what_is_damaged(finished, capsys):
    _, run, _ = finished
    run.checksums.seal("index")
    Path(run.store.path("quarantine.parquet")).write_bytes(b"torn")
    assert cli.cli.main(["verify", run.path, "--reopen"], standalone_mode=False) == EXIT_DATA
    assert "quarantine.parquet: damaged; the next run computes it again\n" in capsys.readouterr().err


def test_warnings_are_one_line_each_for_machines_too(finished, capsys, monkeypatch):
    job, run, root = finished
    monkeypatch.setitem(terminal._formats, "log", "json")
    next((root / "test" / "NORMAL").iterdir()).unlink()
    assert not begin(job, run)
    run.warn("something")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["warning"] * 2
    assert "1 image is no longer there" in lines[0]["message"]
    assert lines[1]["message"] == "something"


def test_other_classes_than_the_models_know_are_refused(finished):
    job, run, root = finished
    for split in ("train", "test"):
        shutil.copytree(root / split / "NORMAL", root / split / "OTHER")
    line = "classes are NORMAL, OTHER, PNEUMONIA now; this run knows NORMAL, PN"
    with pytest.raises(DataError, match=line):
        begin(job, run)
    with pytest.raises(DataError, match=line):
        incremental.remaining(job, survey.survey(job), run)


def test_a_run_that_is_resumed_looks_for_its_images_where_they_are_now(finished, tmp_path):
    _, run, root = finished
    moved = root.rename(tmp_path / "elsewhere")
    again = RunWriter(run.path)
    again.open(schema.Job(name="x", data={"root": str(moved), "grows": True}), "f" * 64)
    assert [root.path for root in again.images.by_name.values()] == [str(moved)]
    assert not begin(again.job, again)


@pytest.mark.parametrize(("rows", "images"), [(1, 256), (20, 256), (1024, 256), (2048, 128), (4096, 64), (50_000, 64)])
def test_blocks_are_larger_where_an_image_has_few_scores(rows, images):
    assert compare.images_per_block(rows) == images


def test_a_block_has_so_many_images_of_one_file():
    every = images(10).drop_columns(["file", "row"])
    every = every.append_column("file", pa.array([0] * 7 + [1] * 3)).append_column(
        "row", pa.array([*range(7), *range(3)])
    )
    blocks = compare._blocks(every.take(np.random.default_rng(0).permutation(10)), 4)
    found = [(block["file"].to_pylist(), block["row"].to_pylist()) for block in blocks]
    assert found == [([0] * 4, [0, 1, 2, 3]), ([0] * 3, [4, 5, 6]), ([1] * 3, [0, 1, 2])]
