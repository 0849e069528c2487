"""One run with further arms: labels half permuted, fresh weights, another column or network; and one without."""

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
import torch
from helpers import recomputed
from helpers.tiny import tiny_job

from pneumo_batch import pipeline
from pneumo_batch.core.models import networks
from pneumo_batch.core.similarity import pairs
from pneumo_batch.errors import JobError

COARSE = "helpers.probes:coarse"
FURTHER = [
    {"name": "half", "fraction": 0.5, "seeds": [200, 201]},
    {"name": "fresh", "labels": "untrained", "seeds": [300, 301]},
    {"name": "kind", "labels": "column:subtype", "seeds": [400]},
    {"name": "deep", "labels": "true", "network": COARSE, "seeds": [500]},
]


@pytest.fixture(scope="module")
def armed(ray_cluster, tmp_path_factory):
    outcome = pipeline.execute(tiny_job(arm=FURTHER), str(tmp_path_factory.mktemp("runs") / "armed"))
    assert outcome.complete
    return outcome.run


def training(run):
    rows = run.manifest_table()
    return rows.filter(pc.equal(rows["split"], "train")).sort_by("image_id").to_pandas()


def test_models_and_scores_of_the_job_without_arms_stay_as_they_are(armed, tiny_run):
    for name in tiny_run.variants():
        one, other = (run.model(name).state_dict() for run in (armed, tiny_run))
        assert all(torch.equal(one[key], other[key]) for key in other)
    keys = ["image_id", "method", "view", "scale", "metric", "kind", "variant_a", "variant_b"]
    found = [run.scores().astype(dict.fromkeys(keys, str)).set_index(keys).score for run in (armed, tiny_run)]
    shared = found[0].loc[found[1].index]
    pd.testing.assert_series_equal(shared, found[1])
    verdicts = [run.verdict["methods"]["grad_cam"] for run in (armed, tiny_run)]
    assert verdicts[0]["numbers"] == verdicts[1]["numbers"]


def test_a_half_permuted_model_learnt_labels_of_which_most_are_true(armed):
    """What it knows of the labels it was given is what model.json says: they are drawn again here."""
    films = training(armed)
    for seed in (200, 201):
        record = armed.model_record(f"half_{seed}")
        rng = np.random.default_rng([seed, 0x1ABE1])
        chosen = np.sort(rng.permutation(len(films))[: round(len(films) / 2)])
        given = films["label"].to_numpy().copy()
        given[chosen] = given[chosen[rng.permutation(len(chosen))]]
        assert record["label_agreement"] == np.mean(given == films["label"])
        said = armed.predictions_table(f"half_{seed}").to_pandas().set_index("image_id").loc[films["image_id"]]
        assert record["metrics"]["train"]["accuracy"] == np.mean((said["logits"].str[0] > 0) == given)
        assert record["memorised"] == pytest.approx(record["metrics"]["train"]["balanced_accuracy"])
        assert record["arm"] == {
            "name": "half", "labels": "permuted", "fraction": 0.5, "unit": "image", "within": [], "network": None
        }  # fmt: skip


def test_untrained_models_have_the_weights_their_seed_draws(armed):
    torch.manual_seed(301)
    expected = networks.build("cnn5", image_size=64, channels=1, outputs=1).state_dict()
    found = armed.model("fresh_301").state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    one = armed.verdict["variants"]["fresh_301"]
    assert (one["epochs"], one["memorised"], one["training_accuracy"], one["label_agreement"]) == (0, None, None, None)
    assert not len(armed.history("fresh_301"))


def test_a_model_of_another_column_is_judged_by_it(armed):
    """Bacteria and virus are in the names of films; films without an opacity have neither."""
    rows = armed.manifest_table().to_pandas().set_index("image_id")
    said = armed.predictions_table("kind_400").to_pandas().set_index("image_id")
    record, one = armed.model_record("kind_400"), armed.verdict["variants"]["kind_400"]
    for split, accuracy in (("train", record["metrics"]["train"]["accuracy"]), ("test", one["own_test"]["accuracy"])):
        films = rows[(rows["split"] == split) & rows["subtype"].notna()]
        threshold = 0.5 if split == "train" else record["threshold"]
        virus = 1 / (1 + np.exp(-said.loc[films.index, "logits"].str[0].to_numpy(float))) >= threshold
        assert accuracy == np.mean(virus == (films["subtype"] == "virus"))
    assert one["own_test"]["images"] == (rows.loc[rows["split"] == "test", "subtype"].notna()).sum()
    assert one["test"]["images"] == (rows["split"] == "test").sum()
    assert len(said) == len(rows)
    assert "own_test" not in armed.verdict["variants"]["true_0"]


@pytest.mark.parametrize("arm", ["half", "fresh"])
def test_the_numbers_of_an_arm_follow_from_its_scores(armed, arm):
    """Recomputed with pandas, the arm in the place of the random one."""
    scores = armed.scores()
    cell = (scores["view"] == "magnitude") & (scores["scale"] == "region") & (scores["metric"] == "spearman")
    rows = scores[cell & (scores["method"] == "grad_cam")].astype({"kind": str})
    named = pairs.as_contrast(arm)
    rows = rows[rows["kind"].isin(named)]
    variants = [sorted(set(rows["variant_b"].astype(str)) & {f"{kind}_{n}" for n in (0, 1, 200, 201, 300, 301)})
                for kind in ("true", arm)]  # fmt: skip
    expected = recomputed.of_cell(rows.assign(kind=rows["kind"].map(named)), ["true_0", "true_1"], variants[1], 100)
    found = armed.verdict["arms"][arm]["methods"]["grad_cam"]["numbers"]
    for quantity in ("difference", "everywhere", "headroom", "remainder", "share"):
        ours = {"value": found[quantity]["value"], "random": found[quantity]["sd"]["random"]}
        theirs = {"value": expected[quantity]["value"], "random": expected[quantity]["sd"]["random"]}
        assert recomputed.flat(ours) == pytest.approx(recomputed.flat(theirs), abs=1e-6, nan_ok=True)
    assert set(found["means"]) == set(named)


def test_maps_of_another_network_are_stored_as_large_as_it_makes_them(armed):
    assert armed.model_record("deep_500")["network"] == COARSE
    sizes = {name: armed.maps("grad_cam", name)[1].shape[1:] for name in ("true_0", "deep_500")}
    assert sizes == {"true_0": (4, 4), "deep_500": (2, 2)}
    scores = armed.scores()
    ours = scores[scores["method"].eq("grad_cam") & scores["metric"].eq("pearson") & scores["view"].eq("signed")]
    ours = ours[ours["variant_b"] == "deep_500"]
    assert set(ours["kind"]) == {"true_deep", "true_deep_cross"}
    assert ours["score"].notna().all()


def test_arms_are_told_where_runs_are_told(armed):
    assert armed.verdict["contrast"] == "random"
    assert list(armed.verdict["arms"]) == ["random", "half", "fresh", "kind", "deep"]
    page = armed.store.read_bytes("report/index.html").decode()
    for words in ("50 % of the labels permuted", "fresh weights", "subtype for labels", f"another network, {COARSE}"):
        assert words in page


def test_a_column_that_cannot_be_learnt_stops_the_run_before_any_training(ray_cluster, tmp_path):
    job = tiny_job(arm=[{"name": "mode", "labels": "column:mode", "seeds": [5]}])
    with pytest.raises(JobError, match=r"^arm.mode.labels: two classes need two values of mode in the training split"):
        pipeline.execute(job, str(tmp_path / "run"))
    assert not (tmp_path / "run/models").exists()
