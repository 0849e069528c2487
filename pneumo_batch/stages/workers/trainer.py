"""What a Ray Train worker does: train its variants one after the other, save their state, write the finished ones.

The state of a training lies beside the models in the making, as one file that its first worker writes. A checkpoint
that Ray Train keeps would be a barrier for all workers at every report, and it keeps none without its controller.
"""

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.train
import ray.train.torch

from pneumo_batch.core import tables
from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.images import Preprocess, Split
from pneumo_batch.core.data.pixels import Pixels
from pneumo_batch.core.models import (
    answers,
    checkpoints,
    evaluation,
    labels,
    networks,
    objective,
    pretrained,
    runtime,
    training,
)
from pneumo_batch.core.variants import Variant
from pneumo_batch.errors import DamagedError
from pneumo_batch.execution.board import Board
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir import checksums, integrity
from pneumo_batch.rundir.integrity import parquet_bytes
from pneumo_batch.rundir.layout import STAGING
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.record import ModelRecord
from pneumo_batch.rundir.storage import Store, json_bytes


@dataclass(frozen=True)
class Common:
    """What the trainings of a run have in common."""

    job: Job
    run: Run
    rows: pa.Table  # the manifest
    preprocess: Preprocess
    splits: dict[str, Split]  # whose pixels are files
    board: Board
    structures: Mapping[str, labels.Exchange]  # by arm, between which films labels move, where not between all
    start: ray.ObjectRef | None = None  # the file of weights that training starts from

    @cached_property
    def classes(self) -> list[str]:
        return manifest.class_names(self.rows)

    @property
    def outputs(self) -> int:
        return networks.outputs_for(self.classes, self.job.data.several)


def recipe(job: Job, variant: Variant) -> training.Recipe:
    settings, arm = job.train, job.arms[variant.kind]
    assert variant.seed is not None
    epochs = settings.max_epochs if arm.is_permuted else settings.epochs
    return training.Recipe(
        seed=variant.seed,
        epochs=epochs if arm.is_trained else 0,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        sampler=settings.sampler,
        plateau=settings.plateau,
        plateau_patience=settings.plateau_patience,
        patience=0 if arm.is_permuted else settings.patience,
        memorise=settings.memorise if arm.is_permuted else None,
        amp=settings.amp,
    )


@dataclass(frozen=True)
class Slot:
    """What one Ray Train run does: these variants in turn, with so many threads a worker."""

    variants: list[Variant]
    threads: int
    common: Common


@ray.remote(max_calls=1, retry_exceptions=True)  # the process ends with its work: it holds half a gigabyte of torch
def train_alone(slot: Slot) -> None:
    """A slot of one worker: Ray Train's local mode, in a process that Ray starts again when it dies.

    Ray Train's controller and what looks after its workers would be four more processes a slot that import as much as
    the worker does (docs/performance.md).
    """
    local = ray.train.ScalingConfig(num_workers=0)
    ray.train.torch.TorchTrainer(lambda: _train_all(slot), scaling_config=local).fit()


def train_together(config: dict[str, ray.ObjectRef]) -> None:
    """What each of several workers of a slot runs.

    `config["slot"]` is a reference, because the controller of a training opens `config` too, and would import all that
    a Slot consists of.
    """
    _train_all(ray.get(config["slot"]))


def _train_all(slot: Slot) -> None:
    """Train a slot's variants; those that are there already are left out."""
    common = slot.common
    runtime.keep_memory()
    runtime.use_threads(slot.threads)
    for variant in slot.variants:
        if not common.run.store.exists(f"models/{variant.name}/model.json"):
            _train(variant, common, common.splits)


def _train(variant: Variant, common: Common, splits: dict[str, Split]) -> None:
    taught = _taught(variant, common, splits)
    trainer = _trainer(variant, common)
    reporter = _Reporter(trainer, variant, common)
    training.fit(trainer, _known(taught["train"]), _known(taught["val"]), reporter.after_epoch)
    logits = {name: trainer.logits(split).numpy() for name, split in splits.items()}
    reporter.finish(logits, taught, objective.agreement(taught["train"].labels_N, splits["train"].labels_N))


def _taught(variant: Variant, common: Common, splits: dict[str, Split]) -> dict[str, Split]:
    """The splits with the labels that a variant learns and is judged by: permuted ones are of training alone."""
    arm = common.job.arms[variant.kind]
    assert variant.seed is not None
    if arm.column:
        own = {name: labels.column_labels(common.rows, arm.column, name) for name in splits}
        return {name: Split(split.pixels_NHW, own[name]) for name, split in splits.items()}
    true = splits["train"]
    given_N = labels.training_labels(arm, variant.seed, true.labels_N, common.structures.get(arm.name))
    return {**splits, "train": Split(true.pixels_NHW, given_N)}


def _known(split: Split) -> Split:
    """The films whose label is known; of several findings all of them, since the loss looks at each label."""
    if split.labels_N.ndim == 2 or (split.labels_N != tables.UNKNOWN).all():
        return split
    known_B, pixels = np.flatnonzero(split.labels_N != tables.UNKNOWN), split.pixels_NHW
    return Split(pixels.view(known_B) if isinstance(pixels, Pixels) else pixels[known_B], split.labels_N[known_B])


