"""An arm contrasted with the true one: the test of the random arm, with its words."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pneumo_batch.core.similarity import pairs
from pneumo_batch.core.similarity.per_image import PerImage
from pneumo_batch.core.statistics import label_share, verdict
from pneumo_batch.core.statistics.options import RESAMPLES
from pneumo_batch.core.statistics.results import ArmResult, CellTest, MethodResult, Primary
from pneumo_batch.core.statistics.verdict import VariantFacts
from pneumo_batch.core.statistics.words import words_of
from pneumo_batch.core.variants import Arm, contrast, names_of

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
    return {method: _with_own_kinds(one, arm.name) for method, one in found.items()}


def result_of(arm: Arm, names: Sequence[str], methods: Mapping[str, MethodResult]) -> ArmResult:
    """An arm as verdict.json has it."""
    return ArmResult(arm.labels, arm.fraction, arm.unit, list(arm.within), arm.network, list(names), methods)


def _with_own_kinds(found: MethodResult, arm: str) -> MethodResult:
    """Means under the kinds that scores and summary have them under."""
    if arm == "random":
        return found
    own = {called: kind for kind, called in pairs.as_contrast(arm).items()}

    def renamed(test: Tested) -> Tested:
        return dataclasses.replace(test, means={own[kind]: mean for kind, mean in test.means.items()})

    cells = {key: renamed(cell) for key, cell in found.cells.items()}
    return dataclasses.replace(found, numbers=renamed(found.numbers), cells=cells)
