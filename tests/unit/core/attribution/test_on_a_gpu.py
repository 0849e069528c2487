"""Maps and training on a GPU, against the same on the CPU. Skipped where torch sees no GPU."""

import gc
import weakref

import numpy as np
import pytest
import torch
from helpers.random_networks import network
from torch import nn

from pneumo_batch.core.attribution import explainer as explainer_module
from pneumo_batch.core.attribution import recorded
from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.attribution.methods import CAPTUM, seeded
from pneumo_batch.core.data.images import Preprocess, Split
from pneumo_batch.core.models import networks, training

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")

SEED = 12  # of images where no gradient jumps between float32 and float64, so that what differs is the device's doing
BOTH = {"integrated_gradients": {"steps": 32}, "grad_cam": {}}
QUICK = {"smooth_grad": {"samples": 5}, "gradient_shap": {"samples": 5}, "occlusion": {"window": 16}}


def maps(name, device, methods, *, dtype=torch.float32, size=32, allow_tf32=False):
    """Maps of two random images, float64 on the CPU."""
    inputs_BCHW = torch.randn(2, 1, size, size, generator=torch.Generator().manual_seed(SEED)).to(device, dtype)
    model = network(name, dtype, size=size).to(device)
    explainer = Explainer(model, methods, Preprocess(size), allow_tf32=allow_tf32)
    found = explainer(inputs_BCHW, torch.zeros(2, dtype=torch.int64))
    assert all(maps_BHW.device.type == device for maps_BHW in found.maps.values())
    return {method: maps_BHW.cpu().double() for method, maps_BHW in found.maps.items()}


def relative(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("name", ["cnn5", "resnet18", "densenet121"])
def test_both_methods_are_within_a_thousandth_of_float64_on_the_cpu(name):
    exact, found = maps(name, "cpu", BOTH, dtype=torch.float64), maps(name, "cuda", BOTH)
    for method in BOTH:
        assert relative(found[method], exact[method]) < 1e-3


@pytest.mark.parametrize("method", CAPTUM)
def test_captums_methods_are_within_a_thousandth_of_float64_on_the_cpu(method):
    methods = {method: QUICK.get(method, {})}
    exact, found = maps("cnn5", "cpu", methods, dtype=torch.float64), maps("cnn5", "cuda", methods)
    assert relative(found[method], exact[method]) < 1e-3


def test_steps_by_accuracy_take_the_points_they_take_on_the_cpu():
    methods = {"integrated_gradients": {"steps": "auto"}}
    exact, found = maps("cnn5", "cpu", methods, dtype=torch.float64), maps("cnn5", "cuda", methods)
    assert relative(found["integrated_gradients"], exact["integrated_gradients"]) < 1e-3


def test_maps_repeat_bit_for_bit_whatever_the_process_allows_elsewhere():
    before = maps("resnet18", "cuda", BOTH, size=64)
    torch.set_float32_matmul_precision("high")
    try:
        after = maps("resnet18", "cuda", BOTH, size=64)
    finally:
        torch.set_float32_matmul_precision("highest")
    for method in BOTH:
        assert torch.equal(before[method], after[method])


class Chooses(nn.Module):
    """A network that looks at its own numbers, which work that was recorded once cannot do."""

    def __init__(self):
        super().__init__()
        self.inner = network("cnn5", torch.float32, size=32)

    def forward(self, inputs_BCHW):
        logits = self.inner(inputs_BCHW)
        return logits if bool(torch.isfinite(logits).all()) else torch.zeros_like(logits)


def explained(model, inputs_BCHW, targets_BT, methods=BOTH):
    """Explanations of each target of these images, and how many recordings they took."""
    explainer = Explainer(model.to("cuda"), methods, Preprocess(32))
    found = explainer.each(inputs_BCHW.to("cuda"), torch.tensor(targets_BT))
    return found, explainer._recorder.recordings if explainer._recorder else 0


def assert_same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one.logits_B, other.logits_B)
        for name, maps_BHW in other.maps.items():
            assert torch.equal(one.maps[name], maps_BHW), name
        for name, delta_B in other.deltas.items():
            assert torch.equal(one.deltas[name], delta_B), name
            assert torch.equal(one.steps[name], other.steps[name]), name


