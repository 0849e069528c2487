"""Real runs in processes of their own, which the tests hurt, to be compared with runs that nobody disturbed."""

import tomllib

import pytest
import torch
from helpers.processes import completed, write_job
from PIL import Image

from pneumo_batch.core.data import phantom
from pneumo_batch.core.models import networks

pytestmark = pytest.mark.faults
VARIANTS = {"mine_a": "true", "mine_b": "true", "noise": "random"}


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """Generated films, one of them white: the one that the methods of helpers/killers.py dislike."""
    root = tmp_path_factory.mktemp("films") / "films"
    phantom.write(root, train=16, test=16, seed=5, image_size=96)
    Image.new("L", (96, 96), 255).save(root / "test" / "NORMAL" / "NORMAL2-IM-9999-0001.jpeg")
    return root


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Models that were trained elsewhere, or nowhere."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for seed, name in enumerate(VARIANTS):
        torch.manual_seed(seed)
        torch.save(networks.build("cnn5", image_size=64, channels=1, outputs=1).state_dict(), folder / f"{name}.pth")
    return folder


@pytest.fixture(scope="session")
def brought(films, checkpoints, tmp_path_factory):
    """A job file that trains nothing and has every other stage."""
    values = {
        "name": "faults",
        "data": {"root": str(films), "image_size": 64, "normalise": [0.4, 0.3], "max_bad": 0.1},
        "train": {"true_seeds": [], "random_seeds": []},
        "attribution": {"rows_per_file": 2, "integrated_gradients": {"steps": 8}},
        "compare": {"resamples": 100},
        "cascade": {"seeds": [0], "images": 2, "independent": False},
        "variant": [
            {"name": name, "kind": kind, "checkpoint": str(checkpoints / f"{name}.pth")}
            for name, kind in VARIANTS.items()
        ],
    }
    return write_job(tmp_path_factory.mktemp("jobs") / "brought.toml", values)


@pytest.fixture(scope="session")
def trained(films, tmp_path_factory):
    """A job file that trains, and saves the state of its trainings after every epoch."""
    values = {
        "name": "faults",
        "data": {"root": str(films), "image_size": 64, "max_bad": 0.1},
        "train": {
            "true_seeds": [0, 1],
            "random_seeds": [100],
            "epochs": 6,
            "max_epochs": 6,
            "batch_size": 8,
            "checkpoint_seconds": 0.0,
        },
        "attribution": {"methods": ["grad_cam"]},
        "compare": {"resamples": 100},
    }
    return write_job(tmp_path_factory.mktemp("jobs") / "trained.toml", values)


@pytest.fixture(scope="session")
def trained_together(trained, tmp_path_factory):
    """The same with one variant that two workers train."""
    values = tomllib.loads(trained.read_text())
    values["train"] |= {"true_seeds": [0], "random_seeds": [], "workers": 2}
    return write_job(tmp_path_factory.mktemp("jobs") / "together.toml", values)


@pytest.fixture(scope="session")
def untouched(brought, tmp_path_factory):
    """The run of `brought` that nobody disturbed."""
    return completed(brought, tmp_path_factory.mktemp("runs") / "untouched")


@pytest.fixture(scope="session")
def untouched_trained(trained, tmp_path_factory):
    """The run of `trained` that nobody disturbed."""
    return completed(trained, tmp_path_factory.mktemp("runs") / "untouched")
