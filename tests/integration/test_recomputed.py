"""verdict.json of one run twice more.

From `scores/`, by a few lines of pandas that share no code with the project; from its networks, by what notebooks call.
"""

import json
import re

import pytest
from helpers import recomputed
from helpers.recomputed import flat
from helpers.tiny import tiny_job

import pneumo_batch
from pneumo_batch import pipeline

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


def test_every_number_of_the_verdict_is_in_the_scores(six_models):
    run = six_models
    found, scores = run.verdict["methods"]["grad_cam"], run.scores().query("method == 'grad_cam'")
    assert len(found["cells"]) == 16  # two views; five metrics of pixels and three of regions
    for name, cell in found["cells"].items():
        view, scale, metric = name.split("/")
        rows = scores[(scores.view == view) & (scores.scale == scale) & (scores.metric == metric)]
        expected = flat(recomputed.of_cell(rows, TRUE, RANDOM, run.job.compare.resamples))
        measured = flat({key: cell[key] for key in recomputed.FIELDS})
        assert measured == pytest.approx({key: expected[key] for key in measured}, rel=1e-9, abs=1e-12, nan_ok=True)
    assert found["numbers"] == {key: found["cells"]["magnitude/region/spearman"][key] for key in found["numbers"]}
