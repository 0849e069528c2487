"""Whole stages, with Ray, decoding and Parquet, against the bare loops they contain.

Each is measured twice, on few and on many images or epochs: the difference is what is left after start-up.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from bench_attribution import CONTENDERS, SIZE, Pool, model, row

from pneumo_batch import config, jobfile, pipeline
from pneumo_batch.core import checkpoints, phantom
from pneumo_batch.layout import PHANTOM
from pneumo_batch.run import Run
from pneumo_batch.stages import cluster

EPOCHS = (2, 10)
_SMALL = 64


def bench_stages(folder: Path) -> Iterator[dict[str, Any]]:
    """The bars of whole stages."""
    with cluster.session(config.Cluster()):
        yield _attribute(folder)
        yield _train(folder)
        yield from _memory(folder)


def bench_demo(folder: Path) -> list[dict[str, Any]]:
    """`make run` after installation, and the first training step of a run whose images are there."""
    demo, again = folder / "demo", folder / "again"
    started = time.time()
    _demo("--run-dir", str(demo))
    seconds = time.time() - started
    brief = [f"data.root={demo / PHANTOM}", "train.epochs=1", "train.max_epochs=1"]
    started = time.time()
    _demo("--run-dir", str(again), "--until", "train", *(word for value in brief for word in ("--set", value)))
    run = Run(again)
    first = min(_training_began(run, variant) for variant in run.variants())
    return [
        row("make run after installation", seconds, 120.0, 1.0, "s"),
        row("start-up until the first training step", first - started, 15.0, 1.0, "s"),
    ]


def _demo(*options: str) -> None:
    job = Path(__file__).resolve().parents[2] / "jobs/demo.toml"
    command = [sys.executable, "-m", "pneumo_batch.cli", "run", str(job), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _training_began(run: Run, variant: str) -> float:
    """When the first epoch of a variant began: when its history was written, less the epochs."""
    path = Path(run.store.path(f"models/{variant}/history.parquet"))
    return path.stat().st_mtime - float(run.history(variant)["seconds"].sum())


# ------------------------------------------------------------------------------------------------------------ attribute


def _attribute(folder: Path) -> dict[str, Any]:
    """Seconds an image of one 224 px model, both methods: the stage, and the kernel in as many processes."""
    cpus = cluster.usable_cpus()
    few, many = 8 * cpus, 24 * cpus
    stage = (_attributing(folder, SIZE, many) - _attributing(folder, SIZE, few)) / (many - few)
    pool = Pool(CONTENDERS["both methods"], cpus, cpus)
    kernel = statistics.median(pool.seconds(8) for _ in range(3))
    pool.close()
    return row("attribute stage vs the bare kernel", stage, kernel, 0.9)


def _attributing(folder: Path, size: int, images: int) -> float:
    """Seconds of the stage."""
    run = pipeline.execute(_brought(folder, size, images), str(folder / f"run_{size}_{images}"), "attribute").run
    return float(run.record["stages"]["attribute"]["seconds"])


def _brought(
    folder: Path, size: int, images: int, methods: tuple[str, ...] = ("integrated_gradients", "grad_cam")
) -> Any:
    root, weights = folder / f"films_{size}_{images}", folder / f"{size}.safetensors"
    if not root.exists():
        phantom.write(root, train=8, test=images, seed=0, image_size=size)
    if not weights.exists():
        weights.write_bytes(checkpoints.state_bytes(model(size=size)))
    values = {
        "name": "bench",
        "data": {"root": str(root), "image_size": size, "normalise": [0.345, 0.282], "val_fraction": 0.0},
        "train": {"true_seeds": [], "random_seeds": []},
        "attribution": {"methods": list(methods)},
        "compare": {"metrics": ["spearman"]},  # never run here; others need larger images
        "variant": [{"name": "one", "kind": "true", "checkpoint": str(weights)}],
    }
    return jobfile.parse(values, "bench")


# ---------------------------------------------------------------------------------------------------------------- train


def _train(folder: Path) -> dict[str, Any]:
    """Seconds an epoch (64 px, batches of 32, validation) against a plain torch loop that does the same."""
    root = folder / "films_train"
    phantom.write(root, train=1024, test=8, seed=0, image_size=_SMALL)
    values = {
        "name": "bench",
        "data": {"root": str(root), "image_size": _SMALL},
        "train": {"true_seeds": [0], "random_seeds": [], "epochs": EPOCHS[1], "checkpoint_seconds": 1e6},
    }
    run = pipeline.execute(jobfile.parse(values, "bench"), str(folder / "run_train"), "train").run
    stage = statistics.median(run.history("true_0")["seconds"][EPOCHS[0] :])
    return row("train stage vs a plain torch loop", stage, _plain_epoch(run), 0.9, "s/epoch")


def _plain_epoch(run: Run) -> float:
    """Median seconds of an epoch as a tutorial writes it: default memory format, decoded tensors, Adam, validation."""
    rows = run.manifest()
    splits = {name: rows[rows["split"] == name] for name in ("train", "val")}
    inputs = {name: run.inputs(part["image_id"].tolist()) for name, part in splits.items()}
    labels = {name: torch.tensor(part["label"].to_numpy(), dtype=torch.float32) for name, part in splits.items()}
    torch.set_num_threads(cluster.usable_cpus())
    torch.manual_seed(0)
    network = run.untrained("true_0").train()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-4)
    loss_of = torch.nn.BCEWithLogitsLoss()
    seconds = []
    for _ in range(EPOCHS[1]):
        started = time.perf_counter()
        network.train()
        for batch in torch.randperm(len(labels["train"])).split(32):
            optimizer.zero_grad()
            loss = loss_of(network(inputs["train"][batch])[:, 0], labels["train"][batch])
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            float(loss_of(network(inputs["val"])[:, 0], labels["val"]))
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[EPOCHS[0] :])


# --------------------------------------------------------------------------------------------------------------- memory


def _memory(folder: Path) -> Iterator[dict[str, Any]]:
    """Peak memory of the attribute stage, all processes, at 10 and 50 times the images (32 px, Grad-CAM)."""
    peaks = {}
    for times in (1, 10, 50):
        job = _brought(folder, 32, 64 * times, methods=("grad_cam",))
        run_dir = str(folder / f"memory_{times}")
        pipeline.execute(job, run_dir, "train")
        with _peak() as peak:
            pipeline.execute(job, run_dir, "attribute")
        peaks[times] = peak() / 1e9
    for times in (10, 50):
        yield row(f"peak memory of attribute at {times} times the images", peaks[times], peaks[1], 1 / 1.2, "GB")


@contextmanager
def _peak() -> Iterator[Callable[[], float]]:
    """Samples the proportional memory of this process and those below it, five times a second; yields the largest."""
    largest = 0.0
    stop = threading.Event()

    def sample() -> None:
        nonlocal largest
        while not stop.wait(0.2):
            largest = max(largest, _memory_now())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield lambda: largest
    finally:
        stop.set()
        thread.join()


def _memory_now() -> float:
    me = psutil.Process()
    total = 0.0
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps([*bench_stages(Path(place)), *bench_demo(Path(place))], indent=2))
