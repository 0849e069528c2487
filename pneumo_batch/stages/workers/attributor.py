"""The actor of attribution; imports nothing that only the driver needs, for each actor waits for its imports."""

import numpy as np
import pyarrow as pa
import torch

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.attribution import explainer, targets
from pneumo_batch.core.attribution.options import INTEGRATED_GRADIENTS
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.models import answers, runtime
from pneumo_batch.errors import RejectedImage
from pneumo_batch.execution import watchdog
from pneumo_batch.execution.actor_pool import Pool
from pneumo_batch.execution.board import Board
from pneumo_batch.job.schema import Attribution
from pneumo_batch.stages.workers import decode


def begin(pool: Pool) -> str:
    """Set a worker of the pool up for its share of the machine; returns the device it computes on."""
    runtime.keep_memory()
    runtime.use_threads(int(pool.share.cpus))
    return "cuda" if pool.share.gpus else "cpu"


def explainer_of(settings: Attribution, model: torch.nn.Module, preprocess: Preprocess) -> explainer.Explainer:
    """The attribution methods of a job on one network, on the device the network is on."""
    return explainer.Explainer(model, settings.options_by_method(), preprocess, allow_tf32=settings.allow_tf32)


class Attributor:
    """An actor of the pool: all variants and methods on its share of the machine."""

    def __init__(self, pool: Pool, board: Board):
        self.device = begin(pool)
        self.pool = pool
        self.board = board
        self.preprocess = {name: pool.run.preprocess(name) for name in pool.variants}
        self.explainers = {
            name: explainer_of(pool.job.attribution, pool.run.model(name).to(self.device), preprocess)
            for name, preprocess in self.preprocess.items()
        }
        shapes = next(iter(self.explainers.values())).map_shapes
        options = pool.job.attribution.options_by_method()
        deltas = explainer.of_methods(shapes, INTEGRATED_GRADIENTS)  # these tell how far a map is from completeness
        chosen = [name for name in deltas if options[name]["steps"] == "auto"]
        self.suffixes = pool.job.attribution.suffixes
        schema = tables.maps_schema(shapes, pool.variants, deltas, chosen, self.suffixes)
        self.schema = tables.with_map_shapes(schema, self._own_shapes(pool))
        self.classes = pool.run.model_record(pool.variants[0])["classes"]

    def _own_shapes(self, pool: Pool) -> dict[str, tuple[int, int]]:
        """Of the columns of variants with another network than the first."""
        first, *others = pool.variants
        network = pool.run.model_record(first)["network"]
        different = [name for name in others if pool.run.model_record(name)["network"] != network]
        return {
            f"{method}__{name}{suffix}": shape
            for name in different
            for method, shape in self.explainers[name].map_shapes.items()
            for suffix in self.suffixes
        }

    def __call__(self, batch: pa.Table) -> pa.Table:
        if not batch.num_rows:  # none of them could be read
            return self.schema.empty_table()
        pixels_BHW = table_columns.tensor_array(batch["pixels"])
        labels_B = batch["label"].to_numpy()
        job = self.pool.job
        targets_BT = targets.outputs_of_each(job.attribution.targets, self.classes, labels_B, job.data.several)
        kept: list[int] = []
        columns: dict[str, list[np.ndarray]] = {}
        rows = batch.select([*(field.name for field in tables.IDENTITY), "split"]).to_pylist()
        with watchdog.batch(self.board, batch["image_id"].to_pylist()) as guarded:
            for i, row in enumerate(self.board.counted("attributions", rows)):
                try:
                    guarded.begin(row["image_id"])
                    found = self._explain(pixels_BHW[i : i + 1], targets_BT[i : i + 1])
                except RejectedImage as error:
                    decode.reject(self.pool.run.store, row, str(error))
                    continue
                for name, values_1 in found.items():
                    columns.setdefault(name, []).append(values_1)
                kept.append(i)
        if not kept:
            return self.schema.empty_table()
        joined = {name: np.concatenate(parts) for name, parts in columns.items()}
        return self._table(batch.take(pa.array(kept)), joined)

    def _explain(self, pixels_BHW: np.ndarray, targets_BT: np.ndarray) -> dict[str, np.ndarray]:
        """Columns of the maps table. Raises RejectedImage for a film that a network has no number for."""
        columns: dict[str, np.ndarray] = {}
        for variant, explain in self.explainers.items():
            inputs_BCHW = self.preprocess[variant].inputs(torch.from_numpy(pixels_BHW).to(self.device))
            found = explain.each(inputs_BCHW, torch.from_numpy(targets_BT).to(self.device))
            for suffix, explanation in zip(self.suffixes, found, strict=True):
                logits_B = explanation.logits_B.cpu().numpy()
                if not np.isfinite(logits_B).all():
                    raise RejectedImage(answers.no_answer(variant, answers.not_finite(logits_B)))
                columns |= _columns(explanation, logits_B, f"{variant}{suffix}")
        return columns

    def _table(self, batch: pa.Table, columns: dict[str, np.ndarray]) -> pa.Table:
        arrays: list[pa.ChunkedArray | pa.Array] = []
        for field in self.schema:
            if field.name in batch.column_names:
                arrays.append(batch[field.name])
            elif isinstance(field.type, pa.FixedShapeTensorType):
                arrays.append(table_columns.tensor_column(columns[field.name]))
            else:
                arrays.append(pa.array(columns[field.name], field.type))
        return pa.table(arrays, schema=self.schema)


def _columns(found: explainer.Explanation, logits_B: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Of one variant and target, whose `name` the columns end with."""
    columns = {f"logit__{name}": logits_B}
    columns |= {f"{method}__{name}": maps_BHW.cpu().numpy() for method, maps_BHW in found.maps.items()}
    for method, delta_B in found.deltas.items():
        columns[f"{method}_delta__{name}"] = delta_B.cpu().numpy()
        columns[f"{method}_steps__{name}"] = found.steps[method].cpu().numpy()
    return columns
