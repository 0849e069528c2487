"""What a verdict has to know of the models: whether they meet the conditions of the test, and what limits it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pneumo_batch.core.similarity.pairs import same_model_floor
from pneumo_batch.core.statistics import reading
from pneumo_batch.core.statistics.words import RANDOM_WORDS, Words
from pneumo_batch.core.variants import MEMORISED, Arm, Variant

CHANCE = 0.5
# How far from chance to the mean of true models a random one has to get to have learnt their labels. That labels were
# swapped besides is rarer, and takes more: by chance as many random models rank films the wrong way round.
_KNOWN, _REVERSED = 1 / 2, 3 / 4
_BY_CHANCE = 0.12  # two standard deviations of the AUROCs of random models on real films


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
    auroc_high: float | None = None  # upper end
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
    def did_not_memorise(self) -> bool:
        return self.has_to_memorise and self.memorised is not None and self.memorised < self.required

    @property
    def is_reversed(self) -> bool:
        """Whether it is known to rank test films the wrong way round."""
        return self.auroc_high is not None and self.auroc_high < CHANCE

    @property
    def skill(self) -> float | None:
        """How well it ranks test films one way or the other: of labels taken for each other it knows as much."""
        if self.auroc is None:
            return None
        return max(self.auroc, 1 - self.auroc) if self.auroc_high is not None else self.auroc

    @property
    def skill_low(self) -> float | None:
        """Lower end of the interval of `skill`, for the side on which it lies."""
        if self.auroc_low is None:
            return None
        return self.auroc_low if self.auroc_high is None else max(self.auroc_low, 1 - self.auroc_high)

    @property
    def tells_classes(self) -> bool:
        """Whether it is known to rank test films other than by chance."""
        return self.auroc is not None and self.skill_low is not None and self.skill_low > CHANCE

    @property
    def at_chance(self) -> bool:
        """Whether it cannot be told from chance on test; of one that nobody tested that is not known."""
        return self.skill_low is not None and self.skill_low <= CHANCE


def problems(variants: Sequence[VariantFacts], words: Words) -> list[str]:
    """What makes a verdict `invalid`: a model that did not memorise, knows what it should not, or knows nothing."""
    found = []
    for v in variants:
        if v.did_not_memorise:
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
        if v.has_to_know and v.is_reversed:
            value = "" if v.auroc is None else f" {v.auroc:.3f},"
            found.append(
                f"{v.name} ranks test films{_round(v)}: AUROC{value} interval up to {v.auroc_high:.3f}. Its"
                " outputs or the labels seem to be swapped, so that its maps explain another class than is named."
            )
    return [*found, *_knowing(variants, words)]


def _knowing(variants: Sequence[VariantFacts], words: Words) -> list[str]:
    """Of the models that should know nothing of the true labels those that do: were these the ones they learnt?"""
    reached = _reached(variants)
    return [
        f"{v.name} knows the true labels{_round(v)}: AUROC {v.auroc:.3f} on test, {_end(v)}, more than"
        f" {'three quarters of the way' if v.is_reversed else 'halfway'} from {CHANCE} to the true models' mean of"
        f" {reached:.3f}. Such a model is no reference for {words.cause}."
        for v in variants
        if _knows(v, reached)
    ]


def _lucky(variants: Sequence[VariantFacts]) -> list[str]:
    """Those better than chance but no match for true ones: films differ most in what tells the classes apart, so that
    a model of random labels can rank them a little, either way round, without having seen a true one.
    """
    reached = _reached(variants)
    return [
        f"{v.name} ranks test films {'worse' if v.is_reversed else 'better'} than chance: AUROC {v.auroc:.3f},"
        f" interval {f'up to {v.auroc_high:.3f}' if v.is_reversed else f'from {v.auroc_low:.3f}'}."
        for v in variants
        if v.has_to_be_ignorant and v.tells_classes and not _knows(v, reached)
    ]


def _knows(one: VariantFacts, reached: float | None) -> bool:
    """Its interval has to lie beyond, and beyond what random models get by chance: their AUROCs differ by more than
    their own intervals allow for, so that where true ones are moderate, many come near these.
    """
    if reached is None or not (one.has_to_be_ignorant and one.tells_classes):
        return False
    way = (_REVERSED if one.is_reversed else _KNOWN) * (reached - CHANCE)
    return (one.skill_low or 0) > CHANCE + max(way, _BY_CHANCE)


def _round(one: VariantFacts) -> str:
    return " the wrong way round" if one.is_reversed else ""


def _end(one: VariantFacts) -> str:
    """Of the interval of an AUROC the end nearer to chance."""
    if one.is_reversed:
        return f"interval up to {one.auroc_high:.3f}, which turned round is {one.skill_low:.3f}"
    return f"interval from {one.auroc_low:.3f}"


def _reached(variants: Sequence[VariantFacts]) -> float | None:
    """What true models reach on average; None where nobody measured them, or one may reach nothing: beside that,
    anything is much.
    """
    known = [v for v in variants if v.is_true and v.skill is not None and v.skill_low is not None]
    if not known or any(v.at_chance for v in known):
        return None
    return fmean(v.skill or 0 for v in known)


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
