"""One training recipe for true and random variants. No Ray: `Trainer` holds one rank's state, `fit` steps it by epochs.

Shapes: N images, B a batch, C channels, H = W the input size, K outputs (1 for two classes, else one per class or
finding). Labels, and counts (L, F) of them, are as in objective.py.
"""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import nn

from pneumo_batch.core.data.images import Preprocess, Split
from pneumo_batch.core.data.pixels import Pixels
from pneumo_batch.core.models import objective
from pneumo_batch.core.models.runtime import exact_arithmetic, repeatable_arithmetic

# Images that are evaluated at a time, and pixels: 256 of 224 x 224 would be 1.6 GB of the first layer's activations.
_EVAL_BATCH, _EVAL_PIXELS = 256, 256 * 64**2
# Measuring what a random variant has memorised costs a pass over the training split: only when it can have got there.
# Dropout keeps the running balanced accuracy below the measured one by less than this.
_WORTH_MEASURING = 0.25


@dataclass(frozen=True)
class Recipe:
    """What a variant is trained with; the fields are those of the job's `[train]` table."""

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    sampler: str
    plateau: str
    plateau_patience: int
    patience: int = 0
    memorise: float | None = None  # random variants: stop once this much is known by heart (objective.learnt)
    amp: bool = False


@dataclass(frozen=True)
class Ranks:
    """This worker among the workers of its variant."""

    rank: int = 0
    world: int = 1

    def gather(self, logits_BK: torch.Tensor, total: int) -> torch.Tensor:
        """Logits of rows rank::world of every rank, back in order (total, K)."""
        if self.world == 1:
            return logits_BK
        parts: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(parts, logits_BK)
        logits_NK = torch.empty(total, logits_BK.shape[1])
        for rank, part in enumerate(parts):
            logits_NK[rank :: self.world] = part
        return logits_NK


