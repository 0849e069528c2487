"""Does what a stage left behind account for every image? Read from the files themselves, not from its counts."""

from collections import Counter
from collections.abc import Callable, Iterable

import pyarrow.compute as pc

from pneumo_batch.core import tables
from pneumo_batch.errors import DamagedError, RunError
from pneumo_batch.execution import staging
from pneumo_batch.execution.staging import ImbalanceError
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.layout import CASCADES, MANIFEST, MAPS, QUARANTINE, REPORT, SCORES, SETTLED, SUMMARY, VERDICT
from pneumo_batch.rundir.reader import Run
from pneumo_batch.stages import survey

_DAMAGE = (DamagedError, ImbalanceError, FileNotFoundError)  # whatever else is raised is a mistake of ours


class UnbalancedError(RunError):
    """Tables that do not account for every image, or a file that cannot be read."""


def check(stage: str, job: Job, run: Run) -> None:
    """Raise UnbalancedError when the finished stage does not balance with the manifest."""
    if run.number > 1 and stage in SETTLED:
        return  # by the first pass over the data, for the images it had
    try:
        _CHECKS[stage](job, run)
    except _DAMAGE as error:
        raise UnbalancedError(f"{run.path}: what the stage {stage!r} wrote is not whole: {_line(error)}") from error


def discard_damaged_models(job: Job, run: Run) -> None:
    """Remove the models that `check` complains of: they are trained or brought again."""
    wanted = _tally(run, MANIFEST)
    for name in survey.variant_names(job):
        try:
            check_model(name, wanted, run)
        except _DAMAGE:
            run.store.remove(f"models/{name}")


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _tally(run: Run, folder: str) -> Counter[str]:
    """Rows of each image in a table."""
    found: Counter[str] = Counter()
    for name in run.store.files(folder, ".parquet"):
        found += staging.rows_by_image(run.store, name)
    return found


def _quarantined(run: Run, stage: str) -> list[str]:
    rows = run.store.read_table(QUARANTINE, schema=tables.QUARANTINE)
    return rows.filter(pc.equal(rows["stage"], stage))["image_id"].to_pylist()


def _index(_job: Job, run: Run) -> None:
    indexed, rejected = _tally(run, MANIFEST), _quarantined(run, "index")
    staging.check_balance(indexed, indexed, [], MANIFEST)
    if not indexed or indexed.keys() & set(rejected):
        raise ImbalanceError("the manifest is empty, or an image stands in it and in the quarantine")
    listed = run.record["stages"]["index"].get("counts", {}).get("images")
    if listed is not None and listed != len(indexed) + len(rejected):
        raise ImbalanceError(f"{listed} images were found, {len(indexed)} indexed and {len(rejected)} quarantined")


def _train(job: Job, run: Run) -> None:
    wanted = _tally(run, MANIFEST)
    for name in survey.variant_names(job):
        check_model(name, wanted, run)


def check_model(name: str, wanted: Iterable[str], run: Run) -> None:
    """Weights that open, and a prediction for every image. Raises DamagedError, ImbalanceError or FileNotFoundError."""
    from safetensors import SafetensorError, deserialize

    run.store.read_json(f"models/{name}/model.json")
    try:
        deserialize(run.store.read_bytes(f"models/{name}/model.safetensors"))
    except SafetensorError as error:
        raise DamagedError(f"models/{name}/model.safetensors: damaged: {error}") from error
    predicted = staging.rows_by_image(run.store, f"models/{name}/predictions.parquet")
    staging.check_balance(wanted, predicted, run.unanswered(), f"predictions of {name}")


def _attribute(job: Job, run: Run) -> None:
    from pneumo_batch.stages import attribute

    chosen = attribute.choose(run.manifest_table(), job.attribution)["image_id"].to_pylist()
    staging.check_balance(chosen, _tally(run, MAPS), _quarantined(run, "attribute"), MAPS)


def _compare(job: Job, run: Run) -> None:
    from pneumo_batch.stages import compare

    staging.check_balance(_tally(run, MAPS), _tally(run, SCORES), [], SCORES, compare.rows_per_image(job, run))


def _cascade(job: Job, run: Run) -> None:
    from pneumo_batch.stages import cascade

    if job.cascade.seeds:
        wanted = cascade.choose(job, run)["image_id"].to_pylist()
        staging.check_balance(wanted, _tally(run, CASCADES), [], CASCADES, cascade.rows_per_image(job, run))


def _conclude(job: Job, run: Run) -> None:
    summary = run.store.read_table(SUMMARY, schema=tables.SUMMARY)
    concluded = set(summary["method"].to_pylist()) & run.store.read_json(VERDICT)["methods"].keys()
    if lost := set(job.attribution.methods) - concluded:
        raise ImbalanceError(f"summary or verdict lack {', '.join(sorted(lost))}")
    most, attributed = max(summary["images"].to_pylist()), len(_tally(run, MAPS))
    if most > attributed:
        raise ImbalanceError(f"the summary speaks of {most} images, {attributed} were attributed")


def _report(_job: Job, run: Run) -> None:
    if not run.store.read_bytes(REPORT).rstrip().endswith(b"</html>"):
        raise DamagedError(f"{REPORT}: damaged: it is cut off")


_CHECKS: dict[str, Callable[[Job, Run], None]] = {
    "index": _index,
    "train": _train,
    "attribute": _attribute,
    "compare": _compare,
    "cascade": _cascade,
    "conclude": _conclude,
    "report": _report,
}
