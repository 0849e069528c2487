"""Train: every variant of the job with Ray Train, as many at once as fit."""

import json
import queue
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.train
import ray.train.torch

from pneumo_batch.config import Job, JobError
from pneumo_batch.core import checkpoints, evaluation, manifest, networks, runtime, tables, training, variants
from pneumo_batch.core.images import Preprocess
from pneumo_batch.run import STAGING, Run
from pneumo_batch.stages import bring, decode, progress
from pneumo_batch.stages.cluster import Resources
from pneumo_batch.storage import parquet_bytes

_WORKERS_PER_CPU = 2
_FILES = ("model.safetensors", "history.parquet", "predictions.parquet", "measured.json")


def run(job: Job, run: Run, resources: Resources) -> dict[str, int]:
    """Train the variants that `models/` does not hold yet. Raises DataError for images no variant can be trained on."""
    missing = [variant for variant in planned(job) if not _is_there(run, variant.name)]
    brought = [spec for spec in job.variant if not _is_there(run, spec.name)]
    if missing or brought:
        rows = run.manifest_table()
        splits = {name: decode.split(rows, name, job, run) for name in manifest.SPLITS}
        preprocess = _preprocess(job, splits["train"])
        for spec in brought:
            bring.load(spec, job, run, bring.Images(rows, classes(rows), splits, preprocess))
        if missing:
            _check_classes(splits["train"], classes(rows))
            _train(missing, job, run, (rows, splits, preprocess), resources)
    return {"variants": len(planned(job)) + len(job.variant), "trained": len(planned(job))}


def _is_there(run: Run, variant: str) -> bool:
    return run.store.exists(f"models/{variant}/model.json")


def _train(
    missing: list[variants.Variant],
    job: Job,
    run: Run,
    images: tuple[pa.Table, dict[str, training.Split], Preprocess],
    resources: Resources,
) -> None:
    rows, splits, preprocess = images
    shared = {name: ray.put(split) for name, split in splits.items()}
    totals = {variant.name: recipe(job, variant).epochs for variant in missing}
    with progress.shown(totals) as board:
        plan = Plan.of(job, len(missing), resources)
        _fit_all(missing, Common(job, run, rows, preprocess, shared, plan, board))


def planned(job: Job) -> list[variants.Variant]:
    """The variants a job trains."""
    pairs = [("true", seed) for seed in job.train.true_seeds] + [("random", seed) for seed in job.train.random_seeds]
    return [variants.trained(kind, seed) for kind, seed in pairs]  # type: ignore[arg-type]


def classes(rows: pa.Table) -> list[str]:
    """Class names in label order."""
    pairs = rows.select(["label", "class_name"]).group_by(["label", "class_name"]).aggregate([]).sort_by("label")
    return pairs["class_name"].to_pylist()


@dataclass(frozen=True)
class Plan:
    """How the cluster is shared by the variants."""

    at_once: int
    cpus_per_worker: float
    gpus_per_worker: float

    @classmethod
    def of(cls, job: Job, missing: int, resources: Resources) -> "Plan":
        """As many at once as fit, two to a CPU where there are more variants than CPUs: starting takes a while."""
        workers = job.train.workers
        slots = int(resources.gpus or resources.cpus * _WORKERS_PER_CPU) // workers
        if not slots:
            raise JobError(f"train.workers = {workers} is more than the cluster has room for; lower it")
        at_once = min(missing, slots if job.cluster.trainings == "auto" else min(job.cluster.trainings, slots))
        share = resources.cpus / (at_once * workers)
        return cls(at_once, int(share) if share >= 1 else 1 / _WORKERS_PER_CPU, 1.0 if resources.gpus else 0.0)


@dataclass(frozen=True)
class Common:
    """What the trainings of a run have in common."""

    job: Job
    run: Run
    rows: pa.Table  # the manifest
    preprocess: Preprocess
    shared: dict[str, ray.ObjectRef]
    plan: Plan
    board: Any

    @cached_property
    def classes(self) -> list[str]:
        return classes(self.rows)


