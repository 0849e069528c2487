"""Attribution and training on one GPU: seconds an image against peers on the same GPU, and how long the GPU computes.

Gives no rows where torch sees no GPU. By itself: `python tests/bench/run.py gpu`.
"""

import contextlib
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from bench_attribution import STEPS, images, model, row, share_row

from pneumo_batch.core.attribution.baselines import baseline_input
from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.data.images import Preprocess, Split
from pneumo_batch.core.models.networks import grad_cam_layer
from pneumo_batch.core.models.runtime import exact_arithmetic
from pneumo_batch.core.models.training import Recipe, Trainer

DEVICE = "cuda"
SIZES = (64, 224)
IMAGES, ROUNDS = 16, 5
TRAINING_IMAGES, BATCH = 4096, 32
_CAPTUM_BATCHES = (16, 50, 200)
_MATRIX = 8192
_METHODS: dict[str, dict[str, Any]] = {"integrated_gradients": {"steps": STEPS}, "grad_cam": {}}

Work = Callable[[torch.Tensor], Any]


def bench_gpu() -> Iterator[dict[str, Any]]:
    """Both methods at both sizes, then a training."""
    if not torch.cuda.is_available():
        return
    for size in SIZES:
        yield from _attribution(size)
    yield from _training(SIZES[0])


def _attribution(size: int) -> Iterator[dict[str, Any]]:
    """Integrated Gradients at equal steps in full float32, both alike, and against captum as it is called: in TF32."""
    where = f"at {size} px on one {torch.cuda.get_device_name()}"
    inputs = images(IMAGES, size)
    seconds = measure(_contenders(size), inputs)
    ours = seconds["ours"]
    exact, tf32 = (
        min(value for name, value in seconds.items() if name.startswith(f"captum {kind}")) for kind in ("exact", "TF32")
    )
    yield row(f"Integrated Gradients {where} vs captum in full float32", ours, exact, 1.0)
    yield row(f"Integrated Gradients {where} vs captum as documented, in TF32", ours, tf32, 1.0)
    yield row(f"Integrated Gradients {where}, TF32 allowed, vs captum as documented", seconds["ours TF32"], tf32, 1.0)
    if "pytorch-grad-cam" in seconds:
        yield row(f"Grad-CAM {where} vs pytorch-grad-cam", seconds["Grad-CAM"], seconds["pytorch-grad-cam"], 1.0)
    both = _explaining(size, _METHODS)
    busy, wall = busy_seconds(lambda: both(inputs))
    yield share_row(f"both methods {where}: share of the time the GPU computes", busy, wall, 0.9, "s")
    rate = _flop_per_image(size) / ours / 1e12
    yield share_row(f"Integrated Gradients {where}: FLOP/s vs matrix product", rate, _matrix_rate(), 0.8, "TFLOP/s")


def _contenders(size: int) -> dict[str, Work]:
    path: dict[str, dict[str, Any]] = {"integrated_gradients": {"steps": STEPS}}
    found = {
        "ours": _explaining(size, path),
        "ours TF32": _explaining(size, path, allow_tf32=True),
        "both methods": _explaining(size, _METHODS),
        "Grad-CAM": _explaining(size, {"grad_cam": {}}),
    }
    for batch, exact in itertools.product(_CAPTUM_BATCHES, (True, False)):
        found[f"captum {'exact' if exact else 'TF32'} {batch}"] = _captum(size, batch, exact)
    with contextlib.suppress(ImportError):
        found["pytorch-grad-cam"] = _pytorch_grad_cam(size)
    return found


def _explaining(size: int, methods: dict[str, dict[str, Any]], allow_tf32: bool = False) -> Work:
    explainer = Explainer(model(size).to(DEVICE), methods, Preprocess(size), allow_tf32=allow_tf32)
    return lambda inputs: explainer(inputs, torch.zeros(len(inputs), dtype=torch.int64))


def _captum(size: int, batch: int, exact: bool) -> Work:
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(model(size).to(DEVICE))
    baseline = baseline_input("black", Preprocess(size)).to(DEVICE)
    arguments = {"baselines": baseline, "target": 0, "n_steps": STEPS, "internal_batch_size": batch}

    def explain(inputs: torch.Tensor) -> Any:
        with exact_arithmetic() if exact else contextlib.nullcontext():
            return method.attribute(inputs.to(DEVICE), **arguments)

    return explain


