"""What a run found, in a few words: the same in the terminal, in lists of runs and in the report."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from pneumo_batch.core.method_names import method_of, setting_of
from pneumo_batch.core.statistics.outcomes import NO_MAP, UNTOLD_MAP
from pneumo_batch.core.statistics.results import MethodResult

_METHODS = {
    "grad_cam": "Grad-CAM",
    "guided_grad_cam": "Guided Grad-CAM",
    "deep_lift": "DeepLIFT",
    "integrated_gradients_unscaled": "Unscaled Integrated Gradients",
}
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_FOLLOW, _SHOW, _OPEN, _NOTHING, _UNTOLD, _UNFIT = "follow", "show", "open", "nothing", "untold", "unfit"
_OUTCOMES = {"sensitive": _FOLLOW, "insensitive": _SHOW, "inconclusive": _OPEN}


def method_name(method: str) -> str:
    """A method as papers write it, with its setting; a function of the user's keeps its name."""
    plain, setting = method_of(method), setting_of(method)
    name = plain if ":" in plain else _METHODS.get(plain, plain.replace("_", " ").title())
    return f"{name} ({setting})" if setting else name


def listed(names: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}" if names else "none"


def common(reasons: Iterable[Sequence[str]]) -> list[str]:
    """Of the reasons of several verdicts those they have in common, to be said once for all; none of a single verdict.

    They are those that all begin with: conditions of the models stand before what is a method's own, and of that a
    sentence may be the same by chance, and makes no sense without the one before it.
    """
    every = list(reasons)
    if len(every) < 2:
        return []
    return [lines[0] for lines in itertools.takewhile(lambda lines: len(set(lines)) == 1, zip(*every, strict=False))]


def of_the_first(target: str | None) -> str:
    """`, of the first target, X`, for what is of that one alone; "" where there are not several."""
    return "" if target is None else f", of the first target, {target}"


def headline(methods: Mapping[str, MethodResult], models: int | None = None) -> str:
    """The answer of a run in a few sentences, methods of the same answer together.

    They are named in the order of `methods`. `models` is how many models the run has, which is named where the answer
    holds for them alone.
    """
    groups, of_these = _groups(methods)
    sentences = []
    if groups[_FOLLOW]:
        sentences.append(f"Maps of {listed(groups[_FOLLOW])} follow the labels.")
    if groups[_SHOW]:
        most = _without_labels([found.threshold for found in methods.values()])
        sentences.append(
            f"Maps of {listed(groups[_SHOW])} show the film: {most} of what correct models agree on about a film is"
            " there without the labels."
        )
    sentences += _for_these(of_these, models)
    if groups[_OPEN]:
        sentences.append(f"For {listed(groups[_OPEN])} this run cannot tell.")
    if groups[_NOTHING]:
        sentences.append(
            f"Maps of {listed(groups[_NOTHING])} show nothing that true models agree on about a film: there is nothing"
            " to test."
        )
    if groups[_UNTOLD]:
        sentences.append(
            f"For maps of {listed(groups[_UNTOLD])} it cannot be told whether true models agree on anything about a"
            " film, without which there is nothing to test."
        )
    if groups[_UNFIT]:
        sentences.append(
            f"This run says nothing about maps of {listed(groups[_UNFIT])}: its models do not meet the conditions of"
            " the test."
        )
    return " ".join(sentences)


def headlines(by_target: Mapping[str | None, Mapping[str, MethodResult]], models: int | None = None) -> list[str]:
    """`headline` of each of several targets, those of the same answer together: "Effusion and Mass: ..."."""
    groups: dict[str, list[str]] = {}
    for target, methods in by_target.items():
        groups.setdefault(headline(methods, models), []).append(str(target))
    return [f"{listed(names)}: {answer}" for answer, names in groups.items()]


def _groups(methods: Mapping[str, MethodResult]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Names of the methods by answer; apart from them those that have one for the models of the run only."""
    groups: dict[str, list[str]] = {answer: [] for answer in (_FOLLOW, _SHOW, _OPEN, _NOTHING, _UNTOLD, _UNFIT)}
    of_these: dict[str, list[str]] = {_FOLLOW: [], _SHOW: []}
    for method, found in methods.items():
        outcome = found.for_these_models or found.verdict
        answer = _OUTCOMES.get(outcome) or _why_invalid(found)
        chosen = of_these if found.for_these_models and answer in of_these else groups
        chosen[answer].append(method_name(method))
    return groups, of_these


def _for_these(of_these: Mapping[str, Sequence[str]], models: int | None) -> list[str]:
    said = []
    if of_these[_FOLLOW]:
        said.append(f"maps of {listed(of_these[_FOLLOW])} follow the labels")
    if of_these[_SHOW]:
        said.append(f"maps of {listed(of_these[_SHOW])} show the film")
    if not said:
        return []
    count = "" if models is None else f"{_COUNTS[models] if models < len(_COUNTS) else models} "
    return [f"For these {count}models, {listed(said)}; this run says nothing about other models."]


def _why_invalid(found: MethodResult) -> str:
    """Whether an `invalid` method is so by its own headroom; else the models are to blame, whatever h is."""
    for ending, answer in ((NO_MAP, _NOTHING), (UNTOLD_MAP, _UNTOLD)):
        if any(reason.endswith(ending) for reason in found.reasons):
            return answer
    return _UNFIT


def _without_labels(thresholds: Sequence[float]) -> str:
    """How much is there without the labels at least, when the label share lies below the threshold."""
    least = 1 - max(thresholds)
    return "most" if least >= 0.5 else f"more than {100 * least:.0f} %"
