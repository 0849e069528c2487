"""What can be known before hours are spent: what a job refers to, whether it fits together, whether there is room."""

import functools
import math
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from pneumo_batch.core.attribution import explainer as attribution
from pneumo_batch.core.attribution import soundness, targets
from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.data.phantom import NORMAL, PNEUMONIA
from pneumo_batch.core.models import networks, pretrained, programs
from pneumo_batch.core.randomization import cascade
from pneumo_batch.core.similarity import users_metric
from pneumo_batch.errors import JobError
from pneumo_batch.execution import resources as shares
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job import jobfile
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store, open_roots
from pneumo_batch.stages import external_models, index

_SPARE = 1.2  # beside the maps: models, scores, the report, tables in the making
_MODEL_BYTES = 50e6


@dataclass(frozen=True)
class Survey:
    """A job together with the data, checkpoints and code it refers to, as they are now."""

    fingerprint: str
    classes: list[str]
    images: dict[str, int]  # by split, before validation is carved from train

    def attributed(self, job: Job) -> int:
        """Images to attribute."""
        count = sum(self.images.get(split, 0) for split in job.attribution.splits)
        return min(count, job.attribution.limit or count)


def survey(job: Job) -> Survey:
    """Look at everything a job refers to. Raises DataError or JobError when some of it is not there."""
    contents = external_models.digests(job)
    if programs.is_file(job.network.name) and (job.train.true_seeds or job.train.random_seeds):
        raise JobError(
            f"network.name = {job.network.name!r}: a file has no fresh weights to train: bring every variant as a "
            "[[variant]], with train.true_seeds = [] and train.random_seeds = []"
        )
    if job.is_phantom:
        images = {"train": job.phantom.train, "test": job.phantom.test}
        classes = ["BACTERIA", NORMAL, "VIRUS"] if job.data.classes == manifest.BY_SUBTYPE else [NORMAL, PNEUMONIA]
        return Survey(jobfile.fingerprint(job, contents), classes, images)
    listing, classes, _ = index.discover(job, open_roots(job.data.root))
    if not job.data.grows:  # else images may join a run
        contents["data"] = manifest.listing_digest(listing)
        if job.data.manifest:
            contents["manifest"] = manifest.assignment_digest(listing)
    return Survey(jobfile.fingerprint(job, contents), classes, dict(Counter(listing["split"].to_pylist())))


def variant_names(job: Job) -> list[str]:
    """Every variant of a job, trained and brought."""
    trained = [f"true_{seed}" for seed in job.train.true_seeds] + [f"random_{seed}" for seed in job.train.random_seeds]
    return trained + [spec.name for spec in job.variant]


def map_shapes(job: Job, classes: list[str]) -> dict[str, tuple[int, int]]:
    """(height, width) of each method's maps, from a network that knows nothing yet.

    Raises JobError when network, methods, layer and target do not fit together, or a map would be one number.
    """
    try:
        targets.check_target(job.attribution.target, classes)
        model = _network(job, classes)
        explainer = attribution.Explainer(model.eval(), job.attribution.options_by_method(), _preprocess(job))
        shapes = explainer.map_shapes
    except ValueError as error:
        raise JobError(str(error)) from error
    for name, shape in shapes.items():
        if shape == (1, 1):
            way = "an earlier layer in grad_cam.layer or " if name == "grad_cam" else ""
            raise JobError(
                f"{name}: maps are 1 x 1 at data.image_size = {job.data.image_size}, nothing can be compared: take "
                f"{way}a larger data.image_size, or leave {name} out of attribution.methods"
            )
    return shapes


def _preprocess(job: Job) -> Preprocess:
    """Of what is known before the images are: their shape."""
    return Preprocess(size=job.data.image_size, channels=job.data.channels)


def _network(job: Job, classes: list[str]) -> Any:
    return networks.build(
        job.network.name,
        image_size=job.data.image_size,
        channels=job.data.channels,
        outputs=networks.outputs_for(classes),
    )


def derived(job: Job, classes: list[str]) -> list[cascade.Derived]:
    """What parameter randomization derives from its variant; nothing where it is off.

    Raises JobError for a network whose initialiser does not draw its weights.
    """
    settings = job.cascade
    if not settings.seeds:
        return []
    try:
        cascade.initial_state(functools.partial(_network, job, classes), settings.seeds[0])
    except ValueError as error:
        raise JobError(f"cascade: {error}") from error
    example_1CHW = attribution.baseline_input("mean", _preprocess(job))
    return cascade.plan(cascade.layers(_network(job, classes), example_1CHW), settings.seeds, settings.independent)


def map_bytes(job: Job, shapes: dict[str, tuple[int, int]]) -> int:
    """Bytes of one image's maps, before compression."""
    return sum(4 * math.prod(shape) for shape in shapes.values()) * len(variant_names(job))


def _check_start(job: Job, classes: list[str]) -> None:
    weights = external_models.starting_weights(job)
    if weights is None:
        return
    try:
        pretrained.start_from(_network(job, classes), weights, job.network.weights)
    except ValueError as error:
        raise JobError(f"network.weights: {error}") from error


def fits(job: Job, found: Survey, resources: Resources) -> None:
    """Raise JobError when the cluster that was joined or started has no room for a part of the job."""
    network = _network(job, found.classes)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    shares.attribution(job, weights * len(variant_names(job)), resources)
    if job.train.true_seeds or job.train.random_seeds:
        shares.training(job, len(job.train.true_seeds) + len(job.train.random_seeds), resources)
        shares.check_training_memory(sum(found.images.values()), job.data.image_size, psutil.virtual_memory().available)


def check(job: Job, run: Run, found: Survey) -> None:
    """Raise JobError when the job cannot end well: its parts do not fit, or the disk has no room for its maps."""
    shapes = check_parts(job, found.classes)
    derived(job, found.classes)
    check_room(job, run.store, found, shapes)


def check_parts(job: Job, classes: list[str]) -> dict[str, tuple[int, int]]:
    """The shapes of `map_shapes`. Raises JobError also for weights and checkpoints that do not fit the network."""
    shapes = map_shapes(job, classes)
    primary = (job.compare.primary.metric, job.compare.primary.scale)
    users_metric.check_all(job.compare.metrics, primary, job.data.image_size, job.compare.region_grid)
    _check_start(job, classes)
    for spec in job.variant:
        model, preprocess = external_models.network(spec, job, _preprocess(job), classes)
        try:
            soundness.check(model, attribution.baseline_input("mean", preprocess))
        except ValueError as error:
            raise JobError(f"variant.{spec.name}: {error}") from error
    return shapes


def check_room(job: Job, store: Store, found: Survey, shapes: dict[str, tuple[int, int]]) -> None:
    """Raise JobError when the disk of a run directory, which need not be there yet, has no room for its maps."""
    if not store.is_local:
        return
    root = Path(store.root)
    needed = _SPARE * found.attributed(job) * map_bytes(job, shapes) + _MODEL_BYTES * len(variant_names(job))
    free = shutil.disk_usage(next(place for place in (root, *root.parents) if place.is_dir())).free
    if free < needed:
        raise JobError(
            f"{store.location}: {free / 1e9:.1f} GB free, the run needs about {needed / 1e9:.1f} GB for "
            f"{found.attributed(job)} images and {len(variant_names(job))} variants; free some, or another --run-dir"
        )
