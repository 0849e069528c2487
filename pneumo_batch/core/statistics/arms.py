"""An arm contrasted with the true one: the test of the random arm, with its words."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pneumo_batch.core.similarity import pairs
from pneumo_batch.core.similarity.per_image import PerImage
from pneumo_batch.core.statistics import label_share, verdict
from pneumo_batch.core.statistics.estimates import CellTest
from pneumo_batch.core.statistics.model_facts import VariantFacts
from pneumo_batch.core.statistics.options import RESAMPLES
from pneumo_batch.core.statistics.results import ArmResult, MethodResult, Primary
from pneumo_batch.core.statistics.words import words_of
from pneumo_batch.core.variants import RANDOM, Arm, Variant, contrast, names_of

Tested = TypeVar("Tested", bound=CellTest)


@dataclass(frozen=True)
class Rule:
    """What a verdict is read from and compared with, and how many resamples of the patients an interval takes."""

    primary: Primary
    threshold: float
    resamples: int = RESAMPLES


def conclude(data: PerImage, variants: Sequence[VariantFacts], arm: Arm, rule: Rule) -> dict[str, MethodResult]:
    """The verdict of every method on what an arm changes: its decomposition of true pairs and mixed ones.

    `data` and `variants` are of the whole run; models of further arms take no part.
    """
    contrasted = contrast(variants, arm.name)
    names = (names_of(contrasted, kind) for kind in ("true", "random"))
    tests = label_share.randomization_test(data.contrast(arm.name), *names, resamples=rule.resamples)
    facts = [one for one in variants if one.is_true or one.kind == arm.name]
    found = verdict.conclude(facts, tests, rule.primary, rule.threshold, words_of(arm))
    own = {called: kind for kind, called in pairs.as_contrast(arm.name).items()}
    return {method: _renamed(one, own) for method, one in found.items()}


def results_of(
    arms: Mapping[str, Arm], variants: Sequence[Variant], methods: Mapping[str, Mapping[str, MethodResult]]
) -> dict[str, ArmResult]:
    """Every arm as verdict.json has it, by name; none where there is only the random one, which needs no telling."""
    if set(methods) <= {RANDOM}:
        return {}
    return {
        name: ArmResult(
            one.labels, one.fraction, one.unit, list(one.within), one.network, names_of(variants, name), found
        )
        for name, found in methods.items()
        if (one := arms.get(name))
    }


def as_random(found: MethodResult, arm: str) -> MethodResult:
    """With its means under the kinds of the random arm, in whose place an arm stands."""
    return _renamed(found, pairs.as_contrast(arm))


def _renamed(found: MethodResult, kinds: Mapping[str, str]) -> MethodResult:
    def renamed(test: Tested) -> Tested:
        return dataclasses.replace(test, means={kinds[kind]: mean for kind, mean in test.means.items()})

    cells = {key: renamed(cell) for key, cell in found.cells.items()}
    return dataclasses.replace(found, numbers=renamed(found.numbers), cells=cells)
