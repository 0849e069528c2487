"""Variants that were trained elsewhere: a checkpoint becomes a model of the run without training."""

import dataclasses
import functools
import inspect
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from pneumo_batch.core.attribution import baselines, soundness
from pneumo_batch.core.data.images import Preprocess, Split, named_normalisation
from pneumo_batch.core.method_names import method_of
from pneumo_batch.core.models import answers, checkpoints, evaluation, heads, networks, pretrained, programs
from pneumo_batch.core.user_code import user_callable
from pneumo_batch.errors import JobError
from pneumo_batch.execution import progress
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job.schema import Job, VariantSpec
from pneumo_batch.rundir import checksums
from pneumo_batch.rundir.integrity import parquet_bytes, sha256
from pneumo_batch.rundir.layout import PROGRAM
from pneumo_batch.rundir.record import ModelRecord
from pneumo_batch.rundir.storage import json_bytes
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages.workers import predictor


def digests(job: Job) -> dict[str, str]:
    """SHA-256 of everything a job names by place and that changes results: checkpoints and code of one's own.

    Raises JobError for a file that cannot be read, and for two variants with the same checkpoint.
    """
    found = {f"variant.{spec.name}": sha256(_read(spec)) for spec in job.variant}
    _refuse_copies(found, "content")
    methods = [method_of(name) for name in job.attribution.methods]
    for name in [*job.networks, *methods, *job.compare.metrics]:
        if ":" in name and name != networks.XRV_NETWORK and not programs.is_file(name):
            found[name] = _code_digest(name)
    if programs.is_file(job.network.name):
        found["network"] = sha256(_program(job))
    weights = starting_weights(job)
    if weights is not None:
        found["network.weights"] = sha256(weights)
    return found


def _refuse_copies(digests: dict[str, str], what: str) -> None:
    """Raise JobError where two variants are one model: any method would look reproducible."""
    if found := checkpoints.first_copy(digests):
        variant, other = found
        raise JobError(
            f"{variant}: its checkpoint has the {what} of that of {other}: every variant must be a model of its "
            "own, several of a kind trained from different seeds"
        )


def starting_weights(job: Job) -> bytes | None:
    """The content of the file that `network.weights` means; None for "none". Raises JobError."""
    try:
        place = pretrained.place(job.network.name, job.network.weights)
        return place.read_bytes() if place else None
    except (OSError, ValueError) as error:
        raise JobError(str(error)) from error


def _program(job: Job) -> bytes:
    try:
        return programs.read(job.network.name)
    except ValueError as error:
        raise JobError(str(error)) from error


def _read(spec: VariantSpec) -> bytes:
    try:
        return Path(spec.checkpoint).expanduser().read_bytes()
    except OSError as error:
        raise JobError(f"variant.{spec.name}: cannot read checkpoint {spec.checkpoint}: {error.strerror}") from error


def _code_digest(name: str) -> str:
    """Of the file that defines a callable: the name alone would let changed code resume an old run."""
    try:
        source = inspect.getsourcefile(user_callable(name))
    except ValueError as error:
        raise JobError(str(error)) from error
    except TypeError as error:
        raise JobError(f"{name!r}: {error}") from error
    assert source is not None
    return sha256(Path(source).read_bytes())


def check(job: Job, preprocess: Preprocess, classes: list[str]) -> None:
    """Raises JobError where a checkpoint does not fit or has the weights of another, or a network answers twice
    differently.
    """
    found = {}
    for spec in job.variant:
        model, own = network(spec, job, preprocess, classes)
        try:
            soundness.check(model, baselines.baseline_input("mean", own))
        except ValueError as error:
            raise JobError(f"variant.{spec.name}: {error}") from error
        found[f"variant.{spec.name}"] = checkpoints.digest(model)
    _refuse_copies(found, "weights")


@dataclass(frozen=True)
class Images:
    """The images a brought model is judged on."""

    rows: pa.Table  # the manifest
    classes: list[str]
    splits: dict[str, Split]
    preprocess: Preprocess
    findings: list[str]  # several, or none