def _trainer(variant: Variant, common: Common) -> training.Trainer:
    import torch

    context = ray.train.get_context()
    settings = recipe(common.job, variant)
    torch.manual_seed(settings.seed)
    model = networks.build(
        common.job.arms[variant.kind].network or common.job.network.name,
        image_size=common.preprocess.size,
        channels=common.preprocess.channels,
        outputs=common.outputs,
    )
    if common.start is not None:
        pretrained.start_from(model, ray.get(common.start), common.job.network.weights)
    model = model.to(memory_format=torch.channels_last)
    ranks = training.Ranks(context.get_world_rank(), context.get_world_size())
    # Ray Train's local mode would take a GPU that is there, whether Ray has given it to this worker or not.
    device = ray.train.torch.get_device() if ray.get_gpu_ids() else torch.device("cpu")
    prepared = ray.train.torch.prepare_model(model, move_to_device=device)
    trainer = training.Trainer(prepared, common.preprocess, settings, ranks)
    state = _saved_state(variant, common.run.store, trainer.device)
    if state:
        trainer.load(state)
    return trainer


def _state_name(variant: Variant) -> str:
    return f"{STAGING}/train/{variant.name}.pt"


def _saved_state(variant: Variant, store: Store, device: Any) -> dict[str, Any] | None:
    """The state a training of this variant has saved, if any; a damaged one is as good as none."""
    import torch

    name = _state_name(variant)
    if not store.exists(name):
        return None
    try:
        content = integrity.without_digest(name, store.read_bytes(name))
    except DamagedError:
        return None
    return torch.load(io.BytesIO(content), weights_only=True, map_location=device)


class _Reporter:
    """Tells the driver how far a training is and saves its state from time to time."""

    def __init__(self, trainer: training.Trainer, variant: Variant, common: Common):
        self.trainer = trainer
        self.variant = variant
        self.common = common
        self.saved = time.monotonic()

    @property
    def _first(self) -> bool:
        return self.trainer.ranks.rank == 0

    def after_epoch(self, row: dict[str, Any]) -> None:
        if self._first:
            kept = row["memorised"]
            note = f"loss {row['train_loss']:.3f}  accuracy {row['train_accuracy']:.3f}"
            note += f"  memorised {kept:.3f}" if kept is not None else ""
            note += f"  val AUROC {row['val_auroc']:.3f}" if row["val_auroc"] is not None else ""
            self.common.board.set(self.variant.name, row["epoch"], note)
            if time.monotonic() - self.saved >= self.common.job.train.checkpoint_seconds:
                self._save()

    def finish(self, logits: dict[str, np.ndarray], splits: dict[str, Split], agreement: float) -> None:
        """Keep the model, its history, and what it says of every image; `agreement` of given with true labels."""
        if self._first:
            self._commit(logits, self._record(logits, splits, agreement))
            total, epochs = self.trainer.recipe.epochs, len(self.trainer.history)
            self.common.board.set(
                self.variant.name, total, f"done early, after {epochs} epochs" if epochs < total else "done"
            )

    def _record(self, logits: dict[str, np.ndarray], splits: dict[str, Split], agreement: float) -> ModelRecord:
        findings, arm = self.common.job.data.several, self.common.job.arms[self.variant.kind]
        train_N = _known(splits["train"]).labels_N
        measured = evaluation.measure(logits, {name: split.labels_N for name, split in splits.items()}, findings)
        record: ModelRecord = {
            "name": self.variant.name,
            "kind": self.variant.kind,
            "seed": self.variant.seed,
            "arm": arm.as_record(),
            "network": arm.network or self.common.job.network.name,
            "classes": self.common.classes,
            "outputs": self.common.outputs,
            "preprocess": self.common.preprocess.as_dict(),
            **measured,
            "epochs": len(self.trainer.history),
            "chosen_epoch": self.trainer.best_epoch,
            "memorised": self.trainer.memorised,
            "unanswered": answers.unanswered(self.common.rows, logits),
        }
        if not arm.is_trained:  # it was given no labels
            return {**record, "findings": findings} if findings else record
        record["label_agreement"] = agreement
        if not findings:
            return {**record, "majority": float(np.bincount(train_N).max() / len(train_N))}
        return {**record, "findings": findings, "memorisation": evaluation.memorisation(measured, train_N, findings)}

    def _commit(self, logits: dict[str, np.ndarray], record: ModelRecord) -> None:
        """Write the variant under `staging/`, then move it into `models/`."""
        store = self.common.run.store
        rows = [{"variant": self.variant.name, **row} for row in self.trainer.history]
        files = {
            "model.safetensors": checkpoints.state_bytes(self.trainer.network),
            "history.parquet": parquet_bytes(pa.Table.from_pylist(rows, schema=tables.HISTORY)),
            "predictions.parquet": parquet_bytes(evaluation.predictions(self.common.rows, logits)),
            "model.json": json_bytes(record),
        }
        checksums.write_model(store, self.variant.name, files)
        store.remove(_state_name(self.variant))

    def _save(self) -> None:
        import torch

        sink = io.BytesIO()
        torch.save(self.trainer.state(), sink)
        self.common.run.store.write_bytes(_state_name(self.variant), integrity.with_digest(sink.getvalue()))
        self.saved = time.monotonic()
