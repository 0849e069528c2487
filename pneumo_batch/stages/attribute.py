"""Attribute: every chosen image under every variant -> the maps table, one row per image.

bytes -> decode (tasks) -> an actor pool that holds every variant -> Parquet. Files are written under `staging/` and
become `maps/` when every image is accounted for; an interrupted stage keeps the files it finished.
"""

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pneumo_batch.config import Attribution, Job, JobError
from pneumo_batch.core import attribution, manifest, pairs, runtime, tables, targets
from pneumo_batch.run import MAPS, QUARANTINE, Run
from pneumo_batch.stages import decode, predict, preflight, progress, staging
from pneumo_batch.stages.cluster import Resources

_FILE_BYTES = 64 * 2**20  # a file is at most this large before compression: what one actor holds of its results
_DECODE_CPUS = 0.25
_REPORT_IMAGES = 4
_MAX_RESTARTS = 3  # by default Ray retries a batch that kills its actor for half an hour


def run(job: Job, run: Run, resources: Resources) -> dict[str, int]:
    """Write `maps/` and add what could not be read to the quarantine. Raises DataError when too much could not."""
    every = choose(run.manifest_table(), job.attribution)
    if not run.is_committed(MAPS):
        chosen = staging.without(every, staging.earlier_ids(run, MAPS))
        run.store.remove(decode.REJECTED)  # what could not be read may be there again
        todo = staging.without(chosen, staging.finished_ids(run, MAPS))
        if todo.num_rows:
            with progress.shown({"attributions": todo.num_rows}) as board:
                _attribute(todo, Pool.of(job, run, resources), board)
        done = staging.finished_ids(run, MAPS)
        bad = [
            row for row in decode.rejected(run.store) if row["image_id"] not in set(done)
        ]  # a retry may have read it
        staging.check_balance(chosen["image_id"].to_pylist(), done, [row["image_id"] for row in bad], MAPS)
        _check(every.num_rows, bad, job.data.max_bad)
        _add_to_quarantine(run, bad)
        run.commit_table(MAPS)
    attributed = run.maps_table([]).num_rows
    predict.extend(run)
    return {"chosen": every.num_rows, "attributed": attributed, "quarantined": every.num_rows - attributed}


def choose(rows: pa.Table, settings: Attribution) -> pa.Table:
    """The rows to attribute, in an order that makes the cross-image partner of an image its neighbour."""
    rows = rows.filter(pc.is_in(rows["split"], pa.array(settings.splits)))
    order = pairs.hash_order(rows["image_id"].to_pylist(), seed=0)
    return rows.take(order[: settings.limit])


