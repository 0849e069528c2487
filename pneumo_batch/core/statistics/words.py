"""What an arm is called: in sentences about it, beside a model, in its card. Light: the terminal says it too."""

from dataclasses import dataclass

from pneumo_batch.core.statistics.wording import listed
from pneumo_batch.core.variants import RANDOM, TRUE, Arm


@dataclass(frozen=True)
class Words:
    """Of the arm that is contrasted with the true one."""

    models: str = "random"  # its models
    one: str = "a random one"
    cause: str = "random labels"  # what makes its models others
    lost: str = "is owed to the labels"  # of what true models agree on, where they do not agree with these
    left: str = "is there without the labels"
    changed: str = "which is the change that random labels make on every film"
    unchanged: str = "so random labels change nothing measurable there"
    untold: str = "too wide an interval to tell what random labels change there"


RANDOM_WORDS = Words()


def words_of(arm: Arm) -> Words:
    if arm.name == RANDOM:
        return RANDOM_WORDS
    cause = described(arm)
    lost, left = f"is lost with {cause}", f"is there with {cause}"
    if not arm.is_trained:
        lost, left = "is owed to training", "is there without training"
    changed = f"which is the change on every film with {cause}"
    unchanged = f"so nothing measurable changes there with {cause}"
    untold = f"too wide an interval to tell what changes there with {cause}"
    return Words(arm.name, f"one of {arm.name}", cause, lost, left, changed, unchanged, untold)


def described(arm: Arm) -> str:
    """What the models of an arm have that true ones have not."""
    labels = _labels(arm)
    if arm.network is None:
        return labels or "other seeds"
    return f"{labels} and another network, {arm.network}" if labels else f"another network, {arm.network}"


def _labels(arm: Arm) -> str:
    if arm.column:
        return f"{arm.column} for labels"
    if arm.labels == "true":
        return ""
    if not arm.is_trained:
        return "fresh weights"
    if arm.fraction == 0:
        return "true labels learnt by heart"
    how = " by patient" if arm.unit == "patient" else ""
    how += f" within {listed(arm.within)}" if arm.within else ""
    return f"{100 * arm.fraction:g} % of the labels permuted{how}"


def labels_of(arm: Arm) -> str:
    """A few words beside the name of one of its models."""
    return f"{arm.name} labels" if arm.name in (TRUE, RANDOM) else described(arm)


def permuted(arm: Arm) -> str:
    """How labels were permuted, where not freely: ", ..."."""
    how = [", those of a patient together, among patients with equally many films"] if arm.unit == "patient" else []
    within = [f", among films of the same {listed(arm.within)}"] if arm.within else []
    return "".join([*how, *within])


def trained_on(arm: Arm, kept: float | None) -> str:
    """What a model was given to learn; `kept` is the share of its labels that equal the true ones."""
    if not arm.is_trained:
        return "None: it was not trained, its weights are fresh."
    if arm.column:
        return f"Another column of the same films: {arm.column}."
    if not arm.is_permuted:
        return "The true labels."
    beside = f" {kept:.1%} of them equal the true ones." if kept is not None else ""
    if arm.fraction < 1:
        among = f" ({how.removeprefix(', ')})" if (how := permuted(arm)) else ""
        told = f" {kept:.1%} of the training labels equal the true ones." if kept is not None else ""
        return f"{100 * arm.fraction:g} % of the labels permuted{among}, the others true:{told}".rstrip(":")
    if how := permuted(arm):
        return f"The training labels, permuted at random{how}.{beside}"
    return f"The training labels, permuted at random: they carry no information about the images.{beside}"
