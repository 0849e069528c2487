"""Arms of a run in the words of its methods, each with the paper that asked its question first."""

from collections.abc import Sequence

from pneumo_batch.core.statistics.arm_lines import arm_of
from pneumo_batch.core.statistics.wording import listed
from pneumo_batch.core.statistics.words import RANDOM_WORDS, Words, described, words_of
from pneumo_batch.core.variants import RANDOM, Arm
from pneumo_batch.job.schema.arms import ArmSpec
from pneumo_batch.report.paper.references import Citations
from pneumo_batch.report.source import Source


def contrast(source: Source) -> Arm:
    """The arm that the verdicts of the run contrast with the true one."""
    name = source.results.contrast
    return arm_of(name, source.results.arms[name]) if name in source.results.arms else source.job.arms[name]


def words(source: Source) -> Words:
    return RANDOM_WORDS if source.results.contrast == RANDOM else words_of(contrast(source))


def sources(arm: Arm, cite: Citations) -> str:
    """The papers behind what an arm changes, as a mark behind its words; nothing where it is the plain test."""
    papers = []
    if arm.is_permuted and 0 < arm.fraction < 1:
        papers.append("maennel")
    if arm.unit == "patient":
        papers.append("chaibub_neto_2019")
    if arm.within:
        papers.append("chaibub_neto_2018")
    if arm.unit == "patient" and arm.within:
        papers.append("winkler")
    if arm.column:
        papers.append("yona")
    if arm.network:
        papers.append("arun_2021")
    return cite(*papers) if papers else ""


def sentence(source: Source, cite: Citations) -> str:
    """What `[[arm]]` tables add to the training."""
    specs = source.job.arm
    listing = [
        f"{len(spec.seeds)} with {described(spec.arm)}{sources(spec.arm, cite)} ({spec.name}, {seeds(spec.seeds)})"
        for spec in specs
    ]
    trained = "; those with permuted labels were trained " + until(source) if _permuted(specs) else ""
    return f"Further networks were contrasted with those of true labels in the same way: {listed(listing)}{trained}."


def _permuted(specs: list[ArmSpec]) -> bool:
    return any(spec.arm.is_permuted for spec in specs)


def until(source: Source) -> str:
    """When a training on permuted labels ends."""
    train = source.job.train
    until = f"until their balanced accuracy on them was {train.memorise:g}"
    return f"{until} or for at most {train.max_epochs} epochs"


def seeds(values: Sequence[int]) -> str:
    return f"{'seed' if len(values) == 1 else 'seeds'} {listed([str(seed) for seed in values])}"


def conditions(source: Source) -> list[str]:
    """When models make a verdict invalid, of the run's own contrast and of its further arms: what was measured."""
    arms = {arm.name: arm for arm in [contrast(source), *(spec.arm for spec in source.job.arm)]}
    found, variants = [], source.results.variants.values()
    if is_tested := any(one.test.auroc_interval[0] is not None for one in variants):
        found.append(
            "a network of true labels was not known to be better than chance on the test images (the interval of its"
            " AUROC not above 0.5)"
        )
    if is_tested and any(arm.is_permuted and arm.fraction == 1 for arm in arms.values()):
        found.append(
            "one with fully permuted labels knew the true ones (the interval of its AUROC, or of 1 less it, above the"
            " middle between 0.5 and the mean of networks of true labels)"
        )
    if any(arm.is_permuted for arm in arms.values()) and any(one.memorised is not None for one in variants):
        one = "one" if found else "a network"
        found.append(f"{one} with permuted labels did not memorise them")
    if is_tested and any(arm.column for arm in arms.values()):
        found.append("one trained on another column was not known to be better than chance at that")
    return found
