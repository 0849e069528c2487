"""What users bring: broken images, models of their own, real films."""

import shutil

import numpy as np
import pytest
import torch
from helpers.tiny import TINY, lean_job, tiny_job

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


@pytest.fixture(scope="module")
def spoilt(ray_cluster, films, tmp_path_factory):
    """(job, its films, its run until attribution): two images that nobody can read, one that changes after training."""
    root, run_dir = (tmp_path_factory.mktemp("spoilt") / name for name in ("films", "run"))
    shutil.copytree(films, root)
    good = sorted(path for path in (root / "test" / "NORMAL").iterdir())
    (root / "test" / "NORMAL" / "broken.jpeg").write_bytes(good[0].read_bytes()[:200])
    (root / "train" / "PNEUMONIA" / "person999_virus_1.jpeg").write_bytes(b"")
    job = lean_job(
        data={"root": str(root), "max_bad": 0.1},
        train={"true_seeds": [0], "random_seeds": [], "epochs": 1, "max_epochs": 1},
        attribution={"methods": ["grad_cam"]},
    )
    pipeline.execute(job, str(run_dir), until="train")
    changed = sorted((root / "test" / "PNEUMONIA").iterdir())[0]
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")  # as many bytes as were indexed, and others
    return job, root, pipeline.execute(job, str(run_dir), until="attribute").run, changed.name


def test_unreadable_and_changed_images_are_quarantined_and_the_run_goes_on(spoilt):
    _, _, run, changed = spoilt
    rejected = run.quarantine().set_index("image_id")
    assert rejected["stage"].to_dict() == {
        "test/NORMAL/broken.jpeg": "index",
        f"test/PNEUMONIA/{changed}": "attribute",
        "train/PNEUMONIA/person999_virus_1.jpeg": "index",
    }
    assert rejected["reason"].str.len().min() > 0
    assert "changed since it was indexed" in rejected["reason"][f"test/PNEUMONIA/{changed}"]
    assert run.record["counts"] == {"images": 56, "quarantined": 3, "attributed": 13}
    assert len(run.maps("grad_cam", "true_0")[0]) == 13


def test_a_film_that_changes_after_its_maps_were_made_is_not_compared_with_them(spoilt, capsys):
    job, root, run, changed = spoilt
    film = next(path for path in (root / "test" / "PNEUMONIA").iterdir() if path.name != changed)
    content = film.read_bytes()
    film.write_bytes(content[:-1] + b"x")  # as many bytes as were indexed: others are the data of another job
    with pytest.raises(DataError, match="changed since it was indexed") as caught:
        pipeline.execute(job, run.path, until="compare")
    capsys.readouterr()
    assert cli._explain(caught.value) == 3
    assert capsys.readouterr().err == (
        f"pneumo-batch: test/PNEUMONIA/{film.name}: no longer readable since attributed: changed since it was indexed;"
        " put the file back as it was, then the same command continues the run\n"
    )
    film.write_bytes(content)
    pipeline.execute(job, run.path, until="compare")
    assert run.record["stages"]["compare"]["counts"]["images"] == 13


def test_too_many_unreadable_images_stop_the_run(ray_cluster, films, tmp_path):
    root = tmp_path / "films"
    shutil.copytree(films, root)
    (root / "test" / "NORMAL" / "broken.jpeg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 55 images is unreadable.*test/NORMAL/broken\.jpeg"):
        pipeline.execute(tiny_job(data={"root": str(root)}), str(tmp_path / "run"))


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
    job = lean_job(
        data={"root": str(root), "channels": 3, "normalise": [0.345, 0.282], "val_fraction": 0.0},
        train={"true_seeds": [], "random_seeds": []},
        variant=variants,
    )
    outcome = pipeline.execute(job, str(tmp_path / "run"), until="conclude")
    ids, maps_NHW = outcome.run.maps("integrated_gradients", "mine_b")
    assert maps_NHW.shape == (14, 64, 64)
    inputs_NCHW = outcome.run.inputs(ids)
    assert inputs_NCHW.shape == (14, 3, 64, 64)
    with torch.no_grad():
        expected_N = outcome.run.model("mine_b")(inputs_NCHW)[:, 0].numpy()
    logits = outcome.run.maps_table(["logit__mine_b"]).sort_by("image_id")["logit__mine_b"].to_numpy()
    np.testing.assert_allclose(logits, expected_N, rtol=1e-4, atol=1e-5)
    caveats = outcome.run.verdict["methods"]["grad_cam"]["caveats"]
    assert any("It was not measured whether noise memorised" in line for line in caveats)


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
