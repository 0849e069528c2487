"""Whole stages, with Ray, decoding and Parquet, against the bare loops they contain.

Each is measured twice, on few and on many images or epochs: the difference is what is left after start-up.
"""

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from bench_attribution import CONTENDERS, SIZE, Pool, model, row
from empty_trainings import empty_trainings

from pneumo_batch import pipeline
from pneumo_batch.core.data import phantom
from pneumo_batch.core.models import checkpoints
from pneumo_batch.execution import cluster
from pneumo_batch.job import jobfile, schema
from pneumo_batch.rundir.layout import PHANTOM
from pneumo_batch.rundir.reader import Run

EPOCHS = (2, 10)
ROUNDS = 3
_SMALL = 64


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
    startup = min(_training_began(run, variant) for variant in run.variants()) - started
    slots = min(len(run.variants()), cluster.usable_cpus())
    return [
        row("make run after installation", seconds, 120.0, 1.0, "s"),
        row("start-up until the first training step", startup, 15.0, 1.0, "s"),
        row(f"start-up vs {slots} empty trainings with controllers", startup, empty_trainings(slots), 1.0, "s"),
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


def bench_attribute(folder: Path) -> list[dict[str, Any]]:
    """Seconds an image of one 224 px model, both methods: the stage, and the kernel in as many processes, in turn."""
    cpus = cluster.usable_cpus()
    few, many = 8 * cpus, 24 * cpus
    stage, kernel = [], []
    for number in range(ROUNDS):
        pool = Pool(CONTENDERS["both methods"], cpus, cpus)
        kernel.append(pool.seconds(16))
        pool.close()
        with cluster.session(schema.Cluster()):
            seconds = {images: _attributing(folder, SIZE, images, number) for images in (few, many)}
        stage.append((seconds[many] - seconds[few]) / (many - few))
    return [row("attribute stage vs the bare kernel", statistics.median(stage), statistics.median(kernel), 0.9)]


def _attributing(folder: Path, size: int, images: int, number: int) -> float:
    """Seconds of the stage, in a run of its own."""
    run_dir = str(folder / f"run_{size}_{images}_{number}")
    run = pipeline.execute(_brought(folder, size, images), run_dir, "attribute").run
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


def bench_train(folder: Path) -> list[dict[str, Any]]:
    """Seconds an epoch (64 px, batches of 32, validation): against a plain torch loop that does the same, and of two
    workers, with half of the cores each, against one."""
    root = folder / "films_train"
    phantom.write(root, train=1024, test=8, seed=0, image_size=_SMALL)
    with cluster.session(schema.Cluster()):
        one, two = (_trained(folder, root, workers) for workers in (1, 2))
    stage, shared = (statistics.median(run.history("true_0")["seconds"][EPOCHS[0] :]) for run in (one, two))
    return [
        row("train stage vs a plain torch loop", stage, _plain_epoch(one), 0.9, "s/epoch"),
        row("training on the same cores, two workers vs one", shared, stage, 0.8, "s/epoch"),
    ]


def _trained(folder: Path, root: Path, workers: int) -> Run:
    training = {"true_seeds": [0], "random_seeds": [], "epochs": EPOCHS[1], "checkpoint_seconds": 1e6}
    values = {
        "name": "bench",
        "data": {"root": str(root), "image_size": _SMALL},
        "train": {**training, "workers": workers},
    }
    return pipeline.execute(jobfile.parse(values, "bench"), str(folder / f"run_train_{workers}"), "train").run


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


def bench_memory(folder: Path) -> Iterator[dict[str, Any]]:
    """Peak memory of the attribute stage, all processes, at 10 and 50 times the images (32 px, Grad-CAM)."""
    peaks = {}
    with cluster.session(schema.Cluster()):
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
