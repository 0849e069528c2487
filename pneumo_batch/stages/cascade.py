"""Cascade: maps of a trained variant against those it has with layers re-initialised -> the cascades table and curves.

Nothing is trained. Each actor derives one network after the other for its block of images, so that their number costs
time and no memory.
"""

import dataclasses
import functools
import hashlib
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pneumo_batch.config import Job
from pneumo_batch.core import attribution, cascade, comparison, curves, manifest, pairs, runtime, tables, targets
from pneumo_batch.layout import CASCADE_SUMMARY, CASCADES, DERIVED, STAGING
from pneumo_batch.run import Run
from pneumo_batch.stages import attribute, compare, decode, preflight, progress, staging
from pneumo_batch.stages.cluster import Resources

_MOST_IMAGES = 16  # a block: what an interruption can cost, and what shares the making of one network
_BLOCK_BYTES = 256 * 2**20  # of maps that an actor holds


def run(job: Job, run: Run, resources: Resources) -> dict[str, int]:
    """Write `cascades/` and `cascade_summary.parquet`, nothing where the job names no seeds."""
    if not job.cascade.seeds:
        return {}
    images, derived = choose(job, run), networks(job, run)
    rows = rows_per_image(job, run)
    if not run.store.has(CASCADES):
        todo = staging.without(images, staging.tally(run, CASCADES))
        if todo.num_rows:
            with progress.shown({"maps": todo.num_rows * len(derived)}) as board:
                _randomize(todo, len(derived), attribute.Pool.of(job, run, resources), board)
        found = staging.tally(run, CASCADES)
        staging.check_balance(images["image_id"].to_pylist(), found, [], CASCADES, rows)
        if run.store.exists(f"{STAGING}/{DERIVED}"):  # not if the last attempt ended between these two lines
            run.commit_table(DERIVED)
        run.commit_table(CASCADES)
    scores = run.store.read_table(CASCADES, schema=tables.CASCADES)
    run.store.write_table(CASCADE_SUMMARY, curves.curves(scores, resamples=job.compare.resamples))
    return {"images": images.num_rows, "networks": len(derived), "scores": images.num_rows * rows}


def original(job: Job, run: Run) -> str:
    """The variant whose layers are re-initialised."""
    return job.cascade.variant or run.variants()[0]


def choose(job: Job, run: Run) -> pa.Table:
    """The manifest rows of the images to use: attributed ones, in the hash order of the maps table."""
    attributed = run.maps_table([])["image_id"].combine_chunks()
    rows = run.manifest_table()
    rows = rows.filter(pc.is_in(rows["image_id"], attributed))
    return rows.take(pairs.hash_order(rows["image_id"].to_pylist(), seed=0)[: job.cascade.images])


def networks(job: Job, run: Run) -> list[cascade.Derived]:
    """The networks to derive, the original of each seed (depth 0) among them."""
    return preflight.derived(job, run.model_record(original(job, run))["classes"])


def plan_of(job: Job, run: Run) -> comparison.Comparison:
    """How maps are compared: as in the scores table, with the original as the one variant."""
    return dataclasses.replace(compare.plan_of(job, run), variants=((original(job, run), True),))


def rows_per_image(job: Job, run: Run) -> int:
    """Rows of the cascades table that an image has."""
    return len(curves.cells(plan_of(job, run))) * len(networks(job, run))


