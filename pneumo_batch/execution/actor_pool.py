"""The actors that attribution and parameter randomization run on."""

import warnings
from dataclasses import dataclass

import ray.data

from pneumo_batch.execution import resources as shares
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.reader import Run

# An image that kills its actor is found by the fourth attempt at its block, each further one of that block by two more
# (watchdog.py): five of them are. By default Ray tries for half an hour.
_MAX_TASK_RETRIES = 11
_MAX_RESTARTS = 16


@dataclass(frozen=True)
class Pool:
    """What an attribution actor needs to know, and how many there are."""

    run: Run
    job: Job
    variants: list[str]
    share: shares.AttributionShare

    @classmethod
    def of(cls, job: Job, run: Run, resources: Resources) -> "Pool":
        sizes = [run.store.size(f"models/{name}/model.safetensors") for name in run.variants()]
        return cls(run, job, run.variants(), shares.attribution(job, sum(sizes), resources))

    def _strategy(self) -> ray.data.ActorPoolStrategy:
        share = self.share
        if share.most == share.actors:
            return ray.data.ActorPoolStrategy(size=share.actors, max_tasks_in_flight_per_actor=2)
        return ray.data.ActorPoolStrategy(min_size=share.actors, max_size=share.most, max_tasks_in_flight_per_actor=2)

    def map(self, dataset: ray.data.Dataset, actor: type, *arguments: object, rows: int) -> ray.data.Dataset:
        """The data set with every block given to one of the pool's actors, made as `actor(pool, *arguments)`.

        `rows` is what a block has at most: on GPUs Ray Data wants the size of a batch, and fills one that has become
        smaller from the next block.
        """
        with warnings.catch_warnings():  # Ray 2.60 deprecates these two and has no other way to give them
            warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
            return dataset.map_batches(
                actor,
                fn_constructor_args=(self, *arguments),
                batch_format="pyarrow",
                batch_size=rows if self.share.gpus else None,
                num_cpus=self.share.cpus,
                num_gpus=self.share.gpus,
                memory=self.share.memory,
                compute=self._strategy(),
                max_restarts=_MAX_RESTARTS,
                max_task_retries=_MAX_TASK_RETRIES,
            )
