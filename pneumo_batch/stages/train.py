"""Train: every variant of the job with Ray Train, as many at once as fit."""

import queue
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
import torch

from pneumo_batch.core.data import audit_lines, images, manifest
from pneumo_batch.core.data.images import Preprocess, Split
from pneumo_batch.core.models import pretrained
from pneumo_batch.core.variants import Variant
from pneumo_batch.errors import DamagedError, DataError, JobError
from pneumo_batch.execution import places, progress, staging
from pneumo_batch.execution import resources as shares
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir import accounts, integrity, locations
from pneumo_batch.rundir.layout import MANIFEST, STAGING
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import arms, external_models, survey
from pneumo_batch.stages.stage import DAMAGE, Plan, Survey
from pneumo_batch.stages.workers import pixels, trainer

_NOTHING_TO_MEASURE = "data.normalise: no training images to measure mean and std on; give them, e.g. [0.345, 0.282]"


def plan(job: Job, found: Survey, store: Store) -> Plan:
    """What training starts from and what is brought along have to fit the network; decoded images need room."""
    weights = external_models.starting_weights(job)
    if weights is not None or job.variant:  # else attribute is the first to need the network
        network = survey.network(job, found.classes)
        if weights is not None:
            _check_start(network, weights, job)
    external_models.check(job, survey.preprocess(job), found.classes)
    arms.check(job, found.classes)
    carved_from = ("train", "val") if job.data.val_fraction else ("train",)
    if job.data.normalise == "train" and not any(found.images.get(split) for split in carved_from):
        raise JobError(_NOTHING_TO_MEASURE)
    _check_room(job, found, store)
    epochs = {variant.name: trainer.recipe(job, variant).epochs for variant in job.trained}
    size = pixels.bytes_of(sum(found.images.values()), job.data.image_size)
    numbers = {"variants": survey.variant_names(job), "trained": len(epochs), "epochs": epochs, "pixel_bytes": size}
    length = {name: f"up to {count} epochs" if count else "not trained" for name, count in epochs.items()}
    listed = ", ".join(f"{name} ({told})" for name, told in length.items())
    return Plan(f"{len(epochs)} variants: {listed}" if epochs else "nothing", numbers)


def _check_start(network: torch.nn.Module, weights: bytes, job: Job) -> None:
    try:
        pretrained.start_from(network, weights, job.network.weights)
    except ValueError as error:
        raise JobError(f"network.weights: {error}") from error


def _check_room(job: Job, found: Survey, store: Store) -> None:
    """Raise JobError when the disk that decoded images are read from has no room for those that are not there yet."""
    if all(store.exists(f"models/{name}/model.json") for name in survey.variant_names(job)):
        return
    folder = Path(store.root) if store.is_local else places.own_folder()
    there = sum(store.size(name) for name in store.files(pixels.FOLDER)) if store.is_local else 0
    images, free = sum(found.images.values()), locations.free_bytes(folder)
    needed = pixels.bytes_of(images, job.data.image_size) - there
    if free < needed:
        other = "another --run-dir" if store.is_local else "set TMPDIR, on every node"
        raise JobError(
            f"{store.location if store.is_local else folder}: {free / 1e9:.1f} GB free, training needs about "
            f"{needed / 1e9:.1f} GB for {images} decoded images of {job.data.image_size} x {job.data.image_size}; free "
            f"some, or {other}"
        )


def execute(job: Job, run: RunWriter, resources: Resources | None) -> dict[str, int]:
    """Train the variants that `models/` does not hold yet. Raises DataError for images no variant can be trained on."""
    assert resources is not None
    missing = [variant for variant in job.trained if not _is_there(run, variant.name)]
    brought = [spec for spec in job.variant if not _is_there(run, spec.name)]
    if missing or brought:
        rows = run.manifest_table(looks=False)
        decoded = {name: pixels.decoded(rows, name, _decoding(job), run) for name in manifest.SPLITS}
        splits = {name: one.split for name, one in decoded.items()}
        preprocess = _preprocess(job, decoded["train"])
        if brought:
            judged = external_models.Images(rows, manifest.class_names(rows), splits, preprocess, job.data.several)
            external_models.load(brought, job, run, judged, resources)
        if missing:
            _check_classes(splits["train"], manifest.class_names(rows), job.data.several)
            arms.check_columns(job, rows)
            _train(missing, job, run, (rows, splits, preprocess), resources)
    pixels.discard(run)
    _leave_out_unanswered(run)
    return {"variants": len(job.trained) + len(job.variant), "trained": len(job.trained)}