def _randomize(todo: pa.Table, networks: int, pool: attribute.Pool, board: Any) -> None:
    per_image = 4 * pool.job.data.image_size**2 * len(pool.job.attribution.methods) * networks
    fair = math.ceil(todo.num_rows / pool.share.actors)
    rows = max(1, min(_MOST_IMAGES, fair, _BLOCK_BYTES // per_image))
    blocks = [todo.slice(start, rows) for start in range(0, todo.num_rows, rows)]
    texts = [field.name for field in tables.CASCADES if pa.types.is_dictionary(field.type)]
    pool = dataclasses.replace(pool, share=pool.share.at_most(len(blocks)))
    dataset = pool.map(ray.data.from_arrow(blocks), Randomizer, board)
    staging.write(dataset, pool.run, CASCADES, dictionary=["image_id", "patient_id", *texts])


# ---------------------------------------------------------------------------------------------------------- on a worker


class Randomizer:
    """An actor of the pool: every derived network on a block of images."""

    def __init__(self, pool: attribute.Pool, board: Any):
        self.device = "cuda" if pool.share.gpus else "cpu"
        runtime.keep_memory()
        runtime.use_threads(int(pool.share.cpus))
        self.job, self.run, self.board = pool.job, pool.run, board
        name = original(pool.job, pool.run)
        self.model = pool.run.model(name)
        self.record = pool.run.model_record(name)
        self.preprocess = pool.run.preprocess(name)
        self.plan = plan_of(pool.job, pool.run)
        self.derived = networks(pool.job, pool.run)
        build = functools.partial(pool.run.untrained, name)
        self.initial = {seed: cascade.initial_state(build, seed) for seed in pool.job.cascade.seeds}

    def __call__(self, batch: pa.Table) -> pa.Table:
        inputs_BCHW, targets_B = self._inputs(batch)
        explained: dict[Any, tuple[dict[str, np.ndarray], np.ndarray]] = {}
        for one in self.derived:
            if one.weights not in explained:
                explained[one.weights] = self._explain(one, inputs_BCHW, targets_B)
            self.board.add.remote("maps", batch.num_rows)
        maps_D, entropy_D = zip(*(explained[one.weights] for one in self.derived), strict=True)
        originals = maps_D[0]  # a plan begins with depth 0
        self.plan.check_self_pairs(self.plan.features({method: maps_Bhw[:1] for method, maps_Bhw in originals.items()}))
        scores = []
        for i, row in enumerate(batch.to_pylist()):
            own = {method: maps_Bhw[i] for method, maps_Bhw in originals.items()}
            derived = {method: np.stack([maps[method][i] for maps in maps_D]) for method in own}
            scores.append(curves.to_original(self.plan, own, derived))
            if self.job.attribution.store_derived:
                self._store(row, batch.slice(i, 1), derived)
        return curves.table(batch, self.plan, self.derived, np.stack(scores), np.stack(entropy_D, axis=1))

    def _inputs(self, batch: pa.Table) -> tuple[Any, Any]:
        import torch

        arrays = []
        for row in batch.to_pylist():
            try:
                arrays.append(decode.read_pixels(self.run.images, row, self.preprocess))
            except (OSError, ValueError) as error:
                raise manifest.DataError(f"{row['image_id']}: no longer readable since attributed: {error}") from error
        inputs_BCHW = self.preprocess.inputs(torch.from_numpy(np.stack(arrays)).to(self.device))
        classes, target = self.record["classes"], self.job.attribution.target
        targets_B = targets.explained_outputs(target, classes, batch["label"].to_numpy())
        return inputs_BCHW, torch.from_numpy(targets_B).to(self.device)

    def _explain(
        self, one: cascade.Derived, inputs_BCHW: Any, targets_B: Any
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Maps (B, h, w) of each method, and the output's entropy (B,)."""
        import torch

        model = cascade.derive(self.model, one, self.initial[one.seed]).to(self.device)
        settings = self.job.attribution
        explain = attribution.Explainer(
            model, preflight.attribution_options(self.job), self.preprocess, allow_tf32=settings.allow_tf32
        )
        found = explain(inputs_BCHW, targets_B)
        with torch.no_grad(), runtime.exact_arithmetic(settings.allow_tf32):
            logits_BK = torch.cat([model(inputs_1CHW[None]) for inputs_1CHW in inputs_BCHW])  # alike in any batch
        maps = {method: maps_Bhw.cpu().numpy() for method, maps_Bhw in found.maps.items()}
        return maps, cascade.output_entropy(logits_BK).cpu().numpy()

    def _store(self, row: dict[str, Any], identity: pa.Table, maps: dict[str, np.ndarray]) -> None:
        """One file an image, named by it: a retried block writes the same files again."""
        columns = {field.name: identity[field.name] for field in tables.IDENTITY}
        for position, one in enumerate(self.derived):
            for method, maps_Dhw in maps.items():
                columns[f"{method}__{one.name}"] = tables.tensor_column(maps_Dhw[position : position + 1])
        name = hashlib.sha256(row["image_id"].encode()).hexdigest()[:32]
        self.run.store.write_table(f"{STAGING}/{DERIVED}/{name}.parquet", pa.table(columns))
