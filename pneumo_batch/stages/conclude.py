"""Conclude: the scores -> the summary table and the verdict of each method."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core import tables
from pneumo_batch.core.data import one_finding
from pneumo_batch.core.models import evaluation
from pneumo_batch.core.randomization import curves
from pneumo_batch.core.similarity import per_image
from pneumo_batch.core.statistics import (
    classification,
    findings,
    label_share,
    localisation,
    passes,
    scales,
    summaries,
    verdict,
)
from pneumo_batch.core.statistics.localisation import Localisation
from pneumo_batch.core.statistics.randomised import Randomised
from pneumo_batch.core.statistics.results import (
    FindingResult,
    Memory,
    OnTest,
    Primary,
    Results,
    VariantResult,
)
from pneumo_batch.core.variants import KINDS, Variant, names_of, of_records
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir import accounts, provenance
from pneumo_batch.rundir.accounts import ImbalanceError
from pneumo_batch.rundir.layout import CASCADE_SUMMARY, LOCALISATION, MAPS, PASSES, SCALES, SCORES, SUMMARY, VERDICT
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.record import ModelRecord, of_finding
from pneumo_batch.rundir.storage import Store
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import localise
from pneumo_batch.stages.stage import Plan, Survey


def plan(_job: Job, _found: Survey, _store: Store) -> Plan:
    return Plan("summary and verdict")


def execute(job: Job, run: RunWriter, _resources: Resources | None) -> dict[str, int]:
    """Write `summary.parquet`, `scales.parquet`, `verdict.json`, and of films with regions `localisation.parquet`."""
    images, classes = _images(job, run)
    data = per_image.gather(run.store.read_batches(SCORES, tables.SCORES), images)
    variants = of_records(run.model_record(name) for name in run.variants())
    names = names_of(variants, "true"), names_of(variants, "random")
    settings = job.compare
    tests = label_share.randomization_test(data, *names, resamples=settings.resamples)
    run.store.write_table(SUMMARY, summaries.summarise(data, classes, resamples=settings.resamples))
    primary = Primary(settings.primary.view, settings.primary.scale, settings.primary.metric)
    judged = {name: _variant(name, run) for name in run.variants()}
    facts = [_facts(name, one, job.train.memorise) for name, one in judged.items()]
    concluded = verdict.conclude(facts, tests, primary, settings.threshold)
    results = Results(
        primary=primary,
        threshold=settings.threshold,
        methods=scales.add_to(concluded, _scales(job, run, images, variants), primary.view),
        variants=judged,
        degenerate=_degenerate(data),
        localisation=_localisation(job, run, variants),
        target=job.attribution.target if job.data.several else None,
        cascade=_cascade(run, primary),
    )
    run.store.write_json(VERDICT, results.as_dict())
    _note_pass(run, results)
    return {"methods": len(results.methods), "summaries": run.store.read_table(SUMMARY).num_rows}


def _cascade(run: Run, primary: Primary) -> dict[str, Randomised] | None:
    """Where the job has it: what is left of maps with every layer re-initialised."""
    if not run.store.exists(CASCADE_SUMMARY):
        return None
    summary = run.store.read_table(CASCADE_SUMMARY, schema=tables.CASCADE_SUMMARY)
    return curves.at_full_depth(summary, primary.view, primary.scale, primary.metric)


def verify(job: Job, run: Run) -> None:
    summary = run.store.read_table(SUMMARY, schema=tables.SUMMARY)
    concluded = set(summary["method"].to_pylist()) & run.store.read_json(VERDICT)["methods"].keys()
    if lost := set(job.attribution.methods) - concluded:
        raise ImbalanceError(f"summary or verdict lack {', '.join(sorted(lost))}")
    most, attributed = max(summary["images"].to_pylist()), len(accounts.tally(run, MAPS))
    if most > attributed:
        raise ImbalanceError(f"the summary speaks of {most} images, {attributed} were attributed")


def _note_pass(run: Run, results: Results) -> None:
    """Give `history.parquet` a row a method; they replace those of an attempt that ended before it could say so."""
    number = run.number
    ended = passes.Pass(number, provenance.now(), run.manifest_table().num_rows, run.maps_table([]).num_rows)
    rows = passes.rows(results, ended)
    if run.store.exists(PASSES):
        before = run.store.read_table(PASSES, schema=tables.PASSES)
        rows = pa.concat_tables([before.filter(pc.not_equal(before["pass"], number)), rows])
    run.store.write_table(PASSES, rows)


def _scales(job: Job, run: Run, images: pa.Table, variants: list[Variant]) -> pa.Table:
    """Write `scales.parquet`: the maps of a sample of images, one method at a time."""
    chosen = scales.sample(
        images["image_id"].to_pylist(), images["patient_id"].to_pylist(), seed=job.compare.partner_seed
    )
    parts = []
    for method in job.attribution.methods:
        columns = [f"{method}__{variant.name}" for variant in variants]
        table = run.maps_table(columns, image_ids=chosen.image_ids)
        maps_NVhw = np.stack([tables.tensor_array(table[name]) for name in columns], axis=1)
        maps = dict(zip(table["image_id"].to_pylist(), maps_NVhw, strict=True))
        curve = scales.Curve(method, tuple(variants), job.data.image_size)
        parts.append(curve.table(chosen, maps.__getitem__, resamples=job.compare.resamples))
    found = pa.concat_tables(parts)
    run.store.write_table(SCALES, found)
    return found


def _images(job: Job, run: Run) -> tuple[pa.Table, list[str]]:
    """Identity of the attributed images, sorted, and their classes; of several findings by the one explained."""
    images = run.maps_table([]).sort_by("image_id")
    if not job.data.several:
        return images, run.model_record(run.variants()[0])["classes"]
    target = job.attribution.target
    return one_finding.divide_images(images, run.manifest_table(), target), one_finding.classes(target)


def _variant(name: str, run: Run) -> VariantResult:
    record, attributed = run.model_record(name), run.job.attribution
    by_finding = _by_finding(run, record) if "findings" in record else {}
    if by_finding:
        record = of_finding(record, attributed.target)
    return VariantResult(
        kind=record["kind"],
        seed=record["seed"],
        network=record["network"],
        epochs=record.get("epochs"),
        chosen_epoch=record.get("chosen_epoch"),
        memorised=record["memorised"],
        majority=record.get("majority"),
        label_agreement=record.get("label_agreement"),
        threshold=record["threshold"],
        training_accuracy=_training_accuracy(record),
        test=by_finding[attributed.target].test if by_finding else _on_test(record, run),
        findings=by_finding,
    )


def _training_accuracy(record: ModelRecord) -> float | None:
    """In eval mode, on the labels the model was given; None for a brought random one: its labels stayed elsewhere.

    Of several findings the balanced one.
    """
    if record["kind"] == "random" and record["memorised"] is None:
        return None
    trained = record["metrics"].get("train")
    return trained["balanced_accuracy" if "findings" in record else "accuracy"] if trained else None


def _on_test(record: ModelRecord, run: Run) -> OnTest:
    """With the threshold chosen on validation."""
    rows, codes_N = _test_rows(record["name"], run)
    logits_NK, labels_N = evaluation.logits_of(rows), tables.labels_of(rows)
    return classification.on_test(logits_NK, labels_N, codes_N, record["threshold"])


def _by_finding(run: Run, record: ModelRecord) -> dict[str, FindingResult]:
    rows, codes_N = _test_rows(record["name"], run)
    logits_NK, labels_NK = evaluation.logits_of(rows), tables.labels_of(rows)
    found = findings.on_test(logits_NK, labels_NK, record["findings"], record["thresholds"], codes_N)
    memory = {name: Memory(**known) for name, known in record.get("memorisation", {}).items()}
    return {
        name: FindingResult(record["thresholds"][name], memory.get(name), on_test) for name, on_test in found.items()
    }


def _test_rows(name: str, run: Run) -> tuple[pa.Table, np.ndarray]:
    """A variant's predictions of the test split, sorted, and codes (N,) of the patients."""
    rows = run.predictions_table(name)
    rows = rows.filter(pc.equal(rows["split"], "test")).sort_by("image_id")
    manifest = run.manifest_table()
    patients = manifest.filter(pc.is_in(manifest["image_id"], rows["image_id"].combine_chunks()))[
        "patient_id"
    ].to_numpy()
    return rows, np.unique(patients, return_inverse=True)[1]


