"""The data randomization test of networks and images in memory: no files, no Ray.

Shapes: N images, C channels, S pixels a side, V models, h x w a map's own resolution.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from torch import nn

from pneumo_batch.api import arguments, scoring
from pneumo_batch.api.arguments import Models
from pneumo_batch.api.verdict import MethodVerdict, Verdict
from pneumo_batch.core import user_code, variants
from pneumo_batch.core.attribution import explainer, in_memory
from pneumo_batch.core.attribution.in_memory import UNIT, Methods, Normalise, Target
from pneumo_batch.core.models import answers, programs, runtime
from pneumo_batch.core.similarity import users_metric
from pneumo_batch.core.similarity.options import SMALLEST_SIDE
from pneumo_batch.core.statistics import classification
from pneumo_batch.core.statistics.model_facts import VariantFacts
from pneumo_batch.errors import DataError, JobError, did_you_mean
from pneumo_batch.job import jobfile
from pneumo_batch.job.schema import Compare, Train

Metric = str | Callable[[np.ndarray, np.ndarray], float]


class Primary(TypedDict, total=False):
    """What the verdict is read from, as in a job's `compare.primary`."""

    view: str
    scale: str
    metric: Metric


class Settings(TypedDict, total=False):
    """What may be given beside networks, images, methods and target."""

    normalise: Normalise
    ids: Sequence[str]
    patients: Sequence[object]
    labels: Sequence[int]
    memorised: Sequence[float]
    metrics: Sequence[Metric]
    region_grid: int
    primary: Primary
    threshold: float
    partner_seed: int
    resamples: int


_ABOUT_IMAGES = ("normalise", "ids", "patients", "labels", "memorised")


def randomization_test(
    true: Models,
    random: Models,
    images: torch.Tensor,
    methods: Methods = explainer.OWN,
    target: Target = 0,
    **settings: Unpack[Settings],
) -> Verdict:
    """Whether the maps of attribution methods follow the labels: the verdict that a run would come to.

    `true` are networks of one architecture trained on the true labels, `random` those trained on permuted labels, each
    from a seed of its own; a mapping names them. With three or more of each the verdict covers other networks too.
    `images` (N, C, S, S) are test films as the networks get them. `methods` and `target` are as in
    `pneumo_batch.attribution.attribute`. Settings:

    - `normalise`: what pixels in [0, 1] were normalised with (default: nothing); it tells where "black" is.
    - `patients`: the patient of each film. Intervals resample patients, and maps are crossed with another patient's.
      By default every image counts as its own patient; where that is not so, intervals are too narrow.
    - `labels`: the true class of each image, to check that true networks are better than chance and that random ones
      do not know it. `memorised`: for each random network, the balanced accuracy on its training
      labels. What is not given becomes a caveat of the verdict.
    - `ids`: names of the images (default: their positions); the images each is crossed with follow from them.
    - `metrics`, `region_grid`, `primary`, `threshold`, `partner_seed`, `resamples`: as in a job's `[compare]`, with its
      defaults. A metric may be a function (a_HW, b_HW) -> float.

    For the same networks, films, ids and patients every number equals that of a run's verdict.json. Nothing is written.

    Raises JobError for settings, DataError for images without a finite logit, ValueError for the rest, in one line.
    """
    _check_names(settings)
    settings = {name: value for name, value in settings.items() if value is not None}  # type: ignore[assignment]
    compare, functions = _compare(settings)
    places = _places_of(true, random, settings)
    given = _Given(images, settings)
    with user_code.given(functions):
        _check_size(compare, given.preprocess.size)
    kinds = _by_kind(true, random)
    models = {**kinds["true"], **kinds["random"]}
    given.labels_N = _labels(places, given, settings)
    maps = _maps(models, given, methods, target)
    facts = [_facts(name, model, kind, given) for kind, named in kinds.items() for name, model in named.items()]
    with user_code.given(functions):
        found = scoring.conclude(given.identity, maps, _with_memory(facts, settings), compare)
    verdicts = {method: MethodVerdict(method, result) for method, result in found.items()}
    return Verdict(verdicts, compare.primary.model_dump(), compare.threshold, len(models))


def _check_names(settings: Mapping[str, object]) -> None:
    known = Settings.__annotations__
    if unknown := [name for name in settings if name not in known]:
        hint, listed = did_you_mean(unknown[0], known), ", ".join(known)
        raise JobError(f"randomization_test: no setting {unknown[0]!r}{hint}; there are: {listed}")


def _places_of(true: Models, random: Models, settings: Settings) -> dict[str, nn.Module]:
    """Every network by what stands for it in a message. Raises ValueError for what cannot be tested."""
    known, others = arguments.by_place(true, "true"), arguments.by_place(random, "random")
    if not known:
        raise ValueError("true: no network: one or more are needed")
    arguments.check_copies(known, others)
    if "memorised" in settings:
        arguments.check_memorised(settings["memorised"], others)
    return {**known, **others}


def _by_kind(true: Models, random: Models) -> dict[variants.Kind, dict[str, nn.Module]]:
    kinds: dict[variants.Kind, dict[str, nn.Module]] = {
        "true": _named(true, "true"),
        "random": _named(random, "random"),
    }
    names = {**kinds["true"], **kinds["random"]}
    if len(names) < len(true) + len(random):
        raise ValueError(f"true and random: two networks share a name; there are: {', '.join(names)}")
    return kinds


def _labels(places: Mapping[str, nn.Module], given: "_Given", settings: Settings) -> np.ndarray | None:
    """Of the images in their order, where they are given; that every network answers an image is seen in any case."""
    outputs = [in_memory.outputs_of(place, model, given.inputs_NCSS[:1]) for place, model in places.items()]
    return arguments.labels_of(settings["labels"], min(outputs))[given.order] if "labels" in settings else None