@pytest.mark.parametrize("methods", [BOTH, {"grad_cam": {}}, {"integrated_gradients@blur": {"steps": 8}, **BOTH}])
def test_work_that_is_replayed_gives_the_maps_of_work_that_is_not(monkeypatch, methods):
    inputs_BCHW = torch.randn(7, 1, 32, 32, generator=torch.Generator().manual_seed(SEED))
    model = networks.build("cnn5", image_size=32, channels=1, outputs=3).eval()
    targets_BT = [(0, 2), (1, 0), (0, 2), (0, 2), (1, 0), (1, 0), (0, 2)]
    replayed, recordings = explained(model, inputs_BCHW, targets_BT, methods)
    assert recordings == 2
    backwards, _ = explained(model, inputs_BCHW.flip(0), targets_BT[::-1], methods)
    monkeypatch.setattr(explainer_module, "_RECORDED_BYTES", -1)
    monkeypatch.setattr(recorded, "_MOST", 0)
    computed, none = explained(model, inputs_BCHW, targets_BT, methods)
    assert none == 0
    assert_same(replayed, computed)
    for name, maps_BHW in backwards[0].maps.items():
        assert torch.equal(maps_BHW.flip(0), computed[0].maps[name])


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch sees one GPU")
def test_maps_on_another_gpu_than_the_current_one_are_those_of_their_images():
    images_BCHW = torch.rand(5, 1, 32, 32, generator=torch.Generator().manual_seed(SEED))
    model = network("cnn5", torch.float32, size=32)
    here, there = (
        Explainer(model.to(device), BOTH, Preprocess(32)).each(images_BCHW.to(device), torch.zeros(5, 1, dtype=int))
        for device in ("cuda:0", "cuda:1")
    )
    for name, maps_BHW in here[0].maps.items():
        torch.testing.assert_close(there[0].maps[name].to("cuda:0"), maps_BHW)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_random_numbers_of_gpus_go_on_as_if_none_had_been_drawn(device):
    torch.cuda.manual_seed_all(5)
    wanted = [torch.rand(1, device=f"cuda:{i}") for i in range(torch.cuda.device_count())]
    torch.cuda.manual_seed_all(5)
    with seeded(0, torch.device(device)):
        drawn = torch.rand(1, device=device)
    with seeded(0, torch.device(device)):
        assert torch.equal(torch.rand(1, device=device), drawn)
    for i, one in enumerate(wanted):
        assert torch.equal(torch.rand(1, device=f"cuda:{i}"), one)


def test_recordings_are_gone_with_their_explainer():
    model = networks.build("cnn5", image_size=32, channels=1, outputs=1).eval().to("cuda")
    gc.collect()
    gc.disable()
    try:
        explainer = Explainer(model, BOTH, Preprocess(32))
        explainer.each(torch.zeros(3, 1, 32, 32, device="cuda"), torch.zeros(3, 1, dtype=torch.int64))
        assert explainer._recorder.recordings == 1
        there = weakref.ref(explainer._recorder)
        del explainer
        assert there() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("steps", [32, "auto"])
def test_work_that_python_has_to_wait_in_is_not_recorded(steps):
    inputs_BCHW = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(SEED))
    methods = {"integrated_gradients": {"steps": steps}}
    found, recordings = explained(Chooses(), inputs_BCHW, [(0,)] * 3, methods)
    assert recordings == 0
    wanted, recordings = explained(network("cnn5", torch.float32, size=32), inputs_BCHW, [(0,)] * 3, methods)
    assert recordings == (steps != "auto")
    assert_same(found, wanted)
    assert torch.rand(1, device="cuda") < 1  # an attempt to record leaves the generator as it was


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0), reason="this GPU has no TF32"
)
def test_tf32_costs_digits_and_is_on_only_where_the_job_allows_it():
    exact = maps("resnet18", "cpu", BOTH, dtype=torch.float64, size=64)
    default, fast = (maps("resnet18", "cuda", BOTH, size=64, allow_tf32=allowed) for allowed in (False, True))
    for method in BOTH:
        assert relative(default[method], exact[method]) < 1e-3
        assert 3 * relative(default[method], exact[method]) < relative(fast[method], exact[method]) < 0.1


# ------------------------------------------------------------------------------------------------------------- training


def learner(amp, device="cuda"):
    recipe = training.Recipe(
        seed=3, epochs=200, batch_size=8, learning_rate=1e-3, sampler="weighted", plateau="train", plateau_patience=9,
        memorise=0.9, amp=amp,
    )  # fmt: skip
    torch.manual_seed(recipe.seed)
    model = networks.build("cnn5", image_size=32, channels=1, outputs=1).to(device)
    return training.Trainer(model, Preprocess(32), recipe)


def split(count=24, seed=0):
    pixels_NHW = np.random.default_rng(seed).integers(0, 256, (count, 32, 32), dtype=np.uint8)
    return Split(pixels_NHW, np.arange(count) % 2)


@pytest.mark.parametrize("amp", [False, True])
def test_a_network_memorises_on_a_gpu_and_says_the_same_on_the_cpu(amp):
    trained = learner(amp)
    assert trained.scaler.is_enabled() is amp
    training.fit(trained, split(), split(8, seed=1), lambda row: None)
    assert trained.memorised >= 0.9
    on_gpu = trained.logits(split())
    on_cpu = training.predict(trained.network.cpu(), Preprocess(32), split().pixels_NHW)
    assert relative(on_gpu, on_cpu) < 1e-4


def test_mixed_precision_trains_in_half_precision_and_evaluates_in_single():
    trained, seen = learner(amp=True), []
    trained.network.conv2[0].register_forward_hook(
        lambda module, _, output: seen.append((module.training, output.dtype))
    )
    trained.run_epoch(split(), split(8, seed=1))
    assert set(seen) == {(True, torch.float16), (False, torch.float32)}


@pytest.mark.parametrize("amp", [False, True])
def test_a_training_that_continues_from_its_saved_state_repeats_the_uninterrupted_one(amp, tmp_path):
    train, val = split(), split(8, seed=1)
    whole, first, resumed = learner(amp), learner(amp), learner(amp)
    for _ in range(4):
        whole.run_epoch(train, val)
    for _ in range(2):
        first.run_epoch(train, val)
    torch.save(first.state(), tmp_path / "state.pt")
    resumed.load(torch.load(tmp_path / "state.pt", weights_only=True, map_location="cuda"))
    for _ in range(2):
        resumed.run_epoch(train, val)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), name