def load(specs: list[VariantSpec], job: Job, run: RunWriter, images: Images, resources: Resources) -> None:
    """Check checkpoints against the job's network, write them into `models/`. Raises JobError if one does not fit."""
    program = _program(job) if programs.is_file(job.network.name) else None
    models, suspects = [], []
    for spec in specs:
        model, preprocess = network(spec, job, images.preprocess, images.classes)
        weights, outputs = checkpoints.state_bytes(model), networks.outputs_for(images.classes, images.findings)
        models.append(predictor.Model(spec.name, job.network.name, program, weights, outputs, preprocess))
        if soundness.gives_probabilities(model, torch.zeros(1, preprocess.channels, preprocess.size, preprocess.size)):
            suspects.append(spec.name)
    found = predictor.logits(models, images.splits, run, resources)
    for spec, brought, logits in zip(specs, models, found, strict=True):
        if spec.name in suspects:
            _warn_of_probabilities(spec, run, logits)
        _write(spec, run, images, brought, logits)


def _warn_of_probabilities(spec: VariantSpec, run: RunWriter, logits: dict[str, np.ndarray]) -> None:
    """Gradients of a probability vanish where the model is sure, and its threshold is not that of a logit."""
    values = np.concatenate([values_NK.ravel() for values_NK in logits.values()])
    values = values[np.isfinite(values)]
    if not len(values) or values.min() < 0 or values.max() > 1:
        return
    line = (
        f"variant.{spec.name}: all {len(values)} outputs lie in 0 to 1: if the network ends in a sigmoid or softmax, "
        "remove it: maps and accuracy are meant to be those of logits"
    )
    progress.warn(run, "train", line)


def _write(
    spec: VariantSpec, run: RunWriter, images: Images, model: predictor.Model, logits: dict[str, np.ndarray]
) -> None:
    labels = {name: split.labels_N for name, split in images.splits.items()}
    measured = evaluation.measure(logits, labels, images.findings)
    record: ModelRecord = {
        "name": spec.name,
        "kind": spec.kind,
        "seed": None,
        "network": model.network if model.program is None else Path(model.network).name,
        "classes": images.classes,
        "outputs": model.outputs,
        "preprocess": model.preprocess.as_dict(),
        "checkpoint": Path(spec.checkpoint).name,
        **measured,
        "memorised": None,  # a random variant's labels stayed where it was trained
        "unanswered": answers.unanswered(images.rows, logits),
    }
    if images.findings:
        record["findings"] = images.findings
    files = {
        "model.safetensors": model.weights,
        "predictions.parquet": parquet_bytes(evaluation.predictions(images.rows, logits)),
        "model.json": json_bytes(record),
    }
    if model.program is not None:  # readers and workers need not have the file
        files[PROGRAM] = model.program
    checksums.write_model(run.store, spec.name, files)


def network(spec: VariantSpec, job: Job, common: Preprocess, classes: list[str]) -> tuple[torch.nn.Module, Preprocess]:
    """The job's network with the weights of a checkpoint, and how its images are prepared. Raises JobError."""
    try:
        preprocess = own_preprocess(spec, common)
        shape = {"image_size": preprocess.size, "channels": preprocess.channels}
        build = functools.partial(networks.build, job.network.name, **shape)
        wanted = networks.outputs_for(classes, job.data.several)
        model = build(outputs=len(spec.outputs) if spec.outputs else wanted)
        model = checkpoints.load_state(model, Path(spec.checkpoint))
        if spec.outputs:
            names = job.data.several or (classes[1:] if wanted == 1 else classes)
            example_1CHW = torch.zeros(1, preprocess.channels, preprocess.size, preprocess.size)
            model = heads.picked(model, build, heads.places(spec.outputs, names), example_1CHW)
        return model, preprocess
    except checkpoints.OtherNames as error:
        raise JobError(f"variant.{spec.name}: {error}{_of_ones_own(job.network.name)}") from error
    except ValueError as error:
        raise JobError(f"variant.{spec.name}: {error}") from error


def _of_ones_own(network: str) -> str:
    """Where weights do not have the names of a network that is not the user's own already."""
    if programs.is_file(network) or (":" in network and network != networks.XRV_NETWORK):
        return ""
    return (
        f"; if it is not a plain {network}, such as one with a head of your own, the function that builds it goes into "
        'network.name = "module:callable"'
    )


def own_preprocess(spec: VariantSpec, common: Preprocess) -> Preprocess:
    """The run's, but for what the variant was trained with instead. Size and padding are common: maps are compared."""
    channels, given = spec.channels or common.channels, spec.normalise
    named = named_normalisation(given, channels) if isinstance(given, str) else given
    mean, std = named or (common.mean, common.std)
    return dataclasses.replace(common, mean=mean, std=std, channels=channels)
