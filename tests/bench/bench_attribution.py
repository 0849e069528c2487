"""Integrated Gradients against captum, as documented and tuned, and against the machine's matrix product.

Run by hand: `python tests/bench/bench_attribution.py [images] [rounds]`. Every contender gets all cores, as one process
of n threads or n processes of one thread, whichever is faster for it; contenders alternate within a round, and a
ratio is one of medians over rounds. Nothing here asserts a time.
"""

import itertools
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pneumo_batch.core.attribution.baselines import baseline_input
from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.models import checkpoints, networks
from pneumo_batch.core.models.networks import grad_cam_layer
from pneumo_batch.core.models.runtime import keep_memory, use_threads

SIZE, STEPS = 224, 50
NAME = "Integrated Gradients"
PREPROCESS = Preprocess(SIZE)
# Multiply-adds of cnn5 at 224 px and 1 channel behind its first convolution, forward; the gradient takes as many again.
_LAYERS = ((32, 64, 112), (64, 64, 56), (64, 128, 28), (128, 256, 14))
_MACS = sum(9 * inputs * outputs * side**2 for inputs, outputs, side in _LAYERS) + 12544 * 128 + 128
FLOP_PER_IMAGE = 2 * 2 * _MACS * STEPS


def model(size: int = SIZE) -> torch.nn.Module:
    """cnn5 of one channel: trained weights if BENCH_MODEL names them, else random ones."""
    torch.manual_seed(0)
    network = networks.build("cnn5", image_size=size, channels=1, outputs=1).eval()
    path = os.environ.get("BENCH_MODEL") if size == SIZE else None
    return checkpoints.load_state(network, Path(path)) if path else network