def _pytorch_grad_cam(size: int) -> Work:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import RawScoresOutputTarget

    network = model(size).to(DEVICE)
    method = GradCAM(model=network, target_layers=[network.get_submodule(grad_cam_layer(network))])
    return lambda inputs: [method(image[None].to(DEVICE), targets=[RawScoresOutputTarget()]) for image in inputs]


def measure(contenders: dict[str, Work], inputs: torch.Tensor) -> dict[str, float]:
    """Median seconds an image of each, alternating; what was queued on the GPU is waited for."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(ROUNDS + 1):
        for name, work in contenders.items():
            started = _now()
            work(inputs)
            if number:  # the first one loads kernels
                times[name].append((_now() - started) / len(inputs))
    found = {name: statistics.median(values) for name, values in times.items()}
    for name, value in found.items():
        sys.stderr.write(f"  {inputs.shape[-1]} px {name}: {1e3 * value:.3f} ms an image\n")
    return found


def busy_seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds the GPU computed or copied, of the seconds the work took; it is done once before."""
    work()
    started = _now()
    work()
    wall = _now() - started
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    kernels = (event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA)
    return sum(event.device_time for event in kernels) / 1e6, wall


def _flop_per_image(size: int) -> float:
    """Of every step, forward and backward, behind the first convolution; as bench_attribution counts at 224 px."""
    side = size // 2
    layers = ((32, 64, side), (64, 64, side // 2), (64, 128, side // 4), (128, 256, side // 8))
    return 2 * 2 * sum(9 * inputs * outputs * at**2 for inputs, outputs, at in layers) * STEPS


def _matrix_rate() -> float:
    """TFLOP/s of a large product in full float32."""
    left, right = torch.randn(2, _MATRIX, _MATRIX, device=DEVICE)
    with exact_arithmetic():
        times = []
        for _ in range(ROUNDS + 1):
            started = _now()
            _ = left @ right
            times.append(_now() - started)
    return 2 * _MATRIX**3 / statistics.median(times[1:]) / 1e12


# ------------------------------------------------------------------------------------------------------------- training


def _training(size: int) -> Iterator[dict[str, Any]]:
    """Seconds an image of an epoch without validation, against the loop of a tutorial on the same GPU."""
    where = f"at {size} px on one {torch.cuda.get_device_name()}"
    pixels_NHW = np.random.default_rng(0).integers(0, 256, (TRAINING_IMAGES, size, size), dtype=np.uint8)
    split = Split(pixels_NHW, np.arange(TRAINING_IMAGES) % 2)
    trainer, plain = _trainer(size), _plain(split, size)
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    for number in range(3):
        for name, work in (("ours", lambda: trainer.run_epoch(split, split_of(split, 0))), ("plain", plain)):
            started = _now()
            work()
            if number:
                times[name].append((_now() - started) / TRAINING_IMAGES)
    ours, peer = (statistics.median(values) for values in times.values())
    yield row(f"training {where} vs a plain torch loop", ours, peer, 0.9)
    few = split_of(split, TRAINING_IMAGES // 8)
    busy, wall = busy_seconds(lambda: trainer.run_epoch(few, split_of(split, 0)))
    yield share_row(f"training {where}: share of the time the GPU computes", busy, wall, 0.9, "s")


def split_of(split: Split, count: int) -> Split:
    return Split(split.pixels_NHW[:count], split.labels_N[:count])


def _trainer(size: int) -> Trainer:
    recipe = Recipe(
        seed=0, epochs=100, batch_size=BATCH, learning_rate=3e-4, sampler="shuffle", plateau="train", plateau_patience=9
    )
    network = model(size).to(DEVICE, memory_format=torch.channels_last)
    return Trainer(network, Preprocess(size), recipe)


def _plain(split: Split, size: int) -> Callable[[], None]:
    """Default memory format, decoded tensors in the GPU's memory, Adam."""
    inputs = Preprocess(size).inputs(torch.from_numpy(split.pixels_NHW)).to(DEVICE)
    labels = torch.from_numpy(split.labels_N).float().to(DEVICE)
    network = model(size).to(DEVICE).train()
    optimizer, loss_of = torch.optim.Adam(network.parameters(), lr=3e-4), torch.nn.BCEWithLogitsLoss()

    def epoch() -> None:
        for batch in torch.randperm(len(labels), device=DEVICE).split(BATCH):
            optimizer.zero_grad()
            loss_of(network(inputs[batch])[:, 0], labels[batch]).backward()
            optimizer.step()

    return epoch


def _now() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()
