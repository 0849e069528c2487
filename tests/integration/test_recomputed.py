"""verdict.json once more from `scores/`, by a few lines of pandas that share no code with the project."""

import pytest
from helpers import recomputed
from helpers.recomputed import flat
from helpers.tiny import tiny_job

from pneumo_batch import pipeline

TRUE, RANDOM = ["true_0", "true_1", "true_2"], ["random_100", "random_101", "random_102"]


def test_every_number_of_the_verdict_is_in_the_scores(ray_cluster, tmp_path):
    job = tiny_job(
        train={"true_seeds": [0, 1, 2], "random_seeds": [100, 101, 102], "epochs": 1, "max_epochs": 1},
        attribution={"methods": ["grad_cam"]},
    )
    run = pipeline.execute(job, str(tmp_path / "run"), until="conclude").run
    found, scores = run.verdict["methods"]["grad_cam"], run.scores()
    assert len(found["cells"]) == 16  # two views; five metrics of pixels and three of regions
    for name, cell in found["cells"].items():
        view, scale, metric = name.split("/")
        rows = scores[(scores.view == view) & (scores.scale == scale) & (scores.metric == metric)]
        expected = flat(recomputed.of_cell(rows, TRUE, RANDOM, job.compare.resamples))
        measured = flat({key: cell[key] for key in recomputed.FIELDS})
        assert measured == pytest.approx({key: expected[key] for key in measured}, rel=1e-9, abs=1e-12, nan_ok=True)
    assert found["numbers"] == {key: found["cells"]["magnitude/region/spearman"][key] for key in found["numbers"]}
