"""A run whose data grow from night to night, beside one run over all of the data."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from helpers import paths
from prometheus_client.parser import text_string_to_metric_families

from pneumo_batch import pipeline
from pneumo_batch.cli import estimate
from pneumo_batch.core import tables
from pneumo_batch.core.data import phantom
from pneumo_batch.job import jobfile, schema
from pneumo_batch.rundir import layout, verification
from pneumo_batch.rundir.writer import RunWriter

pytestmark = pytest.mark.slow  # the rules themselves: tests/unit/stages/test_growing_tables.py

SCORE_KEYS = [name for name in tables.SCORES.names if name not in ("score", "degenerate")]
NIGHTLY = paths.JOBS / "nightly.toml"
NIGHTS = (8, 3, 3)  # test images that are there when each begins: 8, 11, 14


def growing_job(root):
    """The job that is shipped, made small: what joins is the point."""
    values = {
        "data.root": str(root),
        "data.image_size": 64,
        "data.max_bad": 0.2,
        "data.val_fraction": 0.2,
        "train.random_seeds": [100],
        "train.epochs": 1,
        "train.max_epochs": 1,
        "train.batch_size": 8,
        "attribution.rows_per_file": 4,
        "attribution.integrated_gradients.steps": 4,
        "compare.resamples": 100,
    }
    return jobfile.load(NIGHTLY, [f"{field}={json.dumps(value)}" for field, value in values.items()])


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    root = tmp_path_factory.mktemp("all") / "films"
    phantom.write(root, train=40, test=14, seed=3, image_size=96)
    return root


@pytest.fixture(scope="module")
def nights(ray_cluster, films, tmp_path_factory):
    """The run after three nights, and what it said after each of them."""
    root, path = tmp_path_factory.mktemp("nightly") / "films", tmp_path_factory.mktemp("nightly") / "run"
    shutil.copytree(films / "train", root / "train")
    arriving = iter(arrivals(films))
    seen = []
    for count in NIGHTS:
        for name in (next(arriving) for _ in range(count)):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(films / name, root / name)
        outcome = pipeline.execute(growing_job(root), str(path))
        assert outcome.complete
        assert outcome.worked
        seen.append({"record": outcome.run.record, "ids": outcome.run.maps("grad_cam", "true_0")[0]})
    return outcome.run, seen


def arrivals(films):
    """Test images so ordered that each night brings both classes."""
    names = sorted(str(path.relative_to(films)) for path in (films / "test").rglob("*.jpeg"))
    assert len(names) == sum(NIGHTS)
    return names[::2] + names[1::2]


@pytest.fixture(scope="module")
def at_once(ray_cluster, films, tmp_path_factory):
    """One run over all of the data."""
    return pipeline.execute(growing_job(films), str(tmp_path_factory.mktemp("once") / "run")).run


def test_three_nights_are_one_run_over_all_of_the_data(nights, at_once):
    run, seen = nights
    assert [len(night["ids"]) for night in seen] == [8, 11, 14]
    for variant in at_once.variants():
        for method in ("integrated_gradients", "grad_cam"):
            (ids, maps_NHW), (expected_ids, expected_NHW) = (r.maps(method, variant) for r in (run, at_once))
            assert ids == expected_ids
            np.testing.assert_array_equal(maps_NHW, expected_NHW)
    found, expected = (r.scores().astype(dict.fromkeys(SCORE_KEYS, str)) for r in (run, at_once))
    assert not found.duplicated(SCORE_KEYS).any()
    found, expected = (part.sort_values(SCORE_KEYS, ignore_index=True) for part in (found, expected))
    pd.testing.assert_frame_equal(found, expected)
    pd.testing.assert_frame_equal(run.manifest(), at_once.manifest())
    pd.testing.assert_frame_equal(run.summary(), at_once.summary())
    verdict, once = run.verdict, at_once.verdict
    assert verdict["methods"] == once["methods"]
    for name, variant in once["variants"].items():
        for measure, value in variant["test"].items():
            np.testing.assert_allclose(verdict["variants"][name]["test"][measure], value, atol=1e-6, err_msg=measure)
    # the test rows too, whose films were fewer when the models were trained
    reported, expected = (pd.read_csv(r.store.path("report/figures/metrics.csv")) for r in (run, at_once))
    pd.testing.assert_frame_equal(reported, expected, atol=1e-6)
    assert set(reported.loc[reported["split"] == "test", "images"]) == {14}


@pytest.fixture(scope="module")
def first_night(ray_cluster, films, tmp_path_factory):
    """A run of the first test images, and the folder it has seen."""
    folder = tmp_path_factory.mktemp("first")
    shutil.copytree(films / "train", folder / "films" / "train")
    arrive(arrivals(films)[: -NIGHTS[-1]], films, folder / "films")
    assert pipeline.execute(growing_job(folder / "films"), str(folder / "run")).complete
    return folder


def arrive(names, films, root):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(films / name, root / name)


@pytest.mark.parametrize(
    "kind",
    [
        "maps/*.parquet",
        "scores/*.parquet",
        "models/true_0/model.safetensors",
        "models/true_0/predictions.parquet",
        "manifest/*.parquet",
        "quarantine.parquet",
    ],
)
def test_a_bit_that_flipped_between_two_nights_is_in_no_later_result(
    kind, first_night, films, at_once, tmp_path, capfd
):
    folder = shutil.copytree(first_night, tmp_path / "second")
    damaged = sorted((folder / "run").glob(kind))[0]
    data = bytearray(damaged.read_bytes())
    data[-1 if damaged.suffix == ".safetensors" else 20] ^= 1
    damaged.write_bytes(data)
    arrive(arrivals(films), films, folder / "films")
    run = pipeline.execute(growing_job(folder / "films"), str(folder / "run")).run
    assert f"{damaged.relative_to(folder / 'run')}: damaged; it is computed again" in capfd.readouterr().err
    assert run.record["status"] == "complete"
    for variant in at_once.variants():
        (ids, maps_NHW), (expected_ids, expected_NHW) = (r.maps("grad_cam", variant) for r in (run, at_once))
        assert ids == expected_ids
        np.testing.assert_array_equal(maps_NHW, expected_NHW)
    assert run.verdict["methods"] == at_once.verdict["methods"]
    assert verification.verify(run).findings == []


def test_images_crossed_with_a_newcomer_are_scored_anew(nights):
    """The partner is the next image by hash, so nights that add some must have changed the partners of others."""
    run, _ = nights
    scores = run.scores().astype({"kind": str})
    passes = {name.rpartition("/")[2][:5] for name in run.store.files("scores", ".parquet")}
    assert {"p0002", "p0003"} < passes
    crossed = scores[scores["kind"] == "true_true_cross"].groupby("image_id").size()
    within = scores[scores["kind"] == "true_true"].groupby("image_id").size()
    assert crossed.nunique() == within.nunique() == 1
    assert len(crossed) == len(within) == 14


def test_each_night_counts_balance_and_leave_a_row_a_method(nights):
    run, seen = nights
    assert [night["record"]["counts"]["attributed"] for night in seen] == [8, 11, 14]
    assert [night["record"]["counts"]["images"] for night in seen] == [48, 51, 54]
    assert [night["record"].get("pass", 1) for night in seen] == [1, 2, 3]
    history = run.passes()
    assert history["pass"].tolist() == [1, 1, 2, 2, 3, 3]
    assert history["attributed"].tolist() == [8, 8, 11, 11, 14, 14]
    last = history[history["pass"] == 3].set_index("method")
    scores = run.scores().query("view == 'magnitude' and scale == 'region' and metric == 'spearman'")
    scores = scores.astype({"kind": str, "method": str, "image_id": str})
    columns = {"true_true": "mean_tt", "true_random": "mean_tn", "true_true_cross": "mean_ttx"}
    columns |= {"true_random_cross": "mean_tnx"}
    for method in ("grad_cam", "integrated_gradients"):
        by_image = scores[scores["method"] == method].groupby(["image_id", "kind"])["score"].mean().unstack()
        means = by_image[list(columns)].dropna().mean()  # of the films with a similarity of each kind, as the verdict
        for kind, column in columns.items():
            assert last.loc[method, column] == pytest.approx(means[kind], nan_ok=True)
        assert last.loc[method, "verdict"] == run.verdict["methods"][method]["verdict"]
    accuracies = [one["test"]["accuracy"] for one in run.verdict["variants"].values() if one["kind"] == "true"]
    assert last["accuracy"].tolist() == pytest.approx([np.mean(accuracies)] * 2)
    print(history.to_string())


def test_metrics_are_what_prometheus_reads(nights):
    run, _ = nights
    text = run.store.read_bytes("metrics.prom").decode()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("pneumo_batch_")
        assert family.documentation
        assert family.type == "gauge"
        for sample in family.samples:
            found[sample.name, *sorted(v for k, v in sample.labels.items() if k not in ("job", "fingerprint"))] = (
                sample.value
            )
    assert found["pneumo_batch_run_pass",] == 3
    assert found["pneumo_batch_run_attributed",] == 14
    assert found["pneumo_batch_run_status", "complete"] == 1
    assert found["pneumo_batch_run_status", "failed"] == 0
    assert ("pneumo_batch_similarity", "grad_cam", "true_true") in found


def test_a_night_without_new_images_does_nothing_and_one_with_others_says_so(
    nights, films, tmp_path, capsys, monkeypatch
):
    run, path = copy_of(nights, tmp_path)
    root = tmp_path / "films"
    shutil.copytree(films, root)
    monkeypatch.setattr("pneumo_batch.execution.cluster.session", lambda *_: pytest.fail("started Ray"))
    before = run.record
    gone, changed = sorted((root / "test" / "NORMAL").iterdir())[:2]
    gone.unlink()
    changed.write_bytes(changed.read_bytes() + b"\0")
    training = root / "train" / "NORMAL"
    shutil.copy(min(training.iterdir()), training / "another-0001.jpeg")
    outcome = pipeline.execute(growing_job(root), str(path))
    assert (outcome.worked, outcome.complete) == (False, True)
    assert run.record == before
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "1 image joined the training data and is not used" in lines[0]
    assert f"1 image is no longer there (the first: test/NORMAL/{gone.name});" in lines[1]
    assert f"1 image has changed (the first: test/NORMAL/{changed.name});" in lines[2]


def copy_of(nights, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(nights[0].path, path)
    return RunWriter(path), path


def test_a_folder_of_a_class_the_job_does_not_name_is_no_news(nights, films, tmp_path, capsys):
    """Where a job names none, such a night is refused: tests/unit/stages/test_growing_tables.py."""
    run, path = copy_of(nights, tmp_path)
    root = tmp_path / "films"
    shutil.copytree(films, root)
    for split in ("train", "test"):
        shutil.copytree(root / split / "NORMAL", root / split / "OTHER")
    before = run.record
    outcome = pipeline.execute(growing_job(root), str(path))
    assert (outcome.worked, outcome.complete) == (False, True)
    assert run.record == before
    assert not capsys.readouterr().err


@pytest.mark.parametrize("stage", ["attribute", "compare"])
def test_a_night_that_is_interrupted_goes_on_and_rejects_what_it_cannot_read(
    nights, films, tmp_path, stage, monkeypatch
):
    """Back before the third night, which ends early, at a stage; an image gone and one broken do not stop it."""
    run, path = copy_of(nights, tmp_path)
    root = tmp_path / "films"
    shutil.copytree(films, root)
    old = sorted((root / "test" / "NORMAL").iterdir())[0]
    new = root / "test" / "NORMAL" / "IM-9999-0001.jpeg"
    new.write_bytes(phantom_film(tmp_path))
    (root / "test" / "NORMAL" / "broken-0001.jpeg").write_bytes(b"no image")
    old.unlink()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"pneumo_batch.stages.{stage}.execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.execute(growing_job(root), str(path))
    assert run.record["status"] == "failed"
    assert 'status="failed"} 1.0' in run.store.read_bytes("metrics.prom").decode()
    assert not run.has_concluded  # the verdict that is there is of the third night
    done = {"index", "train", "cascade"} | ({"attribute"} if stage == "compare" else set())
    assert {*estimate.plan(growing_job(root), str(path)).done} == done
    monkeypatch.undo()
    outcome = pipeline.execute(growing_job(root), str(path))
    assert outcome.complete
    assert run.has_concluded
    assert {*estimate.plan(growing_job(root), str(path)).done} == {*layout.STAGES}  # what was rejected is no news
    record = run.record
    assert record["pass"] == 4
    assert record["counts"] == {"images": 56, "quarantined": 1, "attributed": 15}
    assert run.quarantine()["image_id"].tolist() == ["test/NORMAL/broken-0001.jpeg"]
    assert len(run.scores().groupby("image_id").size().unique()) == 1
    again = pipeline.execute(growing_job(root), str(path))
    assert not again.worked
    events = [json.loads(line) for line in run.store.read_bytes("events.jsonl").splitlines()]
    assert [event["number"] for event in events if event["event"] == "pass"] == [2, 3, 4]


def test_a_night_whose_images_are_gone_when_it_goes_on_is_an_empty_one(nights, films, tmp_path, monkeypatch):
    run, path = copy_of(nights, tmp_path)
    root, before = tmp_path / "films", run.verdict["methods"]
    shutil.copytree(films, root)
    new = root / "test" / "NORMAL" / "IM-9999-0001.jpeg"
    new.write_bytes(phantom_film(tmp_path))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pneumo_batch.stages.index.write_manifest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.execute(growing_job(root), str(path))
    monkeypatch.undo()
    content = new.read_bytes()
    new.unlink()
    assert pipeline.execute(growing_job(root), str(path)).complete
    assert (run.record["pass"], run.record["counts"]["images"], run.verdict["methods"]) == (4, 54, before)
    assert not pipeline.execute(growing_job(root), str(path)).worked
    new.write_bytes(content)
    assert pipeline.execute(growing_job(root), str(path)).complete
    assert (run.record["pass"], run.record["counts"]["images"]) == (5, 55)
    assert verification.verify(run).findings == []


def test_a_film_that_was_relabelled_stops_no_night_and_one_that_was_repaired_is_taken_up(
    nights, films, tmp_path, capfd
):
    run, path = copy_of(nights, tmp_path)
    root = tmp_path / "films"
    shutil.copytree(films, root)
    film = min((root / "test" / "NORMAL").iterdir())
    film.rename(root / "test" / "PNEUMONIA" / film.name)
    broken = root / "test" / "NORMAL" / "IM-9999-0001.jpeg"
    broken.write_bytes(b"no image")
    assert pipeline.execute(growing_job(root), str(path)).complete
    assert f"(the first: test/NORMAL/{film.name} is test/PNEUMONIA/{film.name} now)" in capfd.readouterr().err
    assert run.record["counts"] == {"images": 55, "quarantined": 1, "attributed": 14}
    broken.write_bytes(phantom_film(tmp_path))
    assert estimate.plan(growing_job(root), str(path)).plans["index"].line.startswith("images: 1 new")
    assert pipeline.execute(growing_job(root), str(path)).complete
    assert run.record["counts"] == {"images": 55, "quarantined": 0, "attributed": 15}
    assert f"test/NORMAL/{film.name}" in run.maps("grad_cam", "true_0")[0]
    assert not pipeline.execute(growing_job(root), str(path)).worked
    assert verification.verify(run).findings == []


def phantom_film(tmp_path):
    phantom.write(tmp_path / "more", train=8, test=4, seed=77, image_size=96)
    return next((tmp_path / "more" / "test" / "NORMAL").iterdir()).read_bytes()


def test_a_job_that_grows_attributes_the_test_split_of_data_of_its_own():
    for section in (
        {"attribution": {"limit": 5}},
        {"attribution": {"splits": ["test", "val"]}},
        {"data": {"grows": True}},
    ):
        values = {"data": {"root": "films", "grows": True}, **section}
        with pytest.raises(ValueError, match=r"data\.grows needs a data\.root of your own"):
            schema.Job.model_validate({"name": "x", **values})
