"""What users bring: broken images, models of their own, real films."""

import shutil

import numpy as np
import pytest
import torch
from helpers.tiny import TINY, tiny_job

from pneumo_batch import cli, pipeline
from pneumo_batch.core.data import phantom
from pneumo_batch.core.models import networks
from pneumo_batch.errors import DataError, JobError
from pneumo_batch.job import jobfile


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """A folder of generated films that tests copy."""
    root = tmp_path_factory.mktemp("films") / "films"
    phantom.write(root, train=40, test=14, seed=3, image_size=96)
    return root


def test_unreadable_images_are_quarantined_and_the_run_goes_on(ray_cluster, films, tmp_path):
    root = tmp_path / "films"
    shutil.copytree(films, root)
    good = sorted(path for path in (root / "test" / "NORMAL").iterdir())
    (root / "test" / "NORMAL" / "broken.jpeg").write_bytes(good[0].read_bytes()[:200])
    (root / "train" / "PNEUMONIA" / "person999_virus_1.jpeg").write_bytes(b"")
    job = tiny_job(data={"root": str(root), "max_bad": 0.1}, train={"true_seeds": [0], "epochs": 1, "max_epochs": 1})
    outcome = pipeline.execute(job, str(tmp_path / "run"), until="attribute")
    rejected = outcome.run.quarantine().set_index("image_id")
    assert list(rejected.index) == ["test/NORMAL/broken.jpeg", "train/PNEUMONIA/person999_virus_1.jpeg"]
    assert rejected["reason"].str.len().min() > 0
    assert outcome.run.record["counts"] == {"images": 56, "quarantined": 2, "attributed": 14}


def test_too_many_unreadable_images_stop_the_run(ray_cluster, films, tmp_path):
    root = tmp_path / "films"
    shutil.copytree(films, root)
    (root / "test" / "NORMAL" / "broken.jpeg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 55 images are unreadable.*test/NORMAL/broken\.jpeg"):
        pipeline.execute(tiny_job(data={"root": str(root)}), str(tmp_path / "run"))


def test_an_image_that_vanishes_after_the_index_is_quarantined(ray_cluster, films, tmp_path):
    root = tmp_path / "films"
    shutil.copytree(films, root)
    job = tiny_job(data={"root": str(root), "max_bad": 0.1}, train={"true_seeds": [0], "epochs": 1, "max_epochs": 1})
    run_dir = str(tmp_path / "run")
    outcome = pipeline.execute(job, run_dir, until="train")
    gone = next((root / "test" / "PNEUMONIA").iterdir())
    content = gone.read_bytes()
    gone.write_bytes(content[:-1] + b"x")  # as many bytes as were indexed, and others
    outcome = pipeline.execute(job, run_dir, until="compare")
    rejected = outcome.run.quarantine()
    assert rejected["image_id"].tolist() == [f"test/PNEUMONIA/{gone.name}"]
    assert rejected["stage"].tolist() == ["attribute"]
    assert "changed since it was indexed" in rejected["reason"][0]
    assert len(outcome.run.maps("grad_cam", "true_0")[0]) == 13


def test_a_film_that_changes_after_its_maps_were_made_is_not_compared_with_them(ray_cluster, films, tmp_path, capsys):
    root, run_dir = tmp_path / "films", str(tmp_path / "run")
    shutil.copytree(films, root)
    job = tiny_job(data={"root": str(root)}, train={"true_seeds": [0], "epochs": 1, "max_epochs": 1})
    pipeline.execute(job, run_dir, until="attribute")
    film = next((root / "test" / "PNEUMONIA").iterdir())
    content = film.read_bytes()
    film.write_bytes(content[:-1] + b"x")  # as many bytes as were indexed: others are the data of another job
    with pytest.raises(DataError, match="changed since it was indexed") as caught:
        pipeline.execute(job, run_dir, until="compare")
    capsys.readouterr()
    assert cli._explain(caught.value) == 3
    assert capsys.readouterr().err == (
        f"pneumo-batch: test/PNEUMONIA/{film.name}: no longer readable since attributed: changed since it was indexed;"
        " put the file back as it was, then the same command continues the run\n"
    )
    film.write_bytes(content)
    run = pipeline.execute(job, run_dir, until="compare").run
    assert run.record["stages"]["compare"]["counts"]["images"] == 14