def images(count: int, size: int = SIZE) -> torch.Tensor:
    """Smooth random films."""
    noise = torch.rand(count, 1, size // 8, size // 8, generator=torch.Generator().manual_seed(1))
    return (torch.nn.functional.interpolate(noise, size=size, mode="bicubic").clamp(0, 1) - 0.345) / 0.282


def _ours(steps: int = STEPS) -> Callable[[torch.Tensor], torch.Tensor]:
    keep_memory()
    explainer = Explainer(model(), {"integrated_gradients": {"steps": steps}}, PREPROCESS)
    return lambda inputs: explainer(inputs, torch.zeros(len(inputs), dtype=torch.int64)).maps["integrated_gradients"]


def _explaining(methods: dict[str, dict[str, Any]]) -> Callable[[torch.Tensor], Any]:
    keep_memory()
    explainer = Explainer(model(), methods, PREPROCESS)
    return lambda inputs: explainer(inputs, torch.zeros(len(inputs), dtype=torch.int64))


def _pytorch_grad_cam() -> Callable[[torch.Tensor], Any]:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import RawScoresOutputTarget

    network = model()
    method = GradCAM(model=network, target_layers=[network.get_submodule(grad_cam_layer(network))])
    # one image at a time, as our maps are made
    return lambda inputs: [method(image[None], targets=[RawScoresOutputTarget()]) for image in inputs]


def _captum(batch: int, tuned: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """With its default rule, Gauss-Legendre. Tuned: our memory format and allocator, frozen parameters."""
    from captum.attr import IntegratedGradients

    network, baseline = model(), baseline_input("black", PREPROCESS)
    layout = torch.channels_last if tuned else torch.contiguous_format
    if tuned:
        keep_memory()
        network = network.requires_grad_(False).to(memory_format=layout)
    method = IntegratedGradients(network)

    def explain(inputs: torch.Tensor) -> torch.Tensor:
        arguments = {"n_steps": STEPS, "internal_batch_size": batch}
        inputs = inputs.contiguous(memory_format=layout)
        return method.attribute(inputs, baselines=baseline, target=0, **arguments).sum(1).detach()

    return explain


def _matmul() -> Callable[[torch.Tensor], Any]:
    left, right = torch.randn(2, 2048, 2048)
    return lambda inputs: [left @ right for _ in range(8 * len(inputs))]


Contender = tuple[Callable[..., Any], tuple]  # makes, of these arguments, what is called with images
CONTENDERS: dict[str, Contender] = {
    "ours": (_ours, ()),
    **{f"captum as documented {batch}": (_captum, (batch, False)) for batch in (16, 32, 64)},
    **{f"captum tuned {batch}": (_captum, (batch, True)) for batch in (2, 4, 8)},
    "both methods": (_explaining, ({"integrated_gradients": {"steps": STEPS}, "grad_cam": {}},)),
    "Grad-CAM": (_explaining, ({"grad_cam": {}},)),
    "pytorch-grad-cam": (_pytorch_grad_cam, ()),
    "matmul": (_matmul, ()),
}
MATMUL_FLOP = 8 * 2 * 2048**3  # an "image"


def _serve(contender: Contender, threads: int, pipe: Any) -> None:
    use_threads(threads)
    factory, arguments = contender
    work = factory(*arguments)
    work(images(1))
    pipe.send("ready")
    while (count := pipe.recv()) is not None:
        work(images(count))
        pipe.send("done")


class Pool:
    """One contender on all cores: `processes` of `cores / processes` threads, each with its share of the images."""

    def __init__(self, contender: Contender, processes: int, cores: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for _ in range(processes):
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(contender, cores // processes, theirs), daemon=True)
            process.start()
            self.processes.append(process)
            theirs.close()  # so that a contender that dies is an EOFError here, not a wait for ever
            self.pipes.append(mine)
        for pipe in self.pipes:
            pipe.recv()

    def seconds(self, images_each: int) -> float:
        """Wall-clock seconds an image."""
        count = images_each * len(self.pipes)
        begin = time.perf_counter()
        for pipe in self.pipes:
            pipe.send(images_each)
        for pipe in self.pipes:
            pipe.recv()
        return (time.perf_counter() - begin) / count

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join()


def measure(
    contenders: dict[str, Contender], images_each: int, rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds an image: of every contender in its better arrangement on all cores; of ours on one core."""
    cores = os.cpu_count() or 1
    arrangements = sorted({1, cores})

    def once(name: str, processes: int, cores: int = cores) -> float:
        # A contender is there for this alone: all of them at once do not fit into memory.
        pool = Pool(contenders[name], processes, cores)
        try:
            return pool.seconds(images_each)
        finally:
            pool.close()

    first = {key: once(*key) for key in itertools.product(contenders, arrangements)}
    better = {name: min(arrangements, key=lambda processes: first[name, processes]) for name in contenders}
    times = {name: [first[name, better[name]]] for name in contenders}
    alone = [once("ours", 1, 1)]
    for _ in range(rounds - 1):
        for name in contenders:
            times[name].append(once(name, better[name]))
        alone.append(once("ours", 1, 1))
    return {name: statistics.median(values) for name, values in times.items()}, {"ours": statistics.median(alone)}


def error(maps_BHW: torch.Tensor, reference_BHW: torch.Tensor) -> float:
    """Relative L2 error."""
    return float((maps_BHW - reference_BHW).norm() / reference_BHW.norm())


def errors(images_count: int = 4) -> tuple[float, dict[int, float]]:
    """Mean error against 600 points: of captum's default rule at 50 steps; of ours at 50 and fewer."""
    inputs = images(images_count)
    reference_BHW = _ours(600)(inputs)

    def mean(maps_BHW: torch.Tensor) -> float:
        return statistics.fmean(map(error, maps_BHW, reference_BHW))

    ours = {steps: mean(_ours(steps)(inputs)) for steps in range(STEPS, STEPS // 2, -2)}
    return mean(_captum(8, tuned=False)(inputs)), ours


def enough(wanted: float, ours: dict[int, float]) -> int:
    """The fewest of our steps from which on no number of steps errs more than `wanted`."""
    steps = [steps for steps in ours if all(err <= wanted for more, err in ours.items() if more >= steps)]
    return min(steps, default=max(ours))


def row(name: str, ours: float, peer: float, bar: float, unit: str = "s/image") -> dict[str, Any]:
    """One line of the table: how many times faster than the peer."""
    ratio = peer / ours
    return {"name": name, "ratio": ratio, "bar": bar, "met": ratio >= bar, "ours": ours, "peer": peer, "unit": unit}


def share_row(name: str, ours: float, peer: float, bar: float, unit: str) -> dict[str, Any]:
    """One line of the table where more is better: what share of the peer's figure is reached."""
    share = ours / peer
    return {"name": name, "ratio": share, "bar": bar, "met": share >= bar, "ours": ours, "peer": peer, "unit": unit}


def bench_integrated_gradients(images_each: int = 2, rounds: int = 3) -> list[dict[str, Any]]:
    """The bars of the kernel, and what its accuracy is worth."""
    captum_error, our_errors = errors()
    steps = enough(captum_error, our_errors)
    seconds, alone = measure({**CONTENDERS, "ours, no larger error": (_ours, (steps,))}, images_each, rounds)
    documented = min(value for name, value in seconds.items() if name.startswith("captum as documented"))
    tuned = min(value for name, value in seconds.items() if name.startswith("captum tuned"))
    ours = seconds["ours"]
    return [
        row(f"{NAME} vs captum as documented, no larger error", seconds["ours, no larger error"], documented, 4.5),
        row(f"{NAME} vs captum as documented, {STEPS} steps each", ours, documented, 1.0),
        row(f"{NAME} vs captum tuned, no larger error", seconds["ours, no larger error"], tuned, 1.4),
        row(f"{NAME} vs captum tuned, {STEPS} steps each", ours, tuned, 1.0),
        row("Grad-CAM vs pytorch-grad-cam", seconds["Grad-CAM"], seconds["pytorch-grad-cam"], 1.0),
        row("Integrated Gradients, all cores vs one", ours, alone["ours"], 0.9 * (os.cpu_count() or 1)),
        share_row(
            f"{NAME} FLOP/s vs matrix product",
            FLOP_PER_IMAGE / ours / 1e9,
            MATMUL_FLOP / seconds["matmul"] / 1e9,
            0.8,
            "GFLOP/s",
        ),
        row(
            f"{NAME} error vs captum's default rule, {STEPS} steps each",
            our_errors[STEPS],
            captum_error,
            1.0,
            "rel. L2",
        ),
        row(f"{NAME} steps for the error of captum's default rule at {STEPS}", steps, STEPS, 1.0, "steps"),
    ]


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    for line in bench_integrated_gradients(*given):
        print(line)
