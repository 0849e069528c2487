"""How a cluster is shared out, by training slots and by attribution actors: known before hours are spent."""

import dataclasses
import math
from dataclasses import dataclass

from pneumo_batch.errors import JobError
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job.schema import Job

# What an attribution actor holds: a process with torch and Ray in it, every model three times while it is loaded and
# rewritten, the activations of a pass, and its results until they are written (docs/performance.md has what was seen).
_PROCESS_BYTES = 700e6
_COPIES = 3
_PASS_BYTES = 500e6
_RESULT_BYTES = 4 * 64 * 2**20

# Films of up to so many pixels a side leave a GPU waiting for Python to launch its kernels: work is shared out there in
# quarters, as long as there are CPUs for it (docs/performance.md has the speed of one to eight side by side).
_SHARED_SIZE = 128
_SHARE = 0.25


@dataclass(frozen=True)
class TrainingShare:
    """So many slots side by side, each training its variants in turn; where the cluster is to grow some wait for it.

    Starting a slot costs seconds of importing on every worker, so a slot is not given up after one variant.
    """

    slots: int
    cpus_per_worker: int
    gpus_per_worker: float


def training(job: Job, variants: int, resources: Resources) -> TrainingShare:
    """As many slots as fit, or as the cluster is to grow to, at most one a variant. Raises JobError when not one fits.

    Of slots that wait for a cluster to grow, each has the CPUs that it would have among those it begins with.
    """
    workers, wanted = job.train.workers, job.cluster.trainings
    gpus = _gpu_share(job.cluster.gpus_per_training, job, resources, "gpus_per_training")
    if workers > 1:  # they exchange gradients over NCCL, which wants a GPU for each
        gpus = float(math.ceil(gpus))
    room = resources.room(cpus=1, gpus=gpus) // workers
    if not room:
        unit = "GPUs" if gpus else "CPUs"
        have = resources.gpus or resources.cpus
        raise JobError(f"train.workers = {workers} but the cluster has {have:g} {unit} for them; lower it")
    least, most = wanted if isinstance(wanted, tuple) else (room, room) if wanted == "auto" else (wanted, 0)
    at_first = min(variants, least, room)
    return TrainingShare(max(at_first, min(variants, most)), resources.cpus_each(at_first * workers, gpus), gpus)


@dataclass(frozen=True)
class AttributionShare:
    """So many actors with so many CPUs, GPUs and bytes of memory each; `most` of them once the cluster has grown."""

    actors: int
    most: int
    cpus: float
    gpus: float
    memory: int

    def at_most(self, count: int) -> "AttributionShare":
        """For work that no more than `count` actors can share."""
        return dataclasses.replace(self, actors=min(self.actors, count), most=min(self.most, count))


def attribution(job: Job, models_bytes: float, resources: Resources) -> AttributionShare:
    """As many actors as fit, or as the job wants. Raises JobError, with the numbers, when so many do not fit."""
    wanted = job.cluster.actors
    gpus = _gpu_share(job.cluster.gpus_per_actor, job, resources, "gpus_per_actor")
    memory = int(_PROCESS_BYTES + _COPIES * models_bytes + _PASS_BYTES + _RESULT_BYTES)
    room = resources.room(cpus=1, gpus=gpus, memory=memory)
    if not room:
        beside = f" beside {gpus:g} GPUs" if gpus else ""
        largest = max(node.memory for node in resources.nodes)
        raise JobError(
            f"an attribution actor needs about {memory / 1e9:.1f} GB of memory{beside}, the largest node has "
            f"{largest / 1e9:.1f} GB; free some, or attribute fewer variants in a run"
        )
    least, most = wanted if isinstance(wanted, tuple) else (room, room) if wanted == "auto" else (wanted, wanted)
    if least > room:
        short_of_memory = room < resources.room(cpus=1, gpus=gpus)
        limit = "bytes of memory" if short_of_memory else "GPUs" if gpus else "CPUs"
        raise JobError(f"cluster.actors = {least} but there are enough {limit} for {room} only; lower it or use auto")
    cpus = 1 if gpus or most > least else resources.cpus_each(least, memory=memory)
    return AttributionShare(least, most, cpus, gpus, memory)


def _gpu_share(given: float | str, job: Job, resources: Resources, field: str) -> float:
    """As that field of [cluster] says, or by the size of a film; 0 where there is no GPU."""
    if isinstance(given, str):
        small = job.data.image_size <= _SHARED_SIZE
        return (_SHARE if small else 1.0) if resources.gpus else 0.0
    if given > resources.gpus:
        raise JobError(f"cluster.{field} = {given:g} but the cluster has {resources.gpus:g} GPUs; lower it or use auto")
    return float(given)
