"""What notebooks call: `run`; of `randomization_test`, that its numbers are a run's is in test_recomputed.py."""

import re

import nbclient
import nbformat
import numpy as np
import pytest
from helpers.paths import DOCS
from helpers.tiny import TINY, tiny_job

import pneumo_batch
from pneumo_batch import pipeline
from pneumo_batch.errors import JobError
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import external_models, survey

OWN = "helpers.own_metrics:ranks"


def test_run_does_what_the_command_does_with_a_metric_of_ones_own(ray_cluster, tmp_path, capsys):
    """A metric that is the built-in one under another name has the same scores, to the last digit."""
    metrics = {"metrics": ["spearman", OWN], "primary": {"metric": OWN}}
    train = {"true_seeds": [0, 1], "random_seeds": [100], "epochs": 1, "max_epochs": 1}
    only = {"methods": ["grad_cam"], "limit": 8}
    arguments = {"run_dir": tmp_path / "run", "train": train, "attribution": only, "compare": metrics}
    run = pneumo_batch.run(TINY, **arguments)
    assert run.record["status"] == "complete"
    scores = run.scores().astype({"metric": str})
    keys = ["image_id", "view", "scale", "kind", "variant_a", "variant_b"]
    mine, theirs = (scores[scores["metric"] == one].set_index(keys)["score"].sort_index() for one in (OWN, "spearman"))
    assert len(mine) == len(scores) / 2
    np.testing.assert_array_equal(mine, theirs)
    assert run.verdict["primary"]["metric"] == OWN
    assert OWN in run.store.read_bytes("report/index.html").decode()
    before = run.store.read_bytes("run.json")
    assert pneumo_batch.run(TINY, **arguments).store.read_bytes("run.json") == before  # nothing to do
    assert capsys.readouterr().out == ""


def test_the_code_of_a_metric_is_in_the_fingerprint():
    job = tiny_job(compare={"metrics": ["spearman", OWN]})
    assert re.fullmatch("[0-9a-f]{64}", external_models.digests(job)[OWN])
    assert survey.survey(job).fingerprint != survey.survey(tiny_job(compare={"metrics": ["spearman"]})).fingerprint


def _begin(job):
    pipeline.plan(job, survey.survey(job), RunWriter("runs/none"))


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["spearman", "helpers.own_metrics:rank"], "'helpers.own_metrics:rank': the module has no callable 'rank'"),
        (["helpers.own_metrics:only_pixels"], "only_pixels has no value at the region scale: name another"),
    ],
)
def test_a_metric_that_does_not_fit_is_named_before_work_begins(metrics, message):
    job = tiny_job(compare={"metrics": metrics, "primary": {"metric": metrics[0]}})
    with pytest.raises(JobError, match=message):
        _begin(job)


def test_the_notebook_comes_to_a_verdict(tmp_path):
    notebook = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # what a reader sees is the reader's own
    done = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "stream"]  # no warnings
    shown = [output["data"] for output in outputs if "data" in output]
    assert any("data:image/svg+xml" in data.get("text/html", "") for data in shown)
    assert any("image/png" in data for data in shown)
    verdicts = re.findall(r": (sensitive|insensitive|inconclusive|invalid), label share", str(shown))
    assert len(verdicts) >= 2
    assert list(tmp_path.iterdir()) == []  # nothing is written
