"""Attribution on one GPU: seconds an image against captum on the same GPU, and how much of the time the GPU computes.

Gives no rows where torch sees no GPU.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from bench_attribution import PREPROCESS, STEPS, images, model, row, share_row

from pneumo_batch.core.attribution import Explainer, baseline_input

DEVICE = "cuda"
IMAGES, ROUNDS = 16, 5
_CAPTUM_BATCHES = (16, 50, 200)


def bench_gpu() -> list[dict[str, Any]]:
    """Both methods on every image; captum computes Integrated Gradients only, at the same number of points."""
    if not torch.cuda.is_available():
        return []
    ours = _ours()
    contenders = {"ours": ours, **{f"captum {batch}": _captum(batch) for batch in _CAPTUM_BATCHES}}
    seconds = measure(contenders)
    best = min(value for name, value in seconds.items() if name != "ours")
    busy, wall = busy_seconds(ours)
    return [
        row(f"both methods on one {torch.cuda.get_device_name()} vs captum", seconds["ours"], best, 1.0),
        share_row("share of the time the GPU computes", busy, wall, 0.9, "s"),
    ]


def _ours() -> Callable[[torch.Tensor], Any]:
    methods = {"integrated_gradients": {"steps": STEPS}, "grad_cam": {}}
    explainer = Explainer(model().to(DEVICE), methods, PREPROCESS)
    return lambda inputs: explainer(inputs, torch.zeros(len(inputs), dtype=torch.int64))


def _captum(batch: int) -> Callable[[torch.Tensor], Any]:
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(model().to(DEVICE))
    baseline = baseline_input("black", PREPROCESS).to(DEVICE)
    arguments = {"baselines": baseline, "target": 0, "n_steps": STEPS, "internal_batch_size": batch}
    return lambda inputs: method.attribute(inputs.to(DEVICE), **arguments)


def measure(contenders: dict[str, Callable[[torch.Tensor], Any]]) -> dict[str, float]:
    """Median seconds an image of each, alternating; what was queued on the GPU is waited for."""
    inputs = images(IMAGES)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(ROUNDS + 1):
        for name, work in contenders.items():
            started = _now()
            work(inputs)
            if number:  # the first one loads kernels
                times[name].append((_now() - started) / IMAGES)
    return {name: statistics.median(values) for name, values in times.items()}


def busy_seconds(work: Callable[[torch.Tensor], Any]) -> tuple[float, float]:
    """Seconds the GPU computed or copied, of the seconds the work took."""
    inputs = images(IMAGES)
    started = _now()
    work(inputs)
    wall = _now() - started
    with torch.profiler.profile() as profile:
        work(inputs)
        torch.cuda.synchronize()
    kernels = (event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA)
    return sum(event.device_time for event in kernels) / 1e6, wall


def _now() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()