@dataclass(frozen=True)
class Pool:
    """What an attribution actor needs to know, and how many there are."""

    run: Run
    job: Job
    variants: list[str]
    actors: int  # to begin with
    cpus: float
    gpus: float
    most: int  # as the cluster grows

    @classmethod
    def of(cls, job: Job, run: Run, resources: Resources) -> "Pool":
        wanted, share = job.cluster.actors, job.cluster.gpus_per_actor
        gpus = (1.0 if resources.gpus else 0.0) if share == "auto" else float(share)
        if gpus > resources.gpus:
            raise JobError(f"cluster.gpus_per_actor = {gpus:g} but the cluster has {resources.gpus:g} GPUs")
        room = int(resources.gpus / gpus) if gpus else resources.cpus
        least, most = wanted if isinstance(wanted, tuple) else (room, room) if wanted == "auto" else (wanted, wanted)
        if least > room:
            raise JobError(f"cluster.actors = {least} but there is room for {room}; lower it or use auto")
        cpus = 1 if gpus or most > least else max(1, resources.cpus // least)
        return cls(run, job, run.variants(), least, cpus, gpus, most)

    def _strategy(self) -> ray.data.ActorPoolStrategy:
        if self.most == self.actors:
            return ray.data.ActorPoolStrategy(size=self.actors, max_tasks_in_flight_per_actor=2)
        return ray.data.ActorPoolStrategy(min_size=self.actors, max_size=self.most, max_tasks_in_flight_per_actor=2)

    def map(self, dataset: ray.data.Dataset, actor: type, board: Any) -> ray.data.Dataset:
        """The data set with every block given to one of the pool's actors, made as `actor(pool, board)`."""
        with warnings.catch_warnings():  # Ray 2.60 deprecates these two and has no other way to give them
            warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
            return dataset.map_batches(
                actor,
                fn_constructor_args=(self, board),
                batch_format="pyarrow",
                batch_size=None,
                num_cpus=self.cpus,
                num_gpus=self.gpus,
                compute=self._strategy(),
                max_restarts=_MAX_RESTARTS,
                max_task_retries=1,
            )


def _attribute(todo: pa.Table, pool: Pool, board: Any) -> None:
    rows = _rows_per_file(todo.num_rows, pool)
    blocks = [todo.slice(start, rows) for start in range(0, todo.num_rows, rows)]
    # a small pass has fewer blocks than there is room for actors
    pool = replace(pool, actors=min(pool.actors, len(blocks)), most=min(pool.most, len(blocks)))
    decoded = ray.data.from_arrow(blocks).map_batches(
        decode.decoder(pool.run, pool.variants[0]), batch_format="pyarrow", batch_size=None, num_cpus=_DECODE_CPUS
    )
    # the maps themselves hardly repeat a value: dictionaries would only cost time
    staging.write(pool.map(decoded, Attributor, board), pool.run, MAPS, dictionary=["class_name", "patient_id"])


def _rows_per_file(total: int, pool: Pool) -> int:
    classes = pool.run.model_record(pool.variants[0])["classes"]
    per_image = preflight.map_bytes(pool.job, preflight.map_shapes(pool.job, classes))
    fair = math.ceil(total / (4 * pool.most))  # so that no actor waits for another's last file
    return max(1, min(pool.job.attribution.rows_per_file, _FILE_BYTES // per_image, fair))


def explainer(job: Job, run: Run, variant: str, device: str) -> attribution.Explainer:
    """The attribution methods of a job on one variant's network."""
    preprocess = run.preprocess(variant)
    return attribution.Explainer(
        run.model(variant).to(device),
        preflight.attribution_options(job),
        preprocess,
        allow_tf32=job.attribution.allow_tf32,
    )


# ---------------------------------------------------------------------------------------------------------- on a worker


class Attributor:
    """An actor of the pool: all variants and methods on its share of the machine."""

    def __init__(self, pool: Pool, board: Any):
        self.device = "cuda" if pool.gpus else "cpu"
        runtime.keep_memory()
        runtime.use_threads(int(pool.cpus))
        self.pool = pool
        self.board = board
        self.explainers = {name: explainer(pool.job, pool.run, name, self.device) for name in pool.variants}
        self.preprocess = {name: pool.run.preprocess(name) for name in pool.variants}
        shapes = next(iter(self.explainers.values())).map_shapes
        self.schema = tables.maps_schema(shapes, pool.variants, attribution.WITH_DELTA & set(shapes))
        self.classes = pool.run.model_record(pool.variants[0])["classes"]

    def __call__(self, batch: pa.Table) -> pa.Table:
        if not batch.num_rows:  # none of them could be read
            return self.schema.empty_table()
        pixels_BHW = tables.tensor_array(batch["pixels"])
        labels_B = batch["label"].to_numpy()
        targets_B = targets.explained_outputs(self.pool.job.attribution.target, self.classes, labels_B)
        columns: dict[str, list[np.ndarray]] = {}
        for start in range(0, len(pixels_BHW), _REPORT_IMAGES):
            part = slice(start, start + _REPORT_IMAGES)
            for name, values_B in self._explain(pixels_BHW[part], targets_B[part]).items():
                columns.setdefault(name, []).append(values_B)
            self.board.add.remote("attributions", len(pixels_BHW[part]))
        return self._table(batch, {name: np.concatenate(parts) for name, parts in columns.items()})

    def _explain(self, pixels_BHW: np.ndarray, targets_B: np.ndarray) -> dict[str, np.ndarray]:
        import torch

        columns = {}
        for variant, explain in self.explainers.items():
            inputs_BCHW = self.preprocess[variant].inputs(torch.from_numpy(pixels_BHW).to(self.device))
            found = explain(inputs_BCHW, torch.from_numpy(targets_B).to(self.device))
            columns[f"logit__{variant}"] = found.logits_B.cpu().numpy()
            for method, maps_BHW in found.maps.items():
                columns[f"{method}__{variant}"] = maps_BHW.cpu().numpy()
            for method, delta_B in found.deltas.items():
                columns[f"{method}_delta__{variant}"] = delta_B.cpu().numpy()
        return columns

    def _table(self, batch: pa.Table, columns: dict[str, np.ndarray]) -> pa.Table:
        arrays: list[Any] = []
        for field in self.schema:
            if field.name in batch.column_names:
                arrays.append(batch[field.name])
            elif isinstance(field.type, pa.FixedShapeTensorType):
                arrays.append(tables.tensor_column(columns[field.name]))
            else:
                arrays.append(pa.array(columns[field.name], field.type))
        return pa.table(arrays, schema=self.schema)


# -------------------------------------------------------------------------------------------------------------- balance


def _check(chosen: int, bad: list[dict[str, str]], max_bad: float) -> None:
    """Not too many of the chosen images were rejected."""
    if len(bad) > max_bad * chosen:
        first = min(bad, key=lambda row: row["image_id"])
        raise manifest.DataError(
            f"{len(bad)} of {chosen} images could not be read any more, more than data.max_bad = {max_bad:g} "
            f"allows; the first is {first['image_id']}: {first['reason']}"
        )


def _add_to_quarantine(run: Run, bad: list[dict[str, str]]) -> None:
    known = run.store.read_table(QUARANTINE, schema=tables.QUARANTINE)
    known = known.filter(pc.not_equal(known["stage"], "attribute"))
    added = pa.Table.from_pylist(bad, schema=tables.QUARANTINE)
    run.store.write_table(QUARANTINE, pa.concat_tables([known, added]).sort_by("image_id"))