def verify(job: Job, run: Run) -> None:
    wanted = accounts.tally(run, MANIFEST).ids
    for name in survey.variant_names(job):
        _verify_model(name, wanted, run)


def discard_damaged_models(job: Job, run: RunWriter) -> None:
    """Remove the models that `verify` complains of: they are trained or brought again."""
    wanted = accounts.tally(run, MANIFEST).ids
    for name in survey.variant_names(job):
        try:
            _verify_model(name, wanted, run)
        except DAMAGE:
            run.store.remove(f"models/{name}")


def _verify_model(name: str, wanted: pa.Array, run: Run) -> None:
    """Weights that open, and a prediction for every image. Raises DamagedError, ImbalanceError or FileNotFoundError."""
    from safetensors import SafetensorError, deserialize

    run.store.read_json(f"models/{name}/model.json")
    try:
        deserialize(run.store.read_bytes(f"models/{name}/model.safetensors"))
    except SafetensorError as error:
        raise DamagedError(f"models/{name}/model.safetensors: damaged: {error}") from error
    predicted = accounts.rows_by_image(run.store, f"models/{name}/predictions.parquet")
    accounts.check_balance(wanted, predicted, run.unanswered(), f"predictions of {name}")


def _leave_out_unanswered(run: RunWriter) -> None:
    """Take the images that a variant has no number for from the predictions of all: what is compared is of one set."""
    unanswered = run.unanswered()
    if not unanswered:
        return
    total, line = run.count(MANIFEST), audit_lines.named(list(unanswered.items()))
    progress.warn(run, "train", f"{len(unanswered)} of {total} images are left out of predictions and maps: {line}")
    run.checksums.seal("train")  # models that only their own lists know would count as damaged once they are changed
    for variant in run.variants():
        known = run.predictions_table(variant)
        kept = staging.rows_without(known, pa.array(list(unanswered), pa.string()))
        if kept.num_rows < known.num_rows:
            run.checksums.replace(f"models/{variant}/predictions.parquet", integrity.parquet_bytes(kept))


def _is_there(run: Run, variant: str) -> bool:
    return run.store.exists(f"models/{variant}/model.json")


def _train(
    missing: list[Variant],
    job: Job,
    run: RunWriter,
    images: tuple[pa.Table, dict[str, Split], Preprocess],
    resources: Resources,
) -> None:
    rows, splits, preprocess = images
    totals = {variant.name: trainer.recipe(job, variant).epochs for variant in missing}
    with progress.shown(totals, run) as board:
        weights = external_models.starting_weights(job)
        start = ray.put(weights) if weights is not None else None
        common = trainer.Common(job, run, rows, preprocess, splits, board, arms.structures(job, run, rows), start)
        # what trains until labels are memorised takes longest, and at the end a slot alone leaves the rest idle
        every = sorted(job.trained, key=lambda variant: not job.arms[variant.kind].is_permuted)
        share = shares.training(job, len(every), resources)
        todo = slots(every, missing, share.slots)
        _fit_all([trainer.Slot(mine, share.cpus_per_worker, common) for mine in todo], share)


def slots(every: list[Variant], missing: list[Variant], count: int) -> list[list[Variant]]:
    """The variants each slot still has to train, those that take longest first; dealt out forth and back.

    A variant belongs to one slot, with its share of the machine, whichever are done already: a resumed run computes
    with as many threads, so that it gets the weights it would have had.
    """
    found: list[list[Variant]] = [[] for _ in range(count)]
    for position, variant in enumerate(every):
        turn, place = divmod(position, count)
        if variant in missing:
            found[count - 1 - place if turn % 2 else place].append(variant)
    return found


