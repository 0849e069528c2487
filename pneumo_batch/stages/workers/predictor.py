"""What brought models say of every image: block by block on the cluster, or here where there are few."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from ray.util import ActorPool

from pneumo_batch.core.data.images import Preprocess, Split
from pneumo_batch.core.data.pixels import Pixels
from pneumo_batch.core.models import checkpoints, networks, runtime, training
from pneumo_batch.execution import progress
from pneumo_batch.execution.board import Board
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.rundir.writer import RunWriter

# An actor imports torch before its first image: so many are worth it, and fewer are judged here.
_IMAGES_PER_BLOCK = 2048


@dataclass(frozen=True)
class Model:
    """All that a process elsewhere needs to have the model: no file of it has to be there.

    `network` is as in the job; `program` the content of the file it names, if it names one; `weights` safetensors.
    """

    name: str
    network: str
    program: bytes | None
    weights: bytes
    outputs: int
    preprocess: Preprocess

    def build(self) -> torch.nn.Module:
        size, channels = self.preprocess.size, self.preprocess.channels
        if self.program is None:
            model = networks.build(self.network, image_size=size, channels=channels, outputs=self.outputs)
        else:
            model = networks.program(
                self.network, self.program, image_size=size, channels=channels, outputs=self.outputs
            )
        return checkpoints.load_state(model, self.weights)


def logits(
    models: list[Model], splits: dict[str, Split], run: RunWriter, resources: Resources
) -> Iterator[dict[str, np.ndarray]]:
    """For each model, in turn, its logits (N, K) float32 of every split; how far it is stands in the run meanwhile."""
    if sum(map(len, splits.values())) > _IMAGES_PER_BLOCK:
        yield from _elsewhere(models, splits, run, resources)
        return
    for model in models:
        network = model.build()
        yield {
            name: training.predict(network, model.preprocess, split.pixels_NHW).numpy()
            for name, split in splits.items()
        }


def _elsewhere(
    models: list[Model], splits: dict[str, Split], run: RunWriter, resources: Resources
) -> Iterator[dict[str, np.ndarray]]:
    # an empty split is one empty block, which tells K
    starts = {name: range(0, max(1, len(split)), _IMAGES_PER_BLOCK) for name, split in splits.items()}
    pixels = {name: ray.put(split.pixels_NHW) for name, split in splits.items()}
    blocks = [(pixels[name], start) for name in splits for start in starts[name]]
    work = [(model, *block) for model in map(ray.put, models) for block in blocks]
    with progress.shown({model.name: sum(map(len, splits.values())) for model in models}, run) as board:
        at_once = min(len(work), int(resources.gpus) or resources.cpus)
        judges = [_judge(board, on_gpu=bool(resources.gpus)) for _ in range(at_once)]
        found = ActorPool(judges).map(lambda judge, given: judge.logits.remote(*given), work)
        try:
            for _ in models:
                yield {name: np.concatenate([next(found) for _ in starts[name]]) for name in splits}
        finally:
            for judge in judges:  # the next stage wants their place
                ray.kill(judge)


def _judge(board: Board, on_gpu: bool) -> Any:
    # An actor, not tasks: those leave idle workers that hold torch's half gigabyte each during attribution, and one
    # that uses a GPU is started anew for every task.
    return (
        ray.remote(_Judge).options(num_cpus=1, num_gpus=int(on_gpu), max_restarts=3, max_task_retries=3).remote(board)
    )


class _Judge:
    def __init__(self, board: Board):
        runtime.keep_memory()
        runtime.use_threads(1)
        self.device = "cuda" if ray.get_gpu_ids() else "cpu"
        self.board = board

    def logits(self, model: Model, pixels_NHW: np.ndarray | Pixels, start: int) -> np.ndarray:
        """Of the block of images that begins at `start`."""
        network = model.build().to(self.device)
        block_BHW = pixels_NHW[start : start + _IMAGES_PER_BLOCK]
        logits_BK = training.predict(network, model.preprocess, block_BHW).numpy()
        self.board.add(model.name, len(block_BHW))
        return logits_BK