class _Given:
    """Images sorted by their ids, and what is known of each."""

    def __init__(self, images: torch.Tensor, settings: Settings) -> None:
        self.normalise = settings.get("normalise", UNIT)
        self.preprocess = in_memory.preprocess_of(images, self.normalise)
        count = len(images)
        ids = [str(one) for one in settings.get("ids", _places(count))]
        patients = [str(one) for one in settings.get("patients", ids)]
        for name, values in (("ids", ids), ("patients", patients), ("labels", settings.get("labels"))):
            if values is not None and len(values) != count:
                raise ValueError(f"{name}: {len(values)} given for {count} images")
        if len(set(ids)) < count:
            raise ValueError(f"ids: {next(one for one in ids if ids.count(one) > 1)!r} appears twice")
        self.order = sorted(range(count), key=ids.__getitem__)
        self.inputs_NCSS = images[self.order]
        self.labels_N: np.ndarray | None = None
        self.identity = scoring.Images([ids[i] for i in self.order], [patients[i] for i in self.order], self._pixels())

    def _pixels(self) -> np.ndarray:
        gray_NSS = self.preprocess.gray(self.inputs_NCSS.detach()).mean(1)
        return (255 * gray_NSS).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def _check_size(compare: Compare, size: int) -> None:
    """Raise JobError for what has no value on images of `size` pixels a side."""
    for name in compare.metrics:
        least = SMALLEST_SIDE.get(name, 1)
        if least > size:
            raise JobError(f"metrics: {name} needs images of {least} pixels a side, these have {size}: leave it out")
    if compare.region_grid > size:
        raise JobError(
            f"region_grid: {compare.region_grid} cells per side are more than the {size} pixels of the images"
        )
    users_metric.check_all(compare.metrics, (compare.primary.metric, compare.primary.scale), size, compare.region_grid)


def _places(count: int) -> list[str]:
    return [f"{i:0{len(str(count))}d}" for i in range(count)]


def _compare(settings: Settings) -> tuple[Compare, dict[str, user_code.Code]]:
    """The job's [compare] that these settings are, and the functions among its metrics by name."""
    values: dict[str, Any] = {name: value for name, value in settings.items() if name not in _ABOUT_IMAGES}
    functions: dict[str, user_code.Code] = {}
    if "metrics" in values:
        names = user_code.names_of("metrics", values["metrics"])
        functions = {name: one for name, one in zip(names, values["metrics"], strict=True) if callable(one)}
        values["metrics"] = names
    chosen = dict(values.get("primary", {}))
    if callable(chosen.get("metric")):
        values["primary"] = {**chosen, "metric": user_code.name_of(chosen["metric"])}
    return jobfile.parse({"name": "in-memory", "compare": values}, source="randomization_test").compare, functions


def _named(models: Models, kind: variants.Kind) -> dict[str, nn.Module]:
    if isinstance(models, Mapping):
        return dict(models)
    return {variants.trained(kind, place).name: model for place, model in enumerate(models)}


def _maps(models: Mapping[str, nn.Module], given: _Given, methods: Methods, target: Target) -> dict[str, np.ndarray]:
    """By method (N, V, h, w) float32. Raises DataError for an image that a network has no number for."""
    targets_N = in_memory.targets_of(target, len(given.order))[given.order]
    found: dict[str, list[np.ndarray]] = {name: [] for name in in_memory.named(methods)[1]}
    for name, model in models.items():
        explained = in_memory.explain(model, given.inputs_NCSS, methods, targets_N, given.normalise)
        logits_N = explained.logits_B.cpu().numpy()
        for i in np.flatnonzero(~np.isfinite(logits_N)):
            reason = answers.no_answer(name, answers.not_finite(logits_N[i : i + 1]))
            raise DataError(f"images: {given.identity.ids[i]}: {reason}; leave it out")
        for method, maps_Nhw in found.items():
            maps_Nhw.append(explained.maps[method].float().cpu().numpy())
    for method, maps in found.items():
        shapes = {maps_Nhw.shape[1:] for maps_Nhw in maps}
        if len(shapes) > 1:
            raise ValueError(f"{method}: maps have shapes {shapes}: only networks of one architecture can be compared")
    return {method: np.stack(maps, axis=1) for method, maps in found.items()}


def _facts(name: str, model: nn.Module, kind: variants.Kind, given: _Given) -> VariantFacts:
    """What the images tell of a network: how well it ranks them, where labels are given."""
    if given.labels_N is None:
        return VariantFacts(name, kind)
    frozen = programs.frozen_copy(model)
    inputs_NCSS = given.inputs_NCSS.to(next(frozen.parameters()))
    with torch.no_grad(), runtime.exact_arithmetic():
        logits_NK = torch.cat([frozen(one_CSS[None]) for one_CSS in inputs_NCSS]).float().cpu().numpy()
    codes_N = np.unique(given.identity.patients, return_inverse=True)[1]
    low, high = classification.auroc_interval(logits_NK, given.labels_N, codes_N)
    auroc = classification.auroc_of(logits_NK, given.labels_N)
    return VariantFacts(name, kind, auroc=auroc, auroc_low=low, auroc_high=high)


def _with_memory(facts: Sequence[VariantFacts], settings: Settings) -> list[VariantFacts]:
    """What a network is known to have memorised, of the random ones in their order."""
    known = settings.get("memorised")
    places = [place for place, one in enumerate(facts) if not one.is_true]
    if known is None:
        return list(facts)
    told = dict(zip(places, known, strict=True))
    required = Train().memorise
    return [
        dataclasses.replace(one, memorised=float(told[place]), required=required) if place in told else one
        for place, one in enumerate(facts)
    ]
