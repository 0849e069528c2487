import io

import numpy as np
import pytest
import torch

from pneumo_batch.core.data.images import Preprocess, Split
from pneumo_batch.core.models import checkpoints, networks
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages.workers import predictor


def split(rng, count):
    return Split(rng.integers(0, 256, (count, 32, 32), dtype=np.uint8), np.zeros(count, np.int64))


@pytest.fixture
def models():
    """One of one channel; one of three with its own mean, as a program."""
    torch.manual_seed(0)
    plain, colour = (networks.build("cnn5", image_size=32, channels=channels, outputs=2).eval() for channels in (1, 3))
    program = io.BytesIO()
    torch.jit.save(torch.jit.trace(colour, torch.zeros(2, 3, 32, 32)), program)
    shared = {"size": 32, "std": 0.3}
    return [
        (
            plain,
            predictor.Model("plain", "cnn5", None, checkpoints.state_bytes(plain), 2, Preprocess(mean=0.4, **shared)),
        ),
        (
            colour,
            predictor.Model(
                "colour",
                "colour.pt",
                program.getvalue(),
                checkpoints.state_bytes(colour),
                2,
                Preprocess(channels=3, mean=0.5, **shared),
            ),
        ),
    ]


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.parametrize("images", [40, 2500], ids=["few: here", "many: on the cluster, in two blocks"])
def test_logits_are_those_of_the_model_on_all_images_at_once(ray_cluster, models, images, tmp_path):
    rng = np.random.default_rng(0)
    splits = {"train": split(rng, images), "val": split(rng, 0), "test": split(rng, 7)}
    found = list(predictor.logits([model for _, model in models], splits, RunWriter(tmp_path), ray_cluster))
    for (network, model), logits in zip(models, found, strict=True):
        assert logits["val"].shape == (0, 2)
        for name, one in splits.items():
            if len(one):
                with torch.no_grad():
                    wanted = network(model.preprocess.inputs(one.pixels_NHW)).numpy()
                np.testing.assert_allclose(logits[name], wanted, rtol=1e-4, atol=1e-5)
