"""The actor of parameter randomization: every derived network on a block of images."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.attribution import targets
from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.models import runtime
from pneumo_batch.core.randomization import cascade, curves
from pneumo_batch.core.randomization.smoothing import REFERENCE, Smoothing, draw_of
from pneumo_batch.core.similarity import comparison
from pneumo_batch.execution.actor_pool import Pool
from pneumo_batch.execution.board import Board
from pneumo_batch.rundir.layout import DERIVED, STAGING
from pneumo_batch.stages.workers import attributor, decode


@dataclass(frozen=True)
class _Films:
    """A block of B images: ids, inputs (B, C, H, W) and the explained output of each (B,)."""

    ids: list[str]
    inputs_BCHW: torch.Tensor
    targets_B: torch.Tensor


@dataclass(frozen=True)
class _Explained:
    """What a network makes of a block: maps (B, h, w) by method, the output's entropy, maps averaged over noise."""

    maps: dict[str, np.ndarray]
    entropy_B: np.ndarray
    smooth: dict[str, np.ndarray]


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
        settings = pool.job.cascade
        self.smoothing = Smoothing(settings.noisy, settings.noise) if settings.noisy else None

    def __call__(self, batch: pa.Table) -> pa.Table:
        films = self._films(batch)
        explained: dict[cascade.Weights, _Explained] = {}
        for one in self.derived:
            if one.weights not in explained:
                explained[one.weights] = self._explain(one, films)
            self.board.add("maps", batch.num_rows)
        found_D = [explained[one.weights] for one in self.derived]
        originals = found_D[0].maps  # a plan begins with depth 0
        self.plan.check_self_pairs(self.plan.features({method: maps_Bhw[:1] for method, maps_Bhw in originals.items()}))
        scores, map_entropies = [], []
        for i, image_id in enumerate(films.ids):
            own, derived = _of_image(i, originals, [found.maps for found in found_D])
            scores.append(curves.to_original(self.plan, own, derived))
            map_entropies.append(curves.map_entropies(self.plan, derived, self.job.cascade.bins))
            if self.job.attribution.store_derived:
                self._store(image_id, batch.slice(i, 1), derived)
        measured = curves.Measured(
            scores_BDR=np.stack(scores),
            entropy_BD=np.stack([found.entropy_B for found in found_D], axis=1),
            map_entropy_BDR=np.stack(map_entropies),
            smooth_BDR=self._smooth_scores(films, found_D),
        )
        return curves.table(batch, self.plan, self.derived, measured)

    def _smooth_scores(self, films: "_Films", found_D: Sequence["_Explained"]) -> np.ndarray | None:
        """Similarity (B, D, R) of smoothed maps to the smoothed ones of the original, by noise of their own."""
        if self.smoothing is None:
            return None
        original = cascade.derive(self.model, self.derived[0], {}).to(self.device)
        explain = attributor.explainer_of(self.job.attribution, original, self.preprocess)
        reference = self._smooth(self.smoothing, explain, films, REFERENCE)
        pairs = (_of_image(i, reference, [found.smooth for found in found_D]) for i in range(len(films.ids)))
        return np.stack([curves.to_original(self.plan, own, derived) for own, derived in pairs])

    def _smooth(
        self, smoothing: Smoothing, explain: Explainer, films: "_Films", network: cascade.Derived | str
    ) -> dict[str, np.ndarray]:
        draws = [draw_of(image_id, network) for image_id in films.ids]
        return smoothing.maps(explain, films.inputs_BCHW, films.targets_B, draws)

    def _films(self, batch: pa.Table) -> "_Films":
        images = self.run.images
        arrays = [decode.attributed_pixels(images, row, self.preprocess) for row in batch.to_pylist()]
        inputs_BCHW = self.preprocess.inputs(torch.from_numpy(np.stack(arrays)).to(self.device))
        target, several = self.job.attribution.targets[0], self.job.data.several  # of several targets the first
        targets_B = targets.explained_outputs(target, self.record["classes"], batch["label"].to_numpy(), several)
        ids = batch["image_id"].to_pylist()
        return _Films(ids, inputs_BCHW, torch.from_numpy(targets_B).to(self.device))

    def _explain(self, one: cascade.Derived, films: "_Films") -> "_Explained":
        model = cascade.derive(self.model, one, self.initial[one.seed]).to(self.device)
        settings = self.job.attribution
        explain = attributor.explainer_of(settings, model, self.preprocess)
        found = explain(films.inputs_BCHW, films.targets_B)
        with torch.no_grad(), runtime.exact_arithmetic(settings.allow_tf32):
            logits_BK = torch.cat([model(inputs_1CHW[None]) for inputs_1CHW in films.inputs_BCHW])  # alike in any batch
        if self.job.data.several:  # each logit is of a yes or no of its own: that of the finding explained counts
            logits_BK = logits_BK.gather(1, films.targets_B[:, None])
        maps = {method: maps_Bhw.cpu().numpy() for method, maps_Bhw in found.maps.items()}
        smooth = self._smooth(self.smoothing, explain, films, one) if self.smoothing else {}
        return _Explained(maps, cascade.output_entropy(logits_BK).cpu().numpy(), smooth)

    def _store(self, image_id: str, identity: pa.Table, maps: dict[str, np.ndarray]) -> None:
        """One file an image, named by it: a retried block writes the same files again."""
        columns = {field.name: identity[field.name] for field in tables.IDENTITY}
        for position, one in enumerate(self.derived):
            for method, maps_Dhw in maps.items():
                columns[f"{method}__{one.name}"] = table_columns.tensor_column(maps_Dhw[position : position + 1])
        name = hashlib.sha256(image_id.encode()).hexdigest()[:32]
        self.run.store.write_sealed(f"{STAGING}/{DERIVED}/{name}", pa.table(columns))


def _of_image(
    i: int, own: Mapping[str, np.ndarray], derived: Sequence[Mapping[str, np.ndarray]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """One image's maps by method: its own (h, w), and those of all derived networks (D, h, w)."""
    return (
        {method: maps_Bhw[i] for method, maps_Bhw in own.items()},
        {method: np.stack([maps[method][i] for maps in derived]) for method in own},
    )
