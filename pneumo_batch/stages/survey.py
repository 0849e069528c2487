"""What can be known before hours are spent: what a job refers to, whether it fits together, whether there is room."""

import pyarrow as pa
import torch

from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.data.phantom import NORMAL, PNEUMONIA
from pneumo_batch.core.models import networks, programs
from pneumo_batch.errors import JobError
from pneumo_batch.execution import resources as shares
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job import jobfile
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.locations import open_roots, refuse_credentials
from pneumo_batch.stages import arms, external_models, index, regions
from pneumo_batch.stages.stage import Survey

# What the listing of generated films tells of them.
_GENERATED = pa.table({"view": pa.nulls(1), "sex": pa.nulls(1), "site": pa.nulls(1), "subtype": ["virus"]})


def survey(job: Job) -> Survey:
    """Look at everything a job refers to. Raises DataError or JobError when some of it is not there."""
    for location in jobfile.places(job):  # before it is quoted as what cannot be read
        refuse_credentials(location)
    contents = external_models.digests(job)
    if programs.is_file(job.network.name) and job.trained:
        raise JobError(
            f"network.name = {job.network.name!r}: a file cannot be trained, as it has no fresh weights: bring every"
            " variant as a [[variant]], with train.true_seeds = [] and train.random_seeds = []"
        )
    if job.is_phantom:
        arms.check_told(job, _GENERATED)
        if job.data.names_regions:
            contents["regions"] = regions.digest(regions.named(job.data.regions))
        images = {"train": job.phantom.train, "test": job.phantom.test}
        classes = ["BACTERIA", NORMAL, "VIRUS"] if job.data.classes == manifest.BY_SUBTYPE else [NORMAL, PNEUMONIA]
        return Survey(jobfile.fingerprint(job, contents), classes, images, patients=images)
    roots = open_roots(job.data.root)
    found = index.discover(job, roots)
    listing = found.listing
    if not job.data.grows:  # else images may join a run
        contents["data"] = manifest.listing_digest(listing)
        if job.data.format != "folders":
            contents["manifest"] = manifest.assignment_digest(listing)
        if told := [name for name in arms.columns(job) if name in listing.column_names]:
            contents["strata"] = manifest.strata_digest(listing, told)
        if outlined := regions.source(job.data, roots, found):
            contents["regions"] = regions.digest(outlined)
    arms.check_told(job, listing)
    counts = listing.group_by("split").aggregate([("image_id", "count"), ("patient_id", "count_distinct")])
    images, patients = (
        dict(zip(counts["split"].to_pylist(), counts[name].to_pylist(), strict=True))
        for name in ("image_id_count", "patient_id_count_distinct")
    )
    return Survey(jobfile.fingerprint(job, contents), found.classes, images, patients)


def variant_names(job: Job) -> list[str]:
    """Every variant of a job, trained and brought."""
    return [variant.name for variant in job.variants]


def preprocess(job: Job) -> Preprocess:
    """Of what is known before the images are: their shape."""
    return Preprocess(size=job.data.image_size, channels=job.data.channels)


def network(job: Job, classes: list[str], name: str | None = None) -> torch.nn.Module:
    """The network of a job, or the one of that name, with fresh weights. Raises JobError for one that there is not."""
    shape = {"image_size": job.data.image_size, "channels": job.data.channels}
    try:
        return networks.build(
            name or job.network.name, outputs=networks.outputs_for(classes, job.data.several), **shape
        )
    except ValueError as error:
        raise JobError(str(error)) from error


def fits(job: Job, found: Survey, resources: Resources) -> None:
    """Raise JobError when a cluster, or this machine before Ray starts here, has no room for a part of the job."""
    sizes = {name: _weights(network(job, found.classes, name)) for name in job.networks}
    weights = sum(sizes[job.arms[variant.kind].network or job.network.name] for variant in job.variants)
    shares.attribution(job, weights, resources)
    if job.trained:
        shares.training(job, len(job.trained), resources)


def _weights(model: torch.nn.Module) -> int:
    """Bytes of them."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