def _facts(name: str, found: VariantResult, required: float) -> verdict.VariantFacts:
    return verdict.VariantFacts(
        name=name,
        kind=found.kind,
        seed=found.seed,
        memorised=found.memorised,
        required=required,
        majority=found.majority,
        auroc=found.test.auroc,
        auroc_low=found.test.auroc_interval[0],
        training_accuracy=found.training_accuracy,
        epochs=found.epochs,
        measure=found.measure,
    )


def _degenerate(data: per_image.PerImage) -> dict[str, dict[str, int]]:
    """Images whose map is constant, by method and view and then variant, at pixel scale."""
    return {
        f"{cell.method}/{cell.view}": data.degenerate(cell)
        for cell in data.cells
        if cell.scale == "pixel" and cell.metric == "pearson"
    }


def _localisation(job: Job, run: Run, variants: list[Variant]) -> Localisation | None:
    """Write `localisation.parquet`, and its means; None where nothing says what films show."""
    if not run.regions_table().num_rows:
        return None
    measured = localise.measure(job, run, variants)
    parts = [one.rows() for one in measured]
    run.store.write_table(LOCALISATION, pa.concat_tables([tables.LOCALISATION.empty_table(), *parts]))
    kinds: dict[str, list[str]] = {kind: names_of(variants, kind) for kind in KINDS}
    return localisation.conclude(measured, kinds, job.compare.resamples)
