"""What a verdict has to know of the models: whether they meet the conditions of the test, and what limits it."""

from collections.abc import Sequence
from dataclasses import dataclass

from pneumo_batch.core.similarity.pairs import same_model_floor
from pneumo_batch.core.statistics import reading
from pneumo_batch.core.statistics.words import RANDOM_WORDS, Words
from pneumo_batch.core.variants import MEMORISED, Arm, Variant

CHANCE = 0.5


@dataclass(frozen=True)
class VariantFacts(Variant):
    """A variant with what the verdict needs to know of it; None where nobody measured it."""

    memorised: float | None = (
        None  # of one with permuted labels: balanced accuracy on the training labels it was given, in eval mode
    )
    required: float = MEMORISED  # of such a one
    majority: float | None = None  # what always naming the most frequent label would score by that measure
    auroc: float | None = None  # on test; of another column that one's
    auroc_low: float | None = None  # lower end of its 95 % interval
    training_accuracy: float | None = None  # of either kind, on the labels it was given, in eval mode
    epochs: int | None = None
    measure: str = "accuracy"  # what `training_accuracy` is, in words
    arm: Arm | None = None  # None: the kind says it

    @property
    def has_to_memorise(self) -> bool:
        return self.arm.is_permuted if self.arm else not self.is_true

    @property
    def has_to_know(self) -> bool:
        """Whether what it was taught can be told from films it has not seen."""
        return self.arm.is_trained and not self.arm.is_permuted if self.arm else self.is_true

    @property
    def has_to_be_ignorant(self) -> bool:
        """Whether it saw no true label but by chance; of labels permuted in part it has seen some."""
        return self.arm.is_permuted and self.arm.fraction == 1 if self.arm else not self.is_true

    @property
    def beats_chance(self) -> bool:
        return self.auroc is not None and self.auroc_low is not None and self.auroc_low > CHANCE

    @property
    def at_chance(self) -> bool:
        """Whether it cannot be told from chance on test; of one that nobody tested that is not known."""
        return self.auroc_low is not None and self.auroc_low <= CHANCE


def problems(variants: Sequence[VariantFacts], words: Words) -> list[str]:
    """What makes a verdict `invalid`: a model that did not memorise, knows what it should not, or knows nothing."""
    found = []
    for v in variants:
        if v.has_to_memorise and v.memorised is not None and v.memorised < v.required:
            beside = "" if v.majority is None else f"; a majority guess scores {v.majority:.3f}"
            found.append(
                f"{v.name} did not memorise its labels: balanced accuracy {v.memorised:.4f} on them,"
                f" {v.required:.2f} required{beside}. A model that fitted nothing is no reference for {words.cause}."
            )
        if v.has_to_know and v.at_chance:
            value = "" if v.auroc is None else f" {v.auroc:.3f},"
            found.append(
                f"{v.name} cannot be told from chance on test: AUROC{value} interval from {v.auroc_low:.3f}."
                " A model that learned nothing has no explanation to be true to."
            )
    return [*found, *_knowing(variants, words)]


def _knowing(variants: Sequence[VariantFacts], words: Words) -> list[str]:
    """Of the models that should know nothing of the true labels those that do: were these the ones they learnt?"""
    worst = _worst_true(variants)
    if worst is None:
        return []
    return [
        f"{v.name} ranks test films as well as a true model: AUROC {v.auroc:.3f} (interval from {v.auroc_low:.3f}),"
        f" {worst.name}'s interval begins at {worst.auroc_low:.3f}. A model that knows the true labels is no reference"
        f" for {words.cause}."
        for v in variants
        if _knows(v, worst)
    ]


def _lucky(variants: Sequence[VariantFacts]) -> list[str]:
    """Those better than chance but no match for a true one: films differ most in what tells the classes apart, so that
    a model of random labels can rank them a little without having seen a true one.
    """
    worst = _worst_true(variants)
    return [
        f"{v.name} ranks test films better than chance: AUROC {v.auroc:.3f}, interval from {v.auroc_low:.3f}."
        for v in variants
        if v.has_to_be_ignorant and v.beats_chance and not (worst and _knows(v, worst))
    ]


def _knows(one: VariantFacts, worst: VariantFacts) -> bool:
    return one.has_to_be_ignorant and one.beats_chance and (one.auroc or 0) >= (worst.auroc_low or 0)


def _worst_true(variants: Sequence[VariantFacts]) -> VariantFacts | None:
    """The true model whose interval of the AUROC begins lowest; None where that was measured of none."""
    known = [v for v in variants if v.is_true and v.auroc_low is not None]
    return min(known, key=lambda v: v.auroc_low or 0, default=None)


def caveats(variants: Sequence[VariantFacts], words: Words) -> list[str]:
    """What nobody measured, what is odd, how far both kinds were trained."""
    return [*_unknowns(variants, words), *_lucky(variants), *_training(variants, words), *_floor(variants)]


def _floor(variants: Sequence[VariantFacts]) -> list[str]:
    if same_model_floor(variants):
        return ["The cross-image floor compares one model with itself, which makes it too high."]
    return []


def _training(variants: Sequence[VariantFacts], words: Words) -> list[str]:
    """How far each kind was trained: a difference of the two shows in maps beside that of the labels."""
    parts = []
    for kind, is_true in (("true", True), (words.models, False)):
        mine = [
            v for v in variants if v.is_true is is_true and v.training_accuracy is not None and v.epochs is not None
        ]
        if not mine:
            return []
        accuracy = _span([v.training_accuracy for v in mine], "{:.3f}")
        parts.append(f"{kind} models {accuracy} after {_span([v.epochs for v in mine], '{}')} epochs")
    measure = variants[0].measure.capitalize()
    return [f"{measure} on the training labels they were given: {parts[0]}, {parts[1]}."]


def _unknowns(variants: Sequence[VariantFacts], words: Words) -> list[str]:
    memory = [v.name for v in variants if v.has_to_memorise and v.memorised is None]
    skill = [v.name for v in variants if v.has_to_know and v.auroc_low is None]
    found, given = [], "random" if words == RANDOM_WORDS else "given"
    if memory:
        found.append(
            f"It was not measured whether {reading.joined(memory)} memorised the {given} labels: a model that did not"
            " is no reference for them."
        )
    if skill:
        verb = "is" if len(skill) == 1 else "are"
        found.append(f"It was not measured whether {reading.joined(skill)} {verb} better than chance on test.")
    return found


def _span(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    low, high = form.format(min(known)), form.format(max(known))
    return low if low == high else f"{low} to {high}"
