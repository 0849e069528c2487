"""What `Run` says of images that are not where the job says."""

import numpy as np
import pytest
from PIL import Image

from pneumo_batch.errors import RunError
from pneumo_batch.job import jobfile
from pneumo_batch.report.source import Films
from pneumo_batch.rundir.reader import Run
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
