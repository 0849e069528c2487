"""What an image costs beside its attribution, on one node and on several: the measurements of docs/scaling.md.

    python tests/bench/scaling.py               # 2 500 and 6 500 images, one node and four
    python tests/bench/scaling.py 20000 120000 1

An attribution method that computes nothing leaves what remains: reading, decoding, Ray, Parquet, the driver. Every
figure is the difference of two runs, of few and of many images, so that start-up is not in it. The nodes are raylets of
one Ray cluster on this machine: they share its processors, so they show what several nodes cost, not what they gain.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from ray.cluster_utils import Cluster

from pneumo_batch import pipeline
from pneumo_batch.core.models import checkpoints, networks
from pneumo_batch.job import jobfile

HERE = Path(__file__).parent
IMAGES = 2_500, 6_500  # both above what is judged in the driver
SIDE = 64
NODES = (1, 4)
STAGES = ("index", "train", "attribute", "compare", "conclude")


def input_itself(_model: Any, inputs_1CHW: Any, _targets_1: Any) -> Any:
    """The method that computes nothing."""
    return inputs_1CHW.sum(1)


def films(folder: Path, count: int) -> Path:
    """Noise of 64 x 64 as JPEG, all different."""
    rng = np.random.default_rng(count)
    for split, number in (("train", 4), ("test", count)):
        for position in range(number):
            path = folder / split / ("NORMAL", "PNEUMONIA")[position % 2] / f"patient{position}.jpeg"
            path.parent.mkdir(parents=True, exist_ok=True)
            sink = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(sink, "JPEG")
            path.write_bytes(sink.getvalue())
    return folder


def job(root: Path, models: Path, address: str) -> Any:
    brought = [
        {"name": f"{kind}_0", "kind": kind, "checkpoint": str(models / f"{kind}.safetensors")}
        for kind in ("true", "random")
    ]
    values = {
        "name": "scaling",
        "data": {"root": str(root), "image_size": SIDE, "normalise": [0.5, 0.25], "val_fraction": 0.0},
        "train": {"true_seeds": [], "random_seeds": []},
        "attribution": {"methods": ["scaling:input_itself"]},
        "compare": {"metrics": ["spearman"], "resamples": 100},
        "cluster": {"address": address},
        "variant": brought,
    }
    return jobfile.parse(values, "scaling")


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """So many raylets that share this machine's processors; yields the address."""
    cpus = psutil.cpu_count()
    assert cpus
    share = {"num_cpus": max(1, cpus // nodes) + 1, "object_store_memory": 400_000_000}
    started = Cluster(initialize_head=True, head_node_args=share)
    for _ in range(nodes - 1):
        started.add_node(**share)
    started.wait_for_nodes()
    try:
        yield started.address
    finally:
        started.shutdown()


class Busy(threading.Thread):
    """Processor seconds of a process and of all below it, those that have ended too, but for their last half second.

    Not of the machine: others may be at work on it. `own` is what looking has cost this process, and `memory` the most
    that it has held that no file backs.
    """

    def __init__(self, root: int):
        super().__init__(daemon=True)
        self.root = psutil.Process(root)
        self.known: dict[psutil.Process, float] = {}
        self.lock = threading.Lock()
        self.own = self.memory = 0.0

    def seconds(self) -> float:
        with self.lock:
            for process in [self.root, *self.root.children(recursive=True)]:
                with suppress(psutil.Error):
                    times = process.cpu_times()
                    self.known[process] = times.user + times.system
            return sum(self.known.values())

    def run(self) -> None:
        while True:
            time.sleep(0.5)
            self.seconds()
            self.memory = max(self.memory, _anonymous())
            self.own = time.thread_time()


def _anonymous() -> float:
    """Bytes that this process holds, neither of a file nor shared."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("RssAnon"))


def measure(root: str, models: str, address: str, run_dir: str) -> dict[str, dict[str, float]]:
    """By stage: seconds by the clock, of processor (all, driver), and the largest memory of the driver so far."""
    found = {}
    busy = Busy(os.getppid())  # who has started the nodes
    busy.start()
    for stage in STAGES:
        clock, before, own = time.perf_counter(), busy.seconds() - busy.own, time.process_time() - busy.own
        pipeline.execute(job(Path(root), Path(models), address), run_dir, stage)
        found[stage] = {
            "clock": time.perf_counter() - clock,
            "busy": busy.seconds() - busy.own - before,
            "driver": time.process_time() - busy.own - own,
            "memory": busy.memory,
        }
    return found


def measured(*arguments: str) -> dict[str, dict[str, float]]:
    """The same in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "measure", *arguments], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def main(few_images: int, many_images: int, *every_nodes: int) -> None:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])  # for the method
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in ("true", "random"):
            network = networks.build("cnn5", image_size=SIDE, channels=1, outputs=1)
            (folder / f"{kind}.safetensors").write_bytes(checkpoints.state_bytes(network))
        roots = {count: films(folder / f"films_{count}", count) for count in (few_images, many_images)}
        print(
            "| nodes | stage | images/s | ms of processor an image | of it the driver | driver's memory, kB an image |"
        )
        print("| --- | --- | --- | --- | --- | --- |")
        for nodes in every_nodes or NODES:
            with cluster(nodes) as address:
                few, many = (
                    measured(str(roots[count]), str(folder), address, str(folder / f"run_{nodes}_{count}"))
                    for count in (few_images, many_images)
                )
            for stage in STAGES:
                per_image = {
                    key: (many[stage][key] - few[stage][key]) / (many_images - few_images) for key in few[stage]
                }
                costs = f"{1000 * per_image['busy']:.2f} | {1000 * per_image['driver']:.2f}"
                row = (
                    f"| {nodes} | {stage} | {1 / per_image['clock']:.0f} | {costs} | {per_image['memory'] / 1000:.1f} |"
                )
                print(row, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(*sys.argv[2:])))
    else:
        main(*map(int, sys.argv[1:] or IMAGES))
