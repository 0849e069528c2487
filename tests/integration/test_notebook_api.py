"""What notebooks call: `run`, and `randomization_test` of networks in memory, which gives the numbers of a run."""

import json
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

TRUE, RANDOM = ["true_0", "true_1", "true_2"], ["random_100", "random_101", "random_102"]


@pytest.fixture(scope="module")
def six_models(ray_cluster, tmp_path_factory):
    """A run with enough models for intervals over models."""
    job = tiny_job(
        train={"true_seeds": [0, 1, 2], "random_seeds": [100, 101, 102], "epochs": 1, "max_epochs": 1},
        attribution={"integrated_gradients": {"steps": 8}},
    )
    return pipeline.execute(job, str(tmp_path_factory.mktemp("runs") / "six"), until="conclude").run


def in_memory(run, ids, **changes):
    """The test of a run's models on its images, in the order of `ids`."""
    manifest = run.manifest().set_index("image_id").loc[ids]
    preprocess, verdict = run.preprocess(), run.verdict
    settings = {
        "methods": {"integrated_gradients": {"steps": 8}, "grad_cam": {}},
        "normalise": (preprocess.mean, preprocess.std),
        "ids": ids,
        "patients": manifest["patient_id"].tolist(),
        "labels": manifest["label"].tolist(),
        "memorised": [verdict["variants"][name]["memorised"] for name in run.variants() if name not in TRUE],
        "resamples": run.job.compare.resamples,
    }
    true = {name: run.model(name) for name in run.variants() if name in TRUE}
    random = {name: run.model(name) for name in run.variants() if name not in TRUE}
    return pneumo_batch.randomization_test(true, random, run.inputs(ids), **{**settings, **changes})


def without_training(block):
    """A method's block of verdict.json without what of training nobody in memory can know: epochs, a majority guess."""
    caveats = [line for line in block["caveats"] if not line.startswith("Accuracy on the training labels")]
    assert len(caveats) == len(block["caveats"]) - 1
    return json.loads(re.sub(r"; a majority guess scores \d\.\d+", "", json.dumps({**block, "caveats": caveats})))


def test_every_number_in_memory_is_that_of_the_run(six_models):
    run = six_models
    ids = sorted(run.manifest().query("split == 'test'")["image_id"])[::-1]  # in an order of their own
    found = in_memory(run, ids).as_dict()
    expected = run.verdict
    assert found["primary"] == expected["primary"]
    assert found["threshold"] == expected["threshold"]
    assert len(expected["methods"]) == 2
    for method, block in expected["methods"].items():
        assert json.loads(json.dumps(found["methods"][method])) == without_training(block)


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
        (["spearman", "helpers.own_metrics:rank"], "module 'helpers.own_metrics' has no callable 'rank'"),
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
