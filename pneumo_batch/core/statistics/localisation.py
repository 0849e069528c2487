"""How well maps point at what films show: the values of every map, their means, and what they are held against.

Shapes: N films, M measures.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pneumo_batch.core import tables
from pneumo_batch.core.similarity.kernels import defined_mean
from pneumo_batch.core.statistics import bootstrap
from pneumo_batch.core.statistics.numbers import number
from pneumo_batch.core.statistics.pointing import (
    CROSS_IMAGE,
    EDGE,
    MEAN_MASK,
    MEASURES,
    TRUE,
    Localisation,
    Located,
    MaskOf,
    Mean,
    Means,
    OfFinding,
)

_SEED = 0

Key = tuple[str | None, str]  # method (None of a map that no method makes), and variant or baseline


@dataclass(frozen=True)
class Measured:
    """The values (N, M) of the maps of N films that show a finding; NaN where one is undefined, or has no map."""

    finding: str
    image_ids: Sequence[str]
    patient_ids: Sequence[str]
    there: int  # films that could have been measured
    inside_N: np.ndarray  # share of pixels inside
    mean_mask_of: MaskOf | None
    values: Mapping[Key, np.ndarray]

    def rows(self) -> pa.Table:
        """As the table of a run (schema LOCALISATION): a row each film, map and measure."""
        parts = [self._rows(key, values_NM) for key, values_NM in self.values.items()]
        return pa.concat_tables([tables.LOCALISATION.empty_table(), *parts])

    def _rows(self, key: Key, values_NM: np.ndarray) -> pa.Table:
        method, variant = key
        films, measures = values_NM.shape
        columns = {
            "image_id": np.repeat(np.array(self.image_ids, object), measures),
            "patient_id": np.repeat(np.array(self.patient_ids, object), measures),
            "finding": [self.finding] * values_NM.size,
            "method": [method] * values_NM.size,
            "variant": [variant] * values_NM.size,
            "measure": list(MEASURES) * films,
            "value": values_NM.ravel(),
        }
        return pa.table(columns, schema=tables.LOCALISATION)


def conclude(found: Sequence[Measured], kinds: Mapping[str, Sequence[str]], resamples: int) -> Localisation:
    """The means of what was measured; `kinds` are names of variants by kind."""
    measured = [one for one in found if len(one.image_ids)]
    if not measured:
        return Localisation(images=0, chance=None, methods={})
    findings = {one.finding: of_finding(one, kinds, resamples) for one in measured}
    chance = float(np.concatenate([one.inside_N for one in measured]).mean())
    names = [name for variants in kinds.values() for name in variants]
    return Localisation(sum(len(one.image_ids) for one in measured), chance, _together(measured, names), findings)


def of_finding(one: Measured, kinds: Mapping[str, Sequence[str]], resamples: int) -> OfFinding:
    """Means with intervals: every quantity from the same resamples of patients."""
    methods = list(dict.fromkeys(method for method, _ in one.values if method is not None))
    every = {(method, kind): _mean_of(one, method, kinds[kind]) for method in methods for kind in kinds}
    by_kind: dict[Key, np.ndarray] = {key: values_NM for key, values_NM in every.items() if values_NM is not None}
    means = _means({**one.values, **by_kind}, one.patient_ids, resamples)
    differences = _means(dict(_differences(one, by_kind)), one.patient_ids, resamples)
    return OfFinding(
        films=len(one.image_ids),
        patients=len(set(one.patient_ids)),
        there=one.there,
        chance=float(one.inside_N.mean()),
        mean_mask_of=one.mean_mask_of,
        methods=_by_method({key: means[key] for key in one.values if key[0] is not None}),
        kinds=_by_method({key: means[key] for key in by_kind}),
        baselines={name: means[method, name] for method, name in one.values if method is None},
        differences=_by_method(differences),
    )


def _mean_of(one: Measured, method: str, variants: Sequence[str]) -> np.ndarray | None:
    """(N, M): the mean over variants of the values that are defined; None where no variant is there."""
    found = [one.values[method, name] for name in variants if (method, name) in one.values]
    return defined_mean(np.stack(found), axis=0) if found else None


def _differences(one: Measured, by_kind: Mapping[Key, np.ndarray]) -> Iterator[tuple[Key, np.ndarray]]:
    """By method and what the mean of the true variants is held against."""
    for (method, kind), true_NM in by_kind.items():
        if kind != TRUE:
            continue
        others = {name: by_kind.get((method, name)) for _, name in by_kind if name != TRUE}
        others |= {name: one.values.get((None, name)) for name in (MEAN_MASK, EDGE)}
        others[CROSS_IMAGE] = one.values.get((method, CROSS_IMAGE))
        yield from (((method, name), true_NM - other) for name, other in others.items() if other is not None)


def _means(quantities: Mapping[Key, np.ndarray], patient_ids: Sequence[str], resamples: int) -> dict[Key, Means]:
    if not quantities:
        return {}
    values_NQ = np.concatenate(list(quantities.values()), axis=1)
    codes_N = np.unique(np.asarray(patient_ids), return_inverse=True)[1]
    limits_2Q = bootstrap.interval(bootstrap.means(values_NQ, codes_N, resamples, _SEED))
    films_Q, mean_Q = (~np.isnan(values_NQ)).sum(axis=0), defined_mean(values_NQ, axis=0)
    found = [
        Mean(number(mean), number(low), number(high), int(films))
        for mean, (low, high), films in zip(mean_Q, limits_2Q.T, films_Q, strict=True)
    ]
    parts = (found[i : i + len(MEASURES)] for i in range(0, len(found), len(MEASURES)))
    return {key: dict(zip(MEASURES, part, strict=True)) for key, part in zip(quantities, parts, strict=True)}


def _by_method(means: Mapping[Key, Means]) -> dict[str, dict[str, Means]]:
    found: dict[str, dict[str, Means]] = {}
    for (method, name), one in means.items():
        assert method is not None
        found.setdefault(method, {})[name] = one
    return found


def _together(measured: Sequence[Measured], variants: Sequence[str]) -> dict[str, dict[str, Located]]:
    """By method and variant, the means over the films of all findings."""
    found: dict[str, dict[str, Located]] = {}
    for method, name in dict.fromkeys(key for one in measured for key in one.values):
        if method is None or name not in variants:
            continue
        values_NM = np.concatenate([one.values[method, name] for one in measured if (method, name) in one.values])
        hit, auprc, iou, share = (number(mean) for mean in defined_mean(values_NM, axis=0))
        found.setdefault(method, {})[name] = Located(share, hit, auprc, iou)
    return found
