"""From maps in memory to the verdict of each method, by what a run's stages `compare` and `conclude` call.

Shapes: N images, V models, h x w a map's own resolution, S pixels a side.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pneumo_batch.core.similarity import comparison, pairs, per_image
from pneumo_batch.core.similarity.per_image import PerImage
from pneumo_batch.core.statistics import label_share, scales, verdict
from pneumo_batch.core.statistics.model_facts import VariantFacts
from pneumo_batch.core.statistics.results import MethodResult, Primary
from pneumo_batch.job.schema import Compare


@dataclass(frozen=True)
class Images:
    """Identity and pixels of N images, sorted by id: sums are then in a run's order, to the last digit."""

    ids: list[str]
    patients: list[str]
    pixels_NSS: np.ndarray  # uint8, what the networks saw

    @property
    def table(self) -> pa.Table:
        labels = pa.array(np.zeros(len(self.ids), np.int32))  # of no use to a verdict
        return pa.table({"image_id": self.ids, "label": labels, "patient_id": self.patients})


Maps = Mapping[str, np.ndarray]  # by method (N, V, h, w), float32


def similarities(images: Images, maps: Maps, models: Sequence[VariantFacts], settings: Compare) -> PerImage:
    """Every score of a run's scores table, and in its precision."""
    plan = comparison.Comparison(
        variants=tuple(models),
        methods=tuple(maps),
        metrics=tuple(settings.metrics),
        region_grid=settings.region_grid,
        size=images.pixels_NSS.shape[1],
        seed=settings.partner_seed,
    )
    scores_NR = _scores(plan, images, maps)
    return per_image.gather(plan.table(images.table, scores_NR), images.table)


def _scores(plan: comparison.Comparison, images: Images, maps: Maps) -> np.ndarray:
    regions = functools.cache(lambda i: plan.regions({name: maps_NVhw[i] for name, maps_NVhw in maps.items()}))

    @functools.lru_cache(maxsize=4)  # in the order of the loop an image's first partner is most often the next
    def features(i: int) -> comparison.ImageFeatures:
        return plan.features({name: maps_NVhw[i] for name, maps_NVhw in maps.items()}, regions(i))

    order_N = pairs.hash_order(images.ids, plan.seed)
    partners_NC = pairs.partners(images.ids, images.patients, plan.seed, max(pairs.PARTNERS.values()))
    plan.check_self_pairs(features(int(order_N[0])))
    found = {}
    for i in order_N.tolist():
        crossed = [j for j in partners_NC[i].tolist() if j >= 0]
        others = comparison.Others(features(crossed[0]), [regions(j) for j in crossed])
        found[i] = plan.score(images.ids[i], images.pixels_NSS[i], features(i), others)
    return np.stack([found[i] for i in range(len(images.ids))])


def conclude(images: Images, maps: Maps, models: Sequence[VariantFacts], settings: Compare) -> dict[str, MethodResult]:
    """The verdict of every method."""
    data = similarities(images, maps, models, settings)
    true, random = ([one.name for one in models if one.is_true is kind] for kind in (True, False))
    tests = label_share.randomization_test(data, true, random, resamples=settings.resamples)
    primary = Primary(settings.primary.view, settings.primary.scale, settings.primary.metric)
    found = verdict.conclude(models, tests, primary, settings.threshold)
    curves = [_curve(images, name, maps[name], models, settings) for name in maps]
    return scales.add_to({name: found[name] for name in maps}, pa.concat_tables(curves), primary.view)


def _curve(
    images: Images, method: str, maps_NVhw: np.ndarray, models: Sequence[VariantFacts], settings: Compare
) -> pa.Table:
    """Agreement by the number of cells, on the sample that a run takes."""
    chosen = scales.sample(images.ids, images.patients, seed=settings.partner_seed)
    of = dict(zip(images.ids, maps_NVhw, strict=True))
    curve = scales.Curve(method, tuple(models), images.pixels_NSS.shape[1])
    return curve.table(chosen, of.__getitem__, resamples=settings.resamples)
