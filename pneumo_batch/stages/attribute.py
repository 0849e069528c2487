"""Attribute: every chosen image under every variant -> the maps table, one row per image.

bytes -> decode (tasks) -> an actor pool that holds every variant -> Parquet. Files are written under `staging/` and
become `maps/` when every image is accounted for; an interrupted stage keeps the files it finished.
"""

import dataclasses
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pneumo_batch.config import Attribution, Job
from pneumo_batch.core import attribution, manifest, pairs, runtime, tables, targets
from pneumo_batch.core.images import RejectedImage
from pneumo_batch.layout import MAPS, QUARANTINE
from pneumo_batch.run import Run
from pneumo_batch.stages import decode, guard, preflight, progress, shares, staging
from pneumo_batch.stages.cluster import Resources

_FILE_BYTES = 64 * 2**20  # a file is at most this large before compression: what one actor holds of its results
_DECODE_CPUS = 0.25
# An image that kills its actor is found by its fourth attempt (desk.py); by default Ray tries for half an hour.
_MAX_TASK_RETRIES = 4
_MAX_RESTARTS = 16


def run(job: Job, run: Run, resources: Resources) -> dict[str, int]:
    """Write `maps/` and add what could not be read to the quarantine. Raises DataError when too much could not."""
    every = choose(run.manifest_table(), job.attribution)
    if not run.is_committed(MAPS):
        chosen = staging.without(every, staging.earlier_ids(run, MAPS))
        run.store.remove(decode.REJECTED)  # what could not be read may be there again
        todo = staging.without(chosen, staging.tally(run, MAPS))
        if todo.num_rows:
            shown = progress.shown({"attributions": todo.num_rows})
            with shown as board, guard.watch(board, job.cluster.stall_seconds):
                _attribute(todo, Pool.of(job, run, resources), board)
        done = staging.tally(run, MAPS)
        bad = [row for row in decode.rejected(run.store) if row["image_id"] not in done]  # a retry may have read it
        staging.check_balance(chosen["image_id"].to_pylist(), done, [row["image_id"] for row in bad], MAPS)
        _check(every.num_rows, bad, job.data.max_bad)
        _add_to_quarantine(run, bad)
        run.commit_table(MAPS)
    attributed = run.maps_table([]).num_rows
    from pneumo_batch.stages import predict  # not on the workers: its imports cost each of them half a second

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

    def map(self, dataset: ray.data.Dataset, actor: type, board: Any) -> ray.data.Dataset:
        """The data set with every block given to one of the pool's actors, made as `actor(pool, board)`."""
        with warnings.catch_warnings():  # Ray 2.60 deprecates these two and has no other way to give them
            warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
            return dataset.map_batches(
                actor,
                fn_constructor_args=(self, board),
                batch_format="pyarrow",
                batch_size=None,
                num_cpus=self.share.cpus,
                num_gpus=self.share.gpus,
                memory=self.share.memory,
                compute=self._strategy(),
                max_restarts=_MAX_RESTARTS,
                max_task_retries=_MAX_TASK_RETRIES,
            )


def _attribute(todo: pa.Table, pool: Pool, board: Any) -> None:
    rows = _rows_per_file(todo.num_rows, pool)
    blocks = [todo.slice(start, rows) for start in range(0, todo.num_rows, rows)]
    pool = dataclasses.replace(pool, share=pool.share.at_most(len(blocks)))
    decoder = decode.decoder(pool.run, pool.variants[0], board)
    decoded = ray.data.from_arrow(blocks).map_batches(
        decoder, batch_format="pyarrow", batch_size=None, num_cpus=_DECODE_CPUS
    )
    # the maps themselves hardly repeat a value: dictionaries would only cost time
    staging.write(pool.map(decoded, Attributor, board), pool.run, MAPS, dictionary=["class_name", "patient_id"])


def _rows_per_file(total: int, pool: Pool) -> int:
    classes = pool.run.model_record(pool.variants[0])["classes"]
    per_image = preflight.map_bytes(pool.job, preflight.map_shapes(pool.job, classes))
    fair = math.ceil(total / (4 * pool.share.most))  # so that no actor waits for another's last file
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
        self.device = "cuda" if pool.share.gpus else "cpu"
        runtime.keep_memory()
        runtime.use_threads(int(pool.share.cpus))
        self.pool = pool
        self.board = board
        self.explainers = {name: explainer(pool.job, pool.run, name, self.device) for name in pool.variants}
        self.preprocess = {name: pool.run.preprocess(name) for name in pool.variants}
        shapes = next(iter(self.explainers.values())).map_shapes
        deltas = attribution.WITH_DELTA & set(shapes)
        chosen = deltas if pool.job.attribution.integrated_gradients.steps == "auto" else set()
        self.schema = tables.maps_schema(shapes, pool.variants, deltas, chosen)
        self.classes = pool.run.model_record(pool.variants[0])["classes"]

    def __call__(self, batch: pa.Table) -> pa.Table:
        if not batch.num_rows:  # none of them could be read
            return self.schema.empty_table()
        pixels_BHW = tables.tensor_array(batch["pixels"])
        labels_B = batch["label"].to_numpy()
        targets_B = targets.explained_outputs(self.pool.job.attribution.target, self.classes, labels_B)
        kept: list[int] = []
        columns: dict[str, list[np.ndarray]] = {}
        rows = batch.select([*(field.name for field in tables.IDENTITY), "split"]).to_pylist()
        with guard.batch(self.board, batch["image_id"].to_pylist()) as guarded:
            for i, row in enumerate(rows):
                try:
                    guarded.begin(row["image_id"])
                except RejectedImage as error:
                    decode.reject(self.pool.run.store, row, str(error))
                    continue
                for name, values_1 in self._explain(pixels_BHW[i : i + 1], targets_B[i : i + 1]).items():
                    columns.setdefault(name, []).append(values_1)
                kept.append(i)
                self.board.add.remote("attributions", 1)
        if not kept:
            return self.schema.empty_table()
        joined = {name: np.concatenate(parts) for name, parts in columns.items()}
        return self._table(batch.take(pa.array(kept)), joined)

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
                columns[f"{method}_steps__{variant}"] = found.steps[method].cpu().numpy()
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
