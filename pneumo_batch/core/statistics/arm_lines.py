"""What a run with further arms found, in lines of text: the terminal's, and first those of the report."""

from collections.abc import Mapping

from pneumo_batch.core.statistics import doses, reading
from pneumo_batch.core.statistics.results import ArmResult, MethodResult, Results
from pneumo_batch.core.statistics.wording import method_name, of_the_first
from pneumo_batch.core.statistics.words import described
from pneumo_batch.core.variants import Arm


def arm_of(name: str, found: ArmResult) -> Arm:
    """What verdict.json tells of an arm."""
    return Arm(name, found.labels, found.fraction, found.unit, tuple(found.within), found.network)


def dose_lines(results: Results) -> list[str]:
    """A sentence a method on how its label share goes with the share of labels permuted; none without such arms."""
    curve = doses.doses(results)
    found = {method: doses.read(curve, method) for method in results.methods}
    of = of_the_first(results.first_target)
    return [f"{method_name(method)}{of}: {sentence}" for method, sentence in found.items() if sentence]


def arm_lines(results: Results) -> list[str]:
    """A line for each arm beside the one that the verdicts are of."""
    of = of_the_first(results.first_target)
    return [
        f"{name} ({described(arm_of(name, arm))}){of}: {_listed(arm.methods)}"
        for name, arm in results.arms.items()
        if name != results.contrast
    ]


def _listed(methods: Mapping[str, MethodResult]) -> str:
    return "; ".join(f"{method} {one.verdict}, L = {share(one)}" for method, one in methods.items())


def share(found: MethodResult) -> str:
    """The label share with its interval, of these models where there is no other."""
    value = found.numbers.share
    return reading.with_interval(value if value.ci_low is not None else value.for_these_models, None)
