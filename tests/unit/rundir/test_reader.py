"""What `Run` says of images that are not where the job says, and whether it looks at the record again."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pneumo_batch.errors import RunError
from pneumo_batch.job import jobfile
from pneumo_batch.report.source import Films
from pneumo_batch.rundir.reader import Run, Snapshot
from pneumo_batch.rundir.writer import RunWriter

NORMALISED = {"data": {"root": "films", "image_size": 64, "normalise": [0.5, 0.25]}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run of films below a relative root, opened from the folder it was begun in."""
    (tmp_path / "films/test/A").mkdir(parents=True)
    Image.fromarray(np.full((40, 40), 90, np.uint8)).save(tmp_path / "films/test/A/one.png")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    run = RunWriter("run")
    run.open(
        jobfile.parse({"name": "x", **NORMALISED, "train": {"true_seeds": [0], "random_seeds": []}}, "t"), "f" * 64
    )
    preprocess = {"size": 64, "channels": 1, "pad": "none", "mean": 0.5, "std": 0.25, "resize": "bilinear"}
    run.store.write_json("models/true_0/model.json", {"name": "true_0", "kind": "true", "preprocess": preprocess})
    return tmp_path


def test_an_image_that_is_not_there_is_named_with_where_it_was_looked_for(folder, monkeypatch):
    run = Run("run")
    assert run.inputs(["test/A/one.png"]).shape == (1, 1, 64, 64)
    with pytest.raises(RunError) as error:
        run.inputs(["test/A/two.png"])
    assert str(error.value) == f"test/A/two.png: no such image in {folder}/films; ids are those of the manifest"
    monkeypatch.chdir(folder / "elsewhere")
    with pytest.raises(RunError, match=f"no such image in {folder}/elsewhere/films;"):
        Run("../run").inputs(["test/A/one.png"])


def test_a_variant_that_there_is_not_is_told_from_one_that_is_yet_to_be_trained(folder):
    run = Run("run")
    for ask in (run.model, run.model_record, run.history, run.preprocess):
        with pytest.raises(RunError, match=r"^run: no variant 'tru_0' \(did you mean true_0\?\); there are: true_0$"):
            ask("tru_0")
    with pytest.raises(RunError, match=r"^run: no models/true_0/history.parquet yet; the stage 'train' writes it"):
        run.history("true_0")
    with pytest.raises(RunError, match="nowhere: no run here"):
        Run("nowhere").model("true_0")


@pytest.mark.parametrize(
    ("method", "variant", "message"),
    [
        ("gradcam", "true_0", "no method 'gradcam' in maps (did you mean grad_cam?); there are: grad_cam"),
        ("grad_cam", "true_00", "no 'true_00' of grad_cam in maps (did you mean true_0?); there are: true_0, random_9"),
    ],
)
def test_maps_that_there_are_not_are_named_with_those_there_are(folder, method, variant, message):
    names = ("image_id", "logit__true_0", "grad_cam__true_0", "grad_cam__random_9")
    Run("run").store.write_table("maps/p0001-0.parquet", pa.table({name: ["1"] for name in names}))
    with pytest.raises(KeyError) as error:
        Run("run").maps(method, variant)
    assert error.value.args == (f"run: {message}",)


def test_one_id_is_no_list_of_ids(folder):
    with pytest.raises(TypeError, match=r"^ids: a list of image ids is needed, not one: \['test/A/one.png'\]$"):
        Run("run").inputs("test/A/one.png")


def test_no_ids_are_no_images(folder):
    assert Run("run").inputs([]).shape == (0, 1, 64, 64)


def test_before_there_are_models_it_is_said_who_writes_them(folder):
    shutil.rmtree("run/models")
    for ask in (Run("run").preprocess, Run("run").baseline, lambda: Run("run").inputs(["test/A/one.png"])):
        with pytest.raises(RunError, match=r"^run: no models yet; the stage 'train' writes them$"):
            ask()
    with pytest.raises(RunError, match="nowhere: no run here"):
        Run("nowhere").inputs([])


def test_a_report_made_elsewhere_asks_about_a_relative_root(folder, monkeypatch):
    films = Films(Run("run"))
    assert films.read(["test/A/one.png"])["test/A/one.png"].shape == (64, 64)
    monkeypatch.chdir(folder / "elsewhere")
    films = Films(Run("../run"))
    assert films.read(["test/A/one.png"]) == {}
    assert films.problem == (
        "The images cannot be shown: test/A/one.png: the file cannot be read. Was the image folder moved, or is films"
        " not seen from where this report was made?"
    )


def test_a_run_that_is_written_changes_its_record_for_all_but_a_snapshot(folder):
    run, snapshot = Run("run"), Snapshot("run")
    assert run.number == snapshot.number == 1
    RunWriter("run").begin_pass()
    assert run.number == 2
    assert snapshot.number == 1