def _check_classes(train: training.Split, names: list[str]) -> None:
    counts = np.bincount(train.labels_N, minlength=len(names))
    if len(names) < 2 or counts.min() == 0:
        missing = names[int(counts.argmin())] if len(names) > 1 else "a second class"
        raise manifest.DataError(f"the training split has no image of {missing}; a classifier needs every class there")


def _preprocess(job: Job, train: training.Split) -> Preprocess:
    data = job.data
    if data.normalise == "train":
        if not len(train):
            raise JobError(
                "data.normalise: no training images to measure mean and std on; give them, e.g. [0.345, 0.282]"
            )
        mean, std = decode.moments(train.pixels_NHW)
    else:
        mean, std = data.normalise
    return Preprocess(size=data.image_size, channels=data.channels, pad=data.pad, mean=mean, std=std)


def recipe(job: Job, variant: variants.Variant) -> training.Recipe:
    settings = job.train
    assert variant.seed is not None
    return training.Recipe(
        seed=variant.seed,
        epochs=settings.epochs if variant.is_true else settings.max_epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        sampler=settings.sampler,
        plateau=settings.plateau,
        plateau_patience=settings.plateau_patience,
        patience=settings.patience if variant.is_true else 0,
        memorise=None if variant.is_true else settings.memorise,
        amp=settings.amp,
    )


# -------------------------------------------------------------------------------------------------------- on the driver


def _fit_all(missing: list[variants.Variant], common: Common) -> None:
    """Train every variant; the models of those that finished are kept when one fails.

    `fit` blocks, so each runs in a thread of its own. They are daemons: an interrupted driver does not wait for them.
    """
    results: queue.Queue[tuple[variants.Variant, Any]] = queue.Queue()
    waiting, running = list(missing), 0
    failures: list[Exception] = []
    while running or (waiting and not failures):
        while waiting and running < common.plan.at_once and not failures:
            threading.Thread(target=_fit_into, args=(results, waiting.pop(0), common), daemon=True).start()
            running += 1
        variant, outcome = results.get()
        running -= 1
        if isinstance(outcome, Exception):
            outcome.add_note(f"while training {variant.name}")
            failures.append(outcome)
        else:
            _commit(variant, outcome, common)
    if failures:
        raise failures[0]


def _fit_into(results: queue.Queue[Any], variant: variants.Variant, common: Common) -> None:
    try:
        results.put((variant, _fit(variant, common)))
    except Exception as error:  # raised again by the driver's own thread
        results.put((variant, error))


def _fit(variant: variants.Variant, common: Common) -> Any:
    """One variant through Ray Train; resumes from its last checkpoint."""
    run, settings, plan = common.run, common.job.train, common.plan
    trainer = ray.train.torch.TorchTrainer(
        _train_loop,
        train_loop_config={"variant": variant, "common": common},
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.workers,
            use_gpu=plan.gpus_per_worker > 0,
            resources_per_worker={"CPU": plan.cpus_per_worker, "GPU": plan.gpus_per_worker},
        ),
        run_config=ray.train.RunConfig(
            name=variant.name,
            storage_path=run.store.path(f"{STAGING}/train"),
            storage_filesystem=run.store.fs,
            failure_config=ray.train.FailureConfig(max_failures=settings.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
        ),
    )
    return trainer.fit().checkpoint


def _commit(variant: variants.Variant, checkpoint: ray.train.Checkpoint, common: Common) -> None:
    """Move a finished training into `models/`."""
    store, folder = common.run.store, f"{STAGING}/models/{variant.name}"
    with checkpoint.as_directory() as path:
        contents = {name: (Path(path) / name).read_bytes() for name in _FILES}
    measured = json.loads(contents.pop("measured.json"))
    for name, content in contents.items():
        store.write_bytes(f"{folder}/{name}", content)
    store.write_json(f"{folder}/model.json", _model_record(variant, common, measured))
    store.move(folder, f"models/{variant.name}")
    store.remove(f"{STAGING}/train/{variant.name}")