class Trainer:
    """The state of one variant's training on one worker."""

    def __init__(self, model: nn.Module, preprocess: Preprocess, recipe: Recipe, ranks: Ranks | None = None):
        self.model = model  # possibly wrapped for data parallelism
        self.network = getattr(model, "module", model)
        self.preprocess = preprocess
        self.recipe = recipe
        self.ranks = ranks or Ranks()
        self.device = next(model.parameters()).device
        self.optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, factor=0.5, patience=recipe.plateau_patience
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.amp and self.device.type == "cuda")
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, torch.Tensor] = {}
        self.best_loss = float("inf")
        self.best_epoch = 0

    @property
    def epoch(self) -> int:
        return len(self.history)

    @property
    def memorised(self) -> float | None:
        """What of the training labels is known by heart, in eval mode, at the last epoch that measured it."""
        measured = [row["memorised"] for row in self.history if row["memorised"] is not None]
        return measured[-1] if measured else None

    @property
    def finished(self) -> bool:
        if self.epoch >= self.recipe.epochs:
            return True
        if self.recipe.memorise is not None:
            return (self.memorised or 0.0) >= self.recipe.memorise
        return bool(self.recipe.patience) and self.epoch - self.best_epoch >= self.recipe.patience

    # ----------------------------------------------------------------------------------------------------- one epoch

    def run_epoch(self, train: Split, val: Split) -> dict[str, Any]:
        """Train one epoch, evaluate, keep the best weights; returns the epoch's row of the history table."""
        started = time.monotonic()
        rate = self.optimizer.param_groups[0]["lr"]
        loss, accuracy, learnt = self._pass(train)
        row = {"epoch": self.epoch + 1, "learning_rate": rate, "train_loss": loss, "train_accuracy": accuracy}
        row |= {"memorised": self._memorised(train, learnt), **self._validate(val)}
        self._keep_best(row)
        monitored = {"train": row["train_loss"], "val": row["val_loss"], "none": None}[self.recipe.plateau]
        if monitored is not None:
            self.scheduler.step(monitored)
        row["seconds"] = time.monotonic() - started
        self.history.append(row)
        return row

    @repeatable_arithmetic()
    def _pass(self, train: Split) -> tuple[float, float, float]:
        """Loss and accuracy over the known labels, and what is known by heart, as they were while training."""
        # Seeds follow from the variant and the epoch alone, so that a resumed training repeats the uninterrupted one.
        torch.manual_seed((self.recipe.seed * 1_000_003 + self.epoch * 7919 + self.ranks.rank) % 2**63)
        self.model.train()
        total_loss = torch.zeros((), device=self.device)
        # the network's first answer tells how many labels there are, and so the shape
        total_right_LF, asked_LF = torch.zeros((1, 1), device=self.device), np.zeros((1, 1), dtype=np.int64)
        for index_B in self._batches(train.labels_N):
            mine_B = index_B[self.ranks.rank :: self.ranks.world]
            labels_B = torch.from_numpy(train.labels_N[mine_B]).to(self.device)
            with torch.autocast(self.device.type, torch.float16, enabled=self.scaler.is_enabled()):
                logits_BK = self.model(network_inputs(train.pixels_NHW[mine_B], self.preprocess, self.device))
                loss_sum = objective.loss_sum(logits_BK, labels_B)
            # data parallelism averages gradients over ranks: scaled so that this is the mean over the whole batch
            self.optimizer.zero_grad(set_to_none=True)
            known = objective.known(train.labels_N[index_B])
            self.scaler.scale(loss_sum * (self.ranks.world / known)).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            total_loss += loss_sum.detach()
            total_right_LF = total_right_LF + objective.right(logits_BK.detach(), labels_B)
            asked_LF = asked_LF + objective.asked(train.labels_N[index_B], logits_BK.shape[1])
        totals = torch.cat([total_loss[None], total_right_LF.flatten()])
        if self.ranks.world > 1:
            torch.distributed.all_reduce(totals)
        loss, accuracy = (torch.stack([totals[0], totals[1:].sum()]) / int(asked_LF.sum())).tolist()
        return loss, accuracy, objective.learnt(totals[1:].cpu().numpy().reshape(asked_LF.shape), asked_LF)

    def _batches(self, labels_N: np.ndarray) -> Iterator[np.ndarray]:
        """Global batches of one epoch, the same on every rank; the incomplete last one is dropped."""
        generator = np.random.default_rng([self.recipe.seed, self.epoch])
        count = len(labels_N)
        if self.recipe.sampler == "weighted":
            weights_N = objective.sampling_weights(labels_N)
            order_N = generator.choice(count, size=count, p=weights_N / weights_N.sum())
        else:
            order_N = generator.permutation(count)
        size = min(self.recipe.batch_size, count)
        for start in range(0, count - size + 1, size):
            yield order_N[start : start + size]

    def _memorised(self, train: Split, running: float) -> float | None:
        last = self.epoch + 1 >= self.recipe.epochs
        if self.recipe.memorise is None or not (last or running >= self.recipe.memorise - _WORTH_MEASURING):
            return None
        return objective.memorised_of(self.logits(train), train.labels_N)

    def _validate(self, val: Split) -> dict[str, Any]:
        from pneumo_batch.core.statistics import findings

        if not len(val):
            return {"val_loss": None, "val_accuracy": None, "val_auroc": None}
        logits_NK = self.logits(val)
        loss = objective.loss_sum(logits_NK, torch.tensor(val.labels_N)).item() / objective.known(val.labels_N)
        accuracy = objective.accuracy_of(logits_NK, val.labels_N)
        auroc = findings.auroc_of(logits_NK.numpy(), val.labels_N)
        return {"val_loss": loss, "val_accuracy": accuracy, "val_auroc": auroc}

    def _keep_best(self, row: dict[str, Any]) -> None:
        # A random variant has no best epoch by validation, whose labels are true: its last one has memorised most.
        loss = row["val_loss"] if self.recipe.memorise is None and row["val_loss"] is not None else -row["epoch"]
        if loss < self.best_loss:
            self.best_loss = loss
            self.best_epoch = row["epoch"]
            self.best = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}

    # ---------------------------------------------------------------------------------------------------- evaluation

    def logits(self, split: Split) -> torch.Tensor:
        """Logits (N, K) float32 on the CPU, in eval mode, of all images on every rank."""
        mine_NK = predict(self.network, self.preprocess, split.pixels_NHW[self.ranks.rank :: self.ranks.world])
        return self.ranks.gather(mine_NK, len(split))

    def load_best(self) -> None:
        self.network.load_state_dict(self.best)

    # --------------------------------------------------------------------------------------------------- checkpoints

    def state(self) -> dict[str, Any]:
        """All that continues this training; plain tensors and numbers, loadable with `weights_only`."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": {k: v for k, v in self.scheduler.state_dict().items() if isinstance(v, int | float | list)},
            "scaler": self.scaler.state_dict(),
            "history": copy.deepcopy(self.history),
            "best": self.best,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        for name in ("history", "best", "best_loss", "best_epoch"):
            setattr(self, name, state[name])


def network_inputs(pixels_BHW: np.ndarray | Pixels, preprocess: Preprocess, device: torch.device) -> torch.Tensor:
    """Pixels uint8 as the network takes them: (B, C, H, W) float32, channels last."""
    pixels = torch.from_numpy(np.array(pixels_BHW)).to(device, non_blocking=True)  # a copy: shared pixels are read-only
    return preprocess.inputs(pixels).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
@exact_arithmetic()
def predict(network: nn.Module, preprocess: Preprocess, pixels_NHW: np.ndarray | Pixels) -> torch.Tensor:
    """Logits (N, K) float32 on the CPU, in eval mode; on a GPU computed as exactly as maps are by default."""
    network.eval()
    device = next(network.parameters()).device
    size = max(1, min(_EVAL_BATCH, _EVAL_PIXELS // preprocess.size**2))
    # an empty split takes one empty pass, which tells K
    starts = range(0, max(1, len(pixels_NHW)), size)
    batches = (network_inputs(pixels_NHW[start : start + size], preprocess, device) for start in starts)
    return torch.cat([network(inputs_BCHW).float().cpu() for inputs_BCHW in batches])


def fit(trainer: Trainer, train: Split, val: Split, after_epoch: Callable[[dict[str, Any]], None]) -> None:
    """Train until the recipe says so, then put the best weights back; of no epochs the fresh ones stay."""
    while not trainer.finished:
        after_epoch(trainer.run_epoch(train, val))
    if trainer.best:
        trainer.load_best()
