"""What an arm is called in sentences about it. Light: the terminal and the report say it too."""

from dataclasses import dataclass

from pneumo_batch.core.variants import RANDOM, Arm

# How a reason ends where h is not above 0, and no model is to blame: known to be next to nothing, or not known.
NO_MAP = "There is no reproducible map to test."
UNTOLD_MAP = "There is no map known to be reproducible, which the test takes."


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
    how += f" within {' and '.join(arm.within)}" if arm.within else ""
    return f"{100 * arm.fraction:g} % of the labels permuted{how}"
