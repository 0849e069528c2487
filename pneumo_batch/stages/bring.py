"""Variants that were trained elsewhere: a checkpoint becomes a model of the run without training."""

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pneumo_batch.config import Job, JobError, VariantSpec
from pneumo_batch.core import checkpoints, evaluation, networks, training
from pneumo_batch.core.images import Preprocess, Split
from pneumo_batch.run import STAGING, Run


def digests(job: Job) -> dict[str, str]:
    """SHA-256 of everything a job names by place and that changes results: checkpoints and code of one's own.

    Raises JobError for a file that cannot be read.
    """
    found = {f"variant.{spec.name}": hashlib.sha256(_read(spec)).hexdigest() for spec in job.variant}
    for name in [job.network.name, *job.attribution.methods]:
        if ":" in name:
            found[name] = _code_digest(name)
    return found


def _read(spec: VariantSpec) -> bytes:
    try:
        return Path(spec.checkpoint).read_bytes()
    except OSError as error:
        raise JobError(f"variant.{spec.name}: cannot read checkpoint {spec.checkpoint}: {error.strerror}") from error


def _code_digest(name: str) -> str:
    """Of the file that defines a callable: the name alone would let changed code resume an old run."""
    try:
        source = inspect.getsourcefile(networks.user_callable(name))
    except (TypeError, ValueError) as error:
        raise JobError(f"{name}: {error}") from error
    assert source is not None
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()


@dataclass(frozen=True)
class Images:
    """The images a brought model is judged on."""

    rows: pa.Table  # the manifest
    classes: list[str]
    splits: dict[str, Split]
    preprocess: Preprocess


def load(spec: VariantSpec, job: Job, run: Run, images: Images) -> None:
    """Check a checkpoint against the job's network and write it into `models/`. Raises JobError if it does not fit."""
    preprocess, outputs = images.preprocess, networks.outputs_for(images.classes)
    try:
        model = networks.build(
            job.network.name, image_size=preprocess.size, channels=preprocess.channels, outputs=outputs
        )
        checkpoints.load_state(model, Path(spec.checkpoint))
    except ValueError as error:
        raise JobError(f"variant.{spec.name}: {error}") from error
    logits = {
        name: training.predict(model, preprocess, split.pixels_NHW).numpy() for name, split in images.splits.items()
    }
    labels = {name: split.labels_N for name, split in images.splits.items()}
    record = {
        "name": spec.name,
        "kind": spec.kind,
        "seed": None,
        "network": job.network.name,
        "classes": images.classes,
        "outputs": outputs,
        "preprocess": preprocess.as_dict(),
        "checkpoint": Path(spec.checkpoint).name,
        **evaluation.measure(logits, labels),
        "memorised": None,  # a random variant's labels stayed where it was trained
    }
    folder = f"{STAGING}/models/{spec.name}"
    run.store.write_bytes(f"{folder}/model.safetensors", checkpoints.state_bytes(model))
    run.store.write_table(f"{folder}/predictions.parquet", evaluation.predictions(images.rows, logits))
    run.store.write_json(f"{folder}/model.json", record)
    run.store.move(folder, f"models/{spec.name}", last="model.json")
