"""Items of CLAIM about evaluation and results, from verdict.json."""

from collections.abc import Iterator, Mapping, Sequence

from pneumo_batch.core.statistics.model_results import OnTest
from pneumo_batch.core.statistics.results import MethodResult
from pneumo_batch.core.statistics.wording import listed, method_name
from pneumo_batch.report import estimates
from pneumo_batch.report.paper import additions, decomposition, methods
from pneumo_batch.report.paper.answers import Answer, Answering
from pneumo_batch.report.paper.references import Uncited
from pneumo_batch.report.parts import interval, number, span
from pneumo_batch.report.source import Source

_UNTESTED = "The networks of true labels were not tested: there are no test images."


def _metrics(source: Source) -> Answer:
    return Answer(
        "Of networks: AUROC, AUPRC, accuracy, balanced accuracy, precision, recall, F1 and the confusion matrix. Of"
        f" maps: {decomposition.measure(source, Uncited())} The label share L = 1 − k / h is read from it."
    )


def _uncertainty(source: Source) -> Answer:
    of_maps = [decomposition.intervals(source, Uncited()), *decomposition.permutation(source, Uncited())]
    return Answer(" ".join([*of_maps, "AUROC has a 95 % interval over patients.", decomposition.rule(source)]))


def _robustness(source: Source) -> Answer:
    lines = ["Verdicts in other views, scales and metrics:"]
    for method in source.methods:
        found = source.results.methods[method]
        unlike = sum(cell.verdict != found.verdict for cell in found.cells.values())
        lines.append(f"{method_name(method)}, {unlike} of {len(found.cells) - 1} differ;")
    arms = [name for name in source.results.arms if name != source.results.contrast]
    lines += [f"further arms: {listed(arms)};"] if arms else []
    said = f"{' '.join(lines)} all of them: results.csv. The robustness of the classification was not analysed."
    return Answer(said, is_whole=False)


def _explanation(source: Source) -> Answer:
    names = [f"{method_name(method)}{methods.options(source, method, Uncited())}" for method in source.methods]
    tests = ["data randomization", *(["parameter randomization"] if additions.cascade(source, Uncited()) else [])]
    tests += ["comparison with outlined regions"] if additions.localisation(source, Uncited()) else []
    return Answer(
        f"{listed(names)}, of {methods.explained(source).rstrip(',')}. Their validation is what this run is:"
        f" {listed(tests)}. {_verdicts(source)}"
    )


def _verdicts(source: Source) -> str:
    return f"Verdicts: {', '.join(f'{name} {found.verdict}' for name, found in _of_each_target(source))}."


def _of_each_target(source: Source) -> Iterator[tuple[str, MethodResult]]:
    """Each method's result, by its name and, of several targets, that of the target."""
    for target, results in source.results.by_target.items():
        of = f" of {target}" if source.results.targets else ""
        for method in source.methods:
            yield f"{method_name(method)}{of}", results.methods[method]


def _internal(source: Source) -> Answer:
    found = [source.results.variants[name] for name in source.true]
    known = span(one.training_accuracy for one in found)
    tested = span(one.test.auroc for one in found)
    images = found[0].test.images if found else 0
    if not images:
        return Answer(f"{_UNTESTED} {source.measure.capitalize()} on the training labels: {known}.", is_whole=False)
    return Answer(
        f"{len(found)} networks of true labels on {images} test images: AUROC {tested}; {source.measure} on their"
        f" training labels {known}."
    )


def _performance(source: Source) -> Answer:
    lines = [
        f"{name}: L = {estimates.written(found.numbers.share)}, {found.verdict}."
        for name, found in _of_each_target(source)
    ]
    return Answer(f"{' '.join(lines)} Every measure: results.csv.")


def _diagnostic(source: Source) -> Answer:
    if not _is_tested(source):
        return Answer(_UNTESTED, is_whole=False)
    lines = [
        f"{name}: AUROC {number(test.auroc)} ({interval(*test.auroc_interval)}), recall {number(test.recall)},"
        f" precision {number(test.precision)}, balanced accuracy {number(test.balanced_accuracy)}."
        for name, test in _tests(source)
    ]
    return Answer(f"{_subject(source)}{' '.join(lines)} All models and splits: section Training.")


def _failures(source: Source) -> Answer:
    if not _is_tested(source):
        return Answer(_UNTESTED, is_whole=False)
    lines = [f"{name}: {_wrong(test, source.is_binary)}." for name, test in _tests(source)]
    return Answer(
        f"{_subject(source)}{' '.join(lines)} By class and subtype: model cards; images: predictions.parquet of each"
        " model and the gallery. Why they are wrong is for readers of the films to say.",
        is_whole=False,
    )


def _subject(source: Source) -> str:
    return f"Of {source.finding}, explained here: " if source.finding else ""


def _is_tested(source: Source) -> bool:
    return any(test.images for _, test in _tests(source))


def _tests(source: Source) -> Iterator[tuple[str, OnTest]]:
    return ((name, source.results.variants[name].test) for name in source.true)


def _wrong(test: OnTest, is_binary: bool) -> str:
    confusion: Sequence[Sequence[int]] = test.confusion
    right = sum(row[i] for i, row in enumerate(confusion))
    if not is_binary:
        return f"{test.images - right} of {test.images} wrong"
    return f"{confusion[0][1]} false positives and {confusion[1][0]} false negatives of {test.images}"


def _limitations(_source: Source) -> Answer:
    return Answer(
        "What a verdict does not say: section Verdict, Limits; of each model: its card. Limitations of"
        " the study are for its authors to state.",
        is_whole=False,
    )


def _protocol(source: Source) -> Answer:
    return Answer(
        f"job.toml of the run, fingerprint {source.record['fingerprint'][:12]}: every parameter; the primary measure"
        " and the threshold stand in it before the run begins."
    )


def _availability(source: Source) -> Answer:
    return Answer(
        f"Software: pneumo-batch {source.record['versions']['pneumo-batch']}, Apache-2.0. Models: models/ of the run"
        " (safetensors); predictions, maps and scores: Parquet beside them. The run does not know the terms of the"
        " images.",
        is_whole=False,
    )


ANSWERS: Mapping[int, Answering] = {
    28: _metrics,
    29: _uncertainty,
    30: _robustness,
    31: _explanation,
    32: _internal,
    37: _performance,
    38: _diagnostic,
    39: _failures,
    40: _limitations,
    42: _protocol,
    43: _availability,
}
