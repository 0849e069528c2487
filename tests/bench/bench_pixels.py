"""Training from files against training from memory, and training on more than a process may hold.

    python tests/bench/run.py pixels
    python tests/bench/bench_pixels.py FOLDER   # prints who held how much; writes 5 GB below the folder
    python tests/bench/bench_pixels.py FOLDER cnn5 96 4   # network, films, batch: what a real network adds to it

Both loops are the product's own: only where the decoded images are differs.
"""

import contextlib
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import torch
from bench_attribution import row
from PIL import Image

from pneumo_batch import pipeline
from pneumo_batch.core import table_columns
from pneumo_batch.core.data import manifest, phantom, splits
from pneumo_batch.core.data.images import Preprocess, Split
from pneumo_batch.core.data.pixels import Pixels
from pneumo_batch.core.models import networks, runtime, training
from pneumo_batch.execution import cluster
from pneumo_batch.job import jobfile, schema
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import train
from pneumo_batch.stages.workers import pixels, trainer

SIDE, FILMS, EPOCHS = 64, 1024, 6
LARGE_SIDE, LARGE_FILMS = 512, 18_000  # 4.7 GB decoded: three times the 1.5 GB that a process may hold
OBJECT_STORE = 100_000_000


def bench_pixels(folder: Path) -> list[dict[str, Any]]:
    """Seconds an epoch at 64 px, batches of 32, with validation: epochs of two trainings in turn, all cores."""
    phantom.write(folder / "films", train=FILMS, test=8, seed=0, image_size=SIDE)
    job = jobfile.parse({"name": "bench", "data": {"root": str(folder / "films"), "image_size": SIDE}}, "bench")
    rows, run = _indexed(job, folder / "run")
    disk = {name: _written(rows, name, train._decoding(job), run) for name in ("train", "val")}
    runtime.keep_memory()
    runtime.use_threads(cluster.usable_cpus())
    memory = {name: Split(np.array(split.pixels_NHW), split.labels_N) for name, split in disk.items()}
    loops = [(_trainer(job), given, []) for given in (disk, memory)]
    for epoch in range(EPOCHS):
        for loop, given, seconds in loops if epoch % 2 else reversed(loops):
            started = time.perf_counter()
            loop.run_epoch(given["train"], given["val"])
            seconds.append(time.perf_counter() - started)
    ours, peer = (loop.network.state_dict() for loop, *_ in loops)
    assert all(torch.equal(ours[name], peer[name]) for name in peer), "other weights"
    return [row("training from files vs from memory", *(statistics.median(s) for *_, s in loops), 0.95, "s/epoch")]


def _indexed(job: schema.Job, place: Path) -> tuple[pa.Table, RunWriter]:
    """A run with the rows of its manifest, without a cluster."""
    run = RunWriter(place)
    run.open(job, "bench")
    listing = manifest.inventory(run.images, None).listing
    rows = splits.carve_validation(manifest.inspect_batch(listing, run.images)[0], job.data.val_fraction, 0)
    return rows, run


def _written(rows: pa.Table, name: str, preprocess: Preprocess, run: RunWriter) -> Split:
    chosen = rows.filter(pc.equal(rows["split"], name)).sort_by("image_id")
    files = pixels.Files.of(chosen, name, preprocess, run)
    for part in files.parts(chosen):
        for task in part.to_pylist():
            files.content(task["number"], task["films"])
    return Split(Pixels(files, range(chosen.num_rows)), table_columns.labels_of(chosen))


def _trainer(job: schema.Job) -> training.Trainer:
    torch.manual_seed(0)
    network = networks.build("cnn5", image_size=SIDE, channels=1, outputs=1).to(memory_format=torch.channels_last)
    return training.Trainer(network, Preprocess(SIDE), trainer.recipe(job, job.train.variants[0]))


# ---------------------------------------------------------------------------------------------------- more than memory


def coarse(image_size: int, channels: int, outputs: int) -> torch.nn.Module:
    """A network that costs next to nothing: the reading is what is looked at."""
    sides = image_size // 32
    layers = (torch.nn.AvgPool2d(32), torch.nn.Conv2d(channels, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten())
    return torch.nn.Sequential(*layers, torch.nn.Linear(4 * sides * sides, outputs))


def train_more_than_memory(
    folder: Path, network: str = "bench_pixels:coarse", films: int = LARGE_FILMS, batch: int = 32
) -> dict[str, float]:
    """The largest memory of its own, in GB, of each kind of process while a set (of 4.7 GB) is trained on."""
    import ray

    _noise(folder / "films", films)
    values = {
        "name": "large",
        "data": {"root": str(folder / "films"), "image_size": LARGE_SIDE, "allow_leaks": True},
        "network": {"name": network},
        "train": {"true_seeds": [0], "random_seeds": [], "epochs": 1, "batch_size": batch},
        "attribution": {"methods": ["integrated_gradients"]},
    }
    ray.init(num_cpus=cluster.usable_cpus() + 2, object_store_memory=OBJECT_STORE, include_dashboard=False)
    with _own_memory() as largest:
        pipeline.execute(jobfile.parse(values, "bench"), str(folder / "run"), "train")
    ray.shutdown()
    return largest


def _noise(root: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for split, number in (("train", count), ("test", 8)):
        for position in range(number):
            path = root / split / ("NORMAL", "PNEUMONIA")[position % 2] / f"patient{position}.jpeg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(path, "JPEG")


@contextlib.contextmanager
def _own_memory() -> Iterator[dict[str, float]]:
    """Samples what this process and those below it hold that no file backs, five times a second, by their names."""
    largest: dict[str, float] = defaultdict(float)
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(0.2):
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                with contextlib.suppress(psutil.Error, OSError):
                    name = " ".join(process.cmdline())[:40] if process.pid != psutil.Process().pid else "driver"
                    largest[name] = max(largest[name], _anonymous(process.pid))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield largest
    finally:
        stop.set()
        thread.join()


def _anonymous(pid: int) -> float:
    """GB of a process that are neither of a file nor shared."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    place, *given = sys.argv[1:]
    sizes = {"network": given[0], "films": int(given[1]), "batch": int(given[2])} if given else {}
    for name, gigabytes in sorted(train_more_than_memory(Path(place), **sizes).items(), key=lambda item: -item[1]):
        print(f"{gigabytes:.2f} GB  {name}")