def _check_classes(train: Split, names: list[str], findings: list[str]) -> None:
    if findings:
        _check_findings(train, findings)
        return
    counts = np.bincount(train.labels_N, minlength=len(names))
    if len(names) < 2 or counts.min() == 0:
        missing = names[int(counts.argmin())] if len(names) > 1 else "a second class"
        raise DataError(f"the training split has no image of {missing}; a classifier needs every class there")


def _check_findings(train: Split, findings: list[str]) -> None:
    for k, finding in enumerate(findings):
        for label, word in ((1, "with"), (0, "without")):
            if not (train.labels_N[:, k] == label).any():
                raise DataError(f"the training split has no image {word} {finding}: leave it out of data.findings")


def _decoding(job: Job) -> Preprocess:
    """What makes pixels of a file; how these become inputs is not known before them (`_preprocess`)."""
    return Preprocess(size=job.data.image_size, pad=job.data.pad, resize=job.data.resize)


def _preprocess(job: Job, train: pixels.Decoded) -> Preprocess:
    data = job.data
    mean: images.PerChannel
    std: images.PerChannel
    if data.normalise == "train":
        if not len(train.split):
            raise JobError(_NOTHING_TO_MEASURE)
        mean, std = pixels.moments(train.levels)
    elif isinstance(data.normalise, str):
        mean, std = images.named_normalisation(data.normalise, data.channels)
    else:
        mean, std = data.normalise
    return Preprocess(data.image_size, data.channels, data.pad, mean, std, data.resize)


# -------------------------------------------------------------------------------------------------------- on the driver


def _fit_all(todo: list[trainer.Slot], share: shares.TrainingShare) -> None:
    """Train the variants of every slot; those that finished are kept when one fails.

    `fit` blocks, so each slot runs in a thread of its own. They are daemons: an interrupted driver does not wait.
    """
    outcomes: queue.Queue[Exception | None] = queue.Queue()
    busy = [slot for slot in todo if slot.variants]
    for slot in busy:
        threading.Thread(target=_fit_into, args=(outcomes, slot, share), daemon=True).start()
    failures = [error for error in (outcomes.get() for _ in busy) if error]
    if failures:
        raise failures[0]


def _fit_into(outcomes: queue.Queue[Exception | None], slot: trainer.Slot, share: shares.TrainingShare) -> None:
    try:
        _fit(slot, share)
    except Exception as error:  # raised again by the driver's own thread
        outcomes.put(error)
    else:
        outcomes.put(None)


def _fit(slot: trainer.Slot, share: shares.TrainingShare) -> None:
    """One slot's variants through Ray Train, each from its last saved state if it has one."""
    settings = slot.common.job.train
    if settings.workers > 1:
        _fit_together(slot, share)
        return
    alone = trainer.train_alone.options(
        num_cpus=share.cpus_per_worker, num_gpus=share.gpus_per_worker, max_retries=settings.max_failures
    )
    ray.get(alone.remote(slot))


def _fit_together(slot: trainer.Slot, share: shares.TrainingShare) -> None:
    """Data-parallel workers, and beside them the four processes with which Ray Train looks after them."""
    import ray.train.torch

    store, settings = slot.common.run.store, slot.common.job.train
    together = ray.train.torch.TorchTrainer(
        trainer.train_together,
        train_loop_config={"slot": ray.put(slot)},
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.workers,
            use_gpu=share.gpus_per_worker > 0,
            resources_per_worker={"CPU": share.cpus_per_worker, "GPU": share.gpus_per_worker},
        ),
        run_config=ray.train.RunConfig(
            name=slot.variants[0].name,
            storage_path=store.path(f"{STAGING}/train"),
            storage_filesystem=store.fs,
            failure_config=ray.train.FailureConfig(max_failures=settings.max_failures),
        ),
    )
    together.fit()
