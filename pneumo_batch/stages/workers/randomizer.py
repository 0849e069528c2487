"""The actor of parameter randomization: every derived network on a block of images."""

import functools
import hashlib

import numpy as np
import pyarrow as pa
import torch

from pneumo_batch.core import tables
from pneumo_batch.core.attribution import targets
from pneumo_batch.core.models import runtime
from pneumo_batch.core.randomization import cascade, curves
from pneumo_batch.core.similarity import comparison
from pneumo_batch.execution.actor_pool import Pool
from pneumo_batch.execution.board import Board
from pneumo_batch.rundir.layout import DERIVED, STAGING
from pneumo_batch.stages.workers import attributor, decode


class Randomizer:
    """An actor of the pool: every derived network on a block of images."""

    def __init__(
        self, pool: Pool, board: Board, original: str, plan: comparison.Comparison, derived: list[cascade.Derived]
    ):
        self.device = attributor.begin(pool)
        self.job, self.run, self.board = pool.job, pool.run, board
        self.plan, self.derived = plan, derived
        self.model = pool.run.model(original)
        self.record = pool.run.model_record(original)
        self.preprocess = pool.run.preprocess(original)
        build = functools.partial(pool.run.untrained, original)
        self.initial = {seed: cascade.initial_state(build, seed) for seed in pool.job.cascade.seeds}

    def __call__(self, batch: pa.Table) -> pa.Table:
        inputs_BCHW, targets_B = self._inputs(batch)
        explained: dict[cascade.Weights, tuple[dict[str, np.ndarray], np.ndarray]] = {}
        for one in self.derived:
            if one.weights not in explained:
                explained[one.weights] = self._explain(one, inputs_BCHW, targets_B)
            self.board.add("maps", batch.num_rows)
        maps_D, entropy_D = zip(*(explained[one.weights] for one in self.derived), strict=True)
        originals = maps_D[0]  # a plan begins with depth 0
        self.plan.check_self_pairs(self.plan.features({method: maps_Bhw[:1] for method, maps_Bhw in originals.items()}))
        scores = []
        for i, row in enumerate(batch.to_pylist()):
            own = {method: maps_Bhw[i] for method, maps_Bhw in originals.items()}
            derived = {method: np.stack([maps[method][i] for maps in maps_D]) for method in own}
            scores.append(curves.to_original(self.plan, own, derived))
            if self.job.attribution.store_derived:
                self._store(row["image_id"], batch.slice(i, 1), derived)
        return curves.table(batch, self.plan, self.derived, np.stack(scores), np.stack(entropy_D, axis=1))

    def _inputs(self, batch: pa.Table) -> tuple[torch.Tensor, torch.Tensor]:
        images = self.run.images
        arrays = [decode.attributed_pixels(images, row, self.preprocess) for row in batch.to_pylist()]
        inputs_BCHW = self.preprocess.inputs(torch.from_numpy(np.stack(arrays)).to(self.device))
        target, several = self.job.attribution.targets[0], self.job.data.several  # of several targets the first
        targets_B = targets.explained_outputs(target, self.record["classes"], batch["label"].to_numpy(), several)
        return inputs_BCHW, torch.from_numpy(targets_B).to(self.device)

    def _explain(
        self, one: cascade.Derived, inputs_BCHW: torch.Tensor, targets_B: torch.Tensor
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Maps (B, h, w) of each method, and the output's entropy (B,)."""
        model = cascade.derive(self.model, one, self.initial[one.seed]).to(self.device)
        settings = self.job.attribution
        found = attributor.explainer_of(settings, model, self.preprocess)(inputs_BCHW, targets_B)
        with torch.no_grad(), runtime.exact_arithmetic(settings.allow_tf32):
            logits_BK = torch.cat([model(inputs_1CHW[None]) for inputs_1CHW in inputs_BCHW])  # alike in any batch
        if self.job.data.several:  # each logit is of a yes or no of its own: that of the finding explained counts
            logits_BK = logits_BK.gather(1, targets_B[:, None])
        maps = {method: maps_Bhw.cpu().numpy() for method, maps_Bhw in found.maps.items()}
        return maps, cascade.output_entropy(logits_BK).cpu().numpy()

    def _store(self, image_id: str, identity: pa.Table, maps: dict[str, np.ndarray]) -> None:
        """One file an image, named by it: a retried block writes the same files again."""
        columns = {field.name: identity[field.name] for field in tables.IDENTITY}
        for position, one in enumerate(self.derived):
            for method, maps_Dhw in maps.items():
                columns[f"{method}__{one.name}"] = tables.tensor_column(maps_Dhw[position : position + 1])
        name = hashlib.sha256(image_id.encode()).hexdigest()[:32]
        self.run.store.write_sealed(f"{STAGING}/{DERIVED}/{name}", pa.table(columns))