def test_brought_models_go_straight_to_attribution(ray_cluster, films, tmp_path):
    """State dicts with the notebooks' names and three channels, as `torch.save` writes them."""
    root = tmp_path / "films"
    shutil.copytree(films / "test", root / "test")
    variants = []
    for seed, (name, kind) in enumerate([("mine_a", "true"), ("mine_b", "true"), ("noise", "random")]):
        torch.manual_seed(seed)
        model = networks.build("cnn5", image_size=64, channels=3, outputs=1)
        assert "conv5.3.running_mean" in model.state_dict()
        path = tmp_path / f"{name}.pth"
        torch.save(model.state_dict(), path)
        variants.append({"name": name, "kind": kind, "checkpoint": str(path)})
    values = {
        **TINY,
        "data": {"root": str(root), "image_size": 64, "channels": 3, "normalise": [0.345, 0.282]},
        "train": {"true_seeds": [], "random_seeds": []},
        "variant": variants,
    }
    outcome = pipeline.execute(jobfile.parse(values, "test"), str(tmp_path / "run"))
    assert outcome.complete
    ids, maps_NHW = outcome.run.maps("integrated_gradients", "mine_b")
    assert maps_NHW.shape == (14, 64, 64)
    inputs_NCHW = outcome.run.inputs(ids)
    assert inputs_NCHW.shape == (14, 3, 64, 64)
    with torch.no_grad():
        expected_N = outcome.run.model("mine_b")(inputs_NCHW)[:, 0].numpy()
    logits = outcome.run.maps_table(["logit__mine_b"]).sort_by("image_id")["logit__mine_b"].to_numpy()
    np.testing.assert_allclose(logits, expected_N, rtol=1e-4, atol=1e-5)
    caveats = outcome.run.verdict["methods"]["grad_cam"]["caveats"]
    assert any("Nobody measured whether noise memorised" in line for line in caveats)


def test_a_checkpoint_that_does_not_fit_is_one_line(ray_cluster, films, tmp_path):
    torch.save(networks.build("cnn5", image_size=96, channels=1, outputs=1).state_dict(), tmp_path / "big.pth")
    values = {
        **TINY,
        "data": {"root": str(films), "image_size": 64},
        "train": {"true_seeds": [0], "random_seeds": []},
        "variant": [{"name": "big", "kind": "random", "checkpoint": str(tmp_path / "big.pth")}],
    }
    with pytest.raises(JobError, match=r"variant\.big: .*fc\.0\.weight") as caught:
        pipeline.execute(jobfile.parse(values, "test"), str(tmp_path / "run"))
    assert "\n" not in str(caught.value)


def test_published_films_of_every_size_and_mode_are_read(ray_cluster, kermany_original, tmp_path):
    """Mixed sizes, gray and RGB, as the test split of a model that exists already."""
    checkpoint = tmp_path / "model.pth"
    torch.manual_seed(0)
    torch.save(networks.build("cnn5", image_size=64, channels=1, outputs=1).state_dict(), checkpoint)
    values = {
        **TINY,
        "data": {"root": str(kermany_original), "image_size": 64, "normalise": [0.345, 0.282]},
        "train": {"true_seeds": [], "random_seeds": []},
        "variant": [{"name": "model", "kind": "true", "checkpoint": str(checkpoint)}],
    }
    outcome = pipeline.execute(jobfile.parse(values, "test"), str(tmp_path / "run"), until="attribute")
    manifest = outcome.run.manifest()
    assert set(manifest["mode"]) == {"L", "RGB"}
    assert manifest["width"].nunique() > 20
    assert outcome.run.record["counts"] == {"images": 56, "quarantined": 0, "attributed": 56}
