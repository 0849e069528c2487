"""Items of CLAIM about models and their training, from the job and each model.json."""

from collections.abc import Mapping

from pneumo_batch.core.statistics.wording import listed
from pneumo_batch.core.statistics.words import described
from pneumo_batch.core.variants import TRUE
from pneumo_batch.report.paper import methods
from pneumo_batch.report.paper.answers import Answer, Answering
from pneumo_batch.report.parts import span
from pneumo_batch.report.source import Source

_OUTSIDE = "The networks were trained outside this run, which does not know how."
_PARTLY_OUTSIDE = " For the networks brought along, the run does not know it."


def _model(source: Source) -> Answer:
    found: dict[str, list[str]] = {}
    for name, model in source.models.items():
        size, channels = source.run.preprocess(name).size, source.run.preprocess(name).channels
        outputs = f"{model['outputs']} output{'s' * (model['outputs'] > 1)}"
        found.setdefault(f"{model['network']}: input {channels} × {size} × {size}, {outputs}", []).append(name)
    kinds = "; ".join(f"{about} ({listed(names)})" for about, names in found.items())
    return Answer(f"{kinds}. Every layer: Run(...).model({next(iter(source.models))!r}); weights in models/.")


def _software(source: Source) -> Answer:
    return Answer(f"{methods.software(source)} All versions: section Record.")


def _initialisation(source: Source) -> Answer:
    if not source.job.trained:
        return Answer(_OUTSIDE, is_whole=False)
    said = methods.initialisation(source)
    return _known_of_all(source, f"{said[0].upper()}{said[1:]}.")


def _training(source: Source) -> Answer:
    if not source.job.trained:
        return Answer(_OUTSIDE, is_whole=False)
    lines = []
    for kind in dict.fromkeys(one.kind for one in source.job.trained):
        names = [one.name for one in source.job.trained if one.kind == kind]
        epochs = span(source.models[name].get("epochs") for name in names)
        labels = "true labels" if kind == TRUE else described(source.job.arms[kind])
        lines.append(f"{listed(names)}: {labels}, {epochs} epochs.")
    recipe = methods.training_details(source)[0]
    return _known_of_all(source, f"{' '.join(lines)} {recipe} Curves: section Training; every field: job.toml.")


def _selection(source: Source) -> Answer:
    if not source.job.trained:
        return Answer(_OUTSIDE, is_whole=False)
    threshold = " The decision threshold has the best F1 on validation." if source.is_binary else ""
    return _known_of_all(source, f"{methods.selection(source)}{threshold}")


def _ensembles(_source: Source) -> Answer:
    return Answer("None: networks are compared with one another, their outputs never combined.")


def _known_of_all(source: Source, text: str) -> Answer:
    return Answer(f"{text}{_PARTLY_OUTSIDE}", is_whole=False) if source.job.variant else Answer(text)


ANSWERS: Mapping[int, Answering] = {
    22: _model,
    23: _software,
    24: _initialisation,
    25: _training,
    26: _selection,
    27: _ensembles,
}