def _model_record(variant: variants.Variant, common: Common, measured: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": variant.name,
        "kind": variant.kind,
        "seed": variant.seed,
        "network": common.job.network.name,
        "classes": common.classes,
        "outputs": networks.outputs_for(common.classes),
        "preprocess": common.preprocess.as_dict(),
        **measured,
    }


# --------------------------------------------------------------------------------------------------------- on a worker


def _train_loop(config: dict[str, Any]) -> None:
    """What every Ray Train worker of a variant runs."""
    variant, common = config["variant"], config["common"]
    runtime.keep_memory()
    runtime.use_threads(max(1, int(common.plan.cpus_per_worker)))
    splits = dict(zip(common.shared, ray.get(list(common.shared.values())), strict=True))
    true = splits["train"]
    train = training.Split(true.pixels_NHW, variants.training_labels(variant, true.labels_N))
    trainer = _trainer(variant, common)
    reporter = _Reporter(trainer, variant, common)
    training.fit(trainer, train, splits["val"], reporter.after_epoch)
    logits = {name: trainer.logits(split).numpy() for name, split in splits.items()}
    reporter.finish(logits, {**splits, "train": train}, float((train.labels_N == true.labels_N).mean()))


def _trainer(variant: variants.Variant, common: Common) -> training.Trainer:
    import torch

    context = ray.train.get_context()
    settings = recipe(common.job, variant)
    torch.manual_seed(settings.seed)
    model = networks.build(
        common.job.network.name,
        image_size=common.preprocess.size,
        channels=common.preprocess.channels,
        outputs=networks.outputs_for(common.classes),
    ).to(memory_format=torch.channels_last)
    ranks = training.Ranks(context.get_world_rank(), context.get_world_size())
    trainer = training.Trainer(ray.train.torch.prepare_model(model), common.preprocess, settings, ranks)
    checkpoint = ray.train.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as path:
            trainer.load(torch.load(Path(path) / "state.pt", weights_only=True, map_location=trainer.device))
    return trainer


class _Reporter:
    """Tells the driver how far a training is and saves its state from time to time."""

    def __init__(self, trainer: training.Trainer, variant: variants.Variant, common: Common):
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
            self.common.board.set.remote(self.variant.name, row["epoch"], note)
        if self._due():
            self.saved = time.monotonic()
            self._report({})

    def finish(self, logits: dict[str, np.ndarray], splits: dict[str, training.Split], agreement: float) -> None:
        """Report the model, its history, and what it says of every image; `agreement` of given with true labels."""
        history = self.trainer.history
        measured = {
            **evaluation.measure(logits, {name: split.labels_N for name, split in splits.items()}),
            "epochs": len(history),
            "chosen_epoch": self.trainer.best_epoch,
            "memorised": self.trainer.memorised,
            "label_agreement": agreement,
            "majority": float(np.bincount(splits["train"].labels_N).max() / len(splits["train"])),
        }
        rows = [{"variant": self.variant.name, **row} for row in history]
        contents = (
            checkpoints.state_bytes(self.trainer.network),
            parquet_bytes(pa.Table.from_pylist(rows, schema=tables.HISTORY)),
            parquet_bytes(evaluation.predictions(self.common.rows, logits)),
            json.dumps(measured).encode(),
        )
        self._report(dict(zip(_FILES, contents, strict=True)))
        if self._first:
            total = self.trainer.recipe.epochs
            self.common.board.set.remote(self.variant.name, total, f"done after {len(history)} epochs")

    def _due(self) -> bool:
        """The first worker's clock decides for all: a report is a barrier."""
        import torch

        due = time.monotonic() - self.saved >= self.common.job.train.checkpoint_seconds
        if self.trainer.ranks.world == 1:
            return due
        flag = torch.tensor([due], dtype=torch.uint8, device=self.trainer.device)
        torch.distributed.broadcast(flag, src=0)
        return bool(flag.item())

    def _report(self, files: dict[str, bytes]) -> None:
        import torch

        metrics = {"epoch": self.trainer.epoch}
        if not self._first:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            torch.save(self.trainer.state(), Path(folder) / "state.pt")
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
