"""Every snippet of docs/querying.md and every cell of docs/explore.ipynb, on a finished run."""

import re
import runpy
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.paths import DOCS
from PIL import Image

from pneumo_batch.core import tables

PAGE = (DOCS / "querying.md").read_text(encoding="utf-8")
SETUP, *_ = re.findall(r"```python\n(.*?)```", PAGE.partition("\n## ")[0], re.DOTALL)
QUESTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}
ENGINES = ("pandas", "DuckDB", "Polars")
DEGENERATE = "Which images are degenerate?"
SUMMARY = "Recomputing a number of the summary by hand"


@pytest.fixture(scope="module")
def folder(tiny_run, tmp_path_factory) -> Path:
    """Where the snippets run: a folder with clinical data of the run's patients."""
    folder = tmp_path_factory.mktemp("clinic")
    patients = tiny_run.manifest()["patient_id"].drop_duplicates().reset_index(drop=True)
    ages = pd.DataFrame({"patient_id": patients, "age": 20 + patients.index * 7 % 40})
    ages.to_csv(folder / "clinical.csv", index=False)
    return folder


def answers(question: str, run: str, target: str | None = None) -> dict[str, object]:
    """What each engine's snippet leaves in `answer`."""
    found = {}
    for code in re.findall(r"```python\n(.*?)```", QUESTIONS[question], re.DOTALL):
        setup = re.sub(r'RUN = ".*"', f"RUN = {run!r}", SETUP).replace("TARGET = None", f"TARGET = {target!r}")
        names: dict[str, object] = {}
        exec(compile(setup + code, question, "exec"), names)
        found[code.partition("\n")[0].removeprefix("# ")] = names["answer"]
    return found


def plain(answer) -> tuple[list, np.ndarray]:
    """Names, and numbers as float64: what can be compared between engines."""
    if isinstance(answer, pl.DataFrame):
        answer = answer.to_pandas()
    if not isinstance(answer, pd.DataFrame):
        return [np.shape(answer)], np.asarray(answer, dtype=np.float64)
    numbers = answer.select_dtypes("number")
    names = answer.drop(columns=numbers.columns).astype(str).to_numpy().tolist()
    return names, numbers.to_numpy(dtype=np.float64)


@pytest.fixture(scope="module")
def marred(tiny_run, tmp_path_factory) -> str:
    """The scores of the run, some of them undefined: a tiny run has no constant map."""
    path = tmp_path_factory.mktemp("marred")
    scores = tiny_run.store.read_table("scores", schema=tables.SCORES)
    columns = {name: scores[name] for name in scores.column_names}
    chosen = np.arange(scores.num_rows) % 97 == 0
    columns["score"] = np.where(chosen, np.nan, scores["score"].to_numpy()).astype(np.float32)
    columns["degenerate"] = chosen | scores["degenerate"].to_numpy()
    (path / "scores").mkdir()
    pq.write_table(pa.table(columns, schema=tables.SCORES), path / "scores" / "part-0.parquet")
    return str(path)


@pytest.fixture(scope="module")
def two_targets(tiny_run, tmp_path_factory) -> str:
    """Its images, and its scores as those of the target A; of B, and between both, there are others."""
    path = tmp_path_factory.mktemp("two")
    (path / "manifest").symlink_to(Path(tiny_run.path, "manifest").absolute())
    scores = tiny_run.store.read_table("scores", schema=tables.SCORES).to_pandas()
    others = scores.assign(score=-scores["score"] / 2, degenerate=~scores["degenerate"])
    parts = [(scores, "A", "A"), (others, "B", "B"), (others.assign(kind="two_targets"), "A", "B")]
    rows = pd.concat([part.assign(target=one, target_b=other) for part, one, other in parts])
    (path / "scores").mkdir()
    table = pa.Table.from_pandas(rows, schema=tables.scores_schema(["A", "B"]), preserve_index=False)
    pq.write_table(table, path / "scores" / "part-0.parquet")
    return str(path)


@pytest.mark.parametrize("question", [question for question in QUESTIONS if "scores" in QUESTIONS[question]])
def test_with_several_targets_the_answers_are_those_of_one(question, tiny_run, two_targets, folder, monkeypatch):
    monkeypatch.chdir(folder)
    wanted_names, wanted = plain(answers(question, tiny_run.path)["pandas"])
    for found in answers(question, two_targets, "A").values():
        names, numbers = plain(found)
        assert names == wanted_names
        np.testing.assert_allclose(numbers, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_three_engines_agree(question, tiny_run, marred, folder, monkeypatch):
    monkeypatch.chdir(folder)
    found = answers(question, marred if question == DEGENERATE else tiny_run.path)
    assert tuple(found) == ENGINES
    names, numbers = plain(found["pandas"])
    assert np.isfinite(numbers).any()
    for engine in ENGINES[1:]:
        other_names, other_numbers = plain(found[engine])
        assert other_names == names
        np.testing.assert_allclose(other_numbers, numbers, rtol=1e-5, atol=1e-6)


def test_answers_are_those_of_the_run(tiny_run, folder, monkeypatch):
    monkeypatch.chdir(folder)
    rows = tiny_run.summary().set_index(["class_name", "method", "view", "scale", "metric", "kind"])
    expected = rows.loc[("all", "integrated_gradients", "signed", "pixel", "ssim", "true_random"), "mean"]
    assert answers(SUMMARY, tiny_run.path)["DuckDB"] == pytest.approx(expected, rel=1e-6)
    _, maps_NHW = tiny_run.maps("grad_cam", "true_0")
    np.testing.assert_array_equal(answers("One map as an array", tiny_run.path)["pandas"], maps_NHW[0])
    every = answers("The maps of a method under every variant", tiny_run.path)["Polars"]
    expected = [tiny_run.maps("integrated_gradients", name)[1][0] for name in tiny_run.variants()]
    np.testing.assert_array_equal(every, expected)


def test_the_notebook_runs(tiny_run, folder):
    notebook = nbformat.read(DOCS / "explore.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # what a reader sees is the reader's own run
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert re.fullmatch(r'RUN = "\.\./runs/.*"', first.source)
    first.source = f"RUN = {tiny_run.path!r}"
    done = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    assert not [output for output in outputs if output.output_type == "stream"]  # no warnings


@pytest.mark.parametrize("name", ["result", "mixture"])
def test_pictures_of_the_docs_can_be_drawn(name, tiny_run, tmp_path):
    module = runpy.run_path(str(DOCS / "images" / f"{name}.py"))
    module["main"](tiny_run.path, str(tmp_path / "drawn.png"))
    with Image.open(tmp_path / "drawn.png") as picture:
        assert picture.size[0] > 2 * picture.size[1]
    assert (DOCS / "images" / f"{name}.png").stat().st_size < 300_000
