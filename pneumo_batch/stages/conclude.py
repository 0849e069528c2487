"""Conclude: the scores -> the summary table and the verdict of each method."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.attribution.options import column_suffix
from pneumo_batch.core.data import one_finding
from pneumo_batch.core.randomization import curves as randomized_curves
from pneumo_batch.core.similarity import metrics, per_image
from pneumo_batch.core.statistics import (
    arms,
    localisation,
    passes,
    results,
    scales,
    specificity,
    summaries,
)
from pneumo_batch.core.statistics.model_facts import VariantFacts
from pneumo_batch.core.statistics.model_results import VariantResult
from pneumo_batch.core.statistics.pointing import Localisation
from pneumo_batch.core.statistics.randomised import Randomised
from pneumo_batch.core.statistics.results import Primary, Results, TargetResult
from pneumo_batch.core.variants import KINDS, RANDOM, Arm, Variant, arms_of, contrast, names_of, of_records
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir import accounts, provenance
from pneumo_batch.rundir.accounts import ImbalanceError
from pneumo_batch.rundir.layout import CASCADE_SUMMARY, LOCALISATION, MANIFEST, MAPS, PASSES, SCALES, SUMMARY, VERDICT
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import judged_models, localise
from pneumo_batch.stages.stage import Plan, Survey


def plan(_job: Job, _found: Survey, _store: Store) -> Plan:
    return Plan("summary and verdict")


def execute(job: Job, run: RunWriter, _resources: Resources | None) -> dict[str, int]:
    """Write `summary.parquet`, `scales.parquet`, `verdict.json`, and of films with regions `localisation.parquet`."""
    judged = {name: judged_models.by_target(name, run) for name in run.variants()}
    explained = [
        _Explained(target, *_images(job, run, target), {name: found[target] for name, found in judged.items()})
        for target in job.attribution.targets
    ]
    first = explained[0]
    scores = _gather(run, explained)
    variants = of_records(run.model_record(name) for name in run.variants())
    settings = job.compare
    primary = Primary(settings.primary.view, settings.primary.scale, settings.primary.metric)
    rule = arms.Rule(primary, settings.threshold, settings.resamples)
    known = {one.kind: Arm.of_record(run.model_record(one.name)) for one in variants}
    main, *further = arms_of(job.variants) or [RANDOM]
    _write_summary(run, explained, scores)
    curves = _scales(job, run, first.images, contrast(variants, main))
    facts = {one.target: _facts_of(one, run) for one in explained}
    arm = known.get(main, job.arms[RANDOM])
    found = {
        one.target: _of_target(one, scores.one[one.target], facts[one.target], arm, rule, curves[one.target])
        for one in explained
    }
    several = found if len(found) > 1 else {}
    of_arms = {
        name: arms.conclude(scores.one[first.target], facts[first.target], known[name], rule) for name in further
    }
    concluded = Results(
        primary=primary,
        threshold=settings.threshold,
        **vars(found[first.target]),
        localisation=_localisation(job, run, variants),
        target=first.target if job.data.several or several else None,
        targets=several,
        specificity=specificity.conclude(scores, facts, primary, settings.threshold, resamples=settings.resamples),
        cascade=_cascade(run, primary),
        contrast=main,
        arms=arms.results_of(known, variants, {main: found[first.target].methods, **of_arms}),
    )
    run.store.write_json(VERDICT, concluded.as_dict())
    _note_pass(run, concluded)
    return {"methods": len(concluded.methods), "summaries": run.store.read_table(SUMMARY).num_rows}


@dataclass(frozen=True)
class _Explained:
    """One of the targets: images by its labels, what these are called, and the models as it shows them."""

    target: str
    images: pa.Table
    classes: list[str]
    judged: dict[str, VariantResult]


def _gather(run: Run, explained: list[_Explained]) -> per_image.ByTarget:
    batches, first = run.scores_batches(), explained[0]
    if len(explained) == 1:
        return per_image.ByTarget({first.target: per_image.gather(batches, first.images)}, {})
    return per_image.gather_targets(batches, {one.target: one.images for one in explained})


def _write_summary(run: RunWriter, explained: list[_Explained], scores: per_image.ByTarget) -> None:
    resamples = run.job.compare.resamples
    parts = [
        (one.target, summaries.summarise(scores.one[one.target], one.classes, resamples=resamples)) for one in explained
    ]
    run.store.write_table(SUMMARY, table_columns.joined_targets(parts))


def _of_target(
    one: _Explained,
    data: per_image.PerImage,
    facts: Sequence[VariantFacts],
    arm: Arm,
    rule: arms.Rule,
    curves: pa.Table,
) -> TargetResult:
    """The verdict on each method's maps of one target, by an arm."""
    concluded = arms.conclude(data, facts, arm, rule)
    return TargetResult(scales.add_to(concluded, curves, rule.primary.view), one.judged, _degenerate(data))


def _facts_of(one: _Explained, run: Run) -> list[VariantFacts]:
    return [_facts(name, found, run) for name, found in one.judged.items()]


def verify(job: Job, run: Run) -> None:
    summary = run.store.read_table(SUMMARY, schema=tables.SUMMARY)
    for judged in results.read(run.store.read_json(VERDICT)).by_target.values():
        concluded = set(summary["method"].to_pylist()) & judged.methods.keys()
        if lost := set(job.attribution.methods) - concluded:
            raise ImbalanceError(f"summary or verdict lack {', '.join(sorted(lost))}")
    most, attributed = max(summary["images"].to_pylist()), len(accounts.tally(run, MAPS))
    if most > attributed:
        raise ImbalanceError(f"the summary speaks of {most} images, {attributed} were attributed")


def _note_pass(run: Run, found: Results) -> None:
    """Give `history.parquet` a row a method; they replace those of an attempt that ended before it could say so."""
    number = run.number
    ended = passes.Pass(number, provenance.now(), run.count(MANIFEST), run.count(MAPS))
    rows = table_columns.joined_targets((target, passes.rows(one, ended)) for target, one in found.by_target.items())
    if run.store.exists(PASSES):
        before = run.store.read_table(PASSES, schema=rows.schema)
        rows = pa.concat_tables([before.filter(pc.not_equal(before["pass"], number)), rows])
    run.store.write_table(PASSES, rows)


def _scales(job: Job, run: Run, images: pa.Table, variants: list[Variant]) -> dict[str, pa.Table]:
    """Write `scales.parquet`, from the maps of a sample of images, and give it by target."""
    chosen = scales.sample(
        images["image_id"].to_pylist(), images["patient_id"].to_pylist(), seed=job.compare.partner_seed
    )
    found = {target: _curves(job, run, chosen, variants, target) for target in job.attribution.targets}
    run.store.write_table(SCALES, table_columns.joined_targets(found.items()))
    return found


def _curves(job: Job, run: Run, chosen: scales.Sample, variants: list[Variant], target: str) -> pa.Table:
    """Of one target, one method at a time."""
    suffix = column_suffix(target, job.attribution.targets)
    parts = []
    for method in job.attribution.methods:
        columns = [f"{method}__{variant.name}{suffix}" for variant in variants]
        table = run.maps_table(columns, image_ids=chosen.image_ids)
        by_variant = [table_columns.tensor_array(table[name]) for name in columns]
        by_image = (metrics.stacked(list(maps)) for maps in zip(*by_variant, strict=True))
        maps = dict(zip(table["image_id"].to_pylist(), by_image, strict=True))
        curve = scales.Curve(method, tuple(variants), job.data.image_size)
        parts.append(curve.table(chosen, maps.__getitem__, resamples=job.compare.resamples))
    return pa.concat_tables(parts)


def _images(job: Job, run: Run, target: str) -> tuple[pa.Table, list[str]]:
    """Identity of the attributed images, sorted, and their classes; of several findings by the one explained."""
    images = run.maps_table([]).sort_by("image_id")
    if not job.data.several:
        return images, run.model_record(run.variants()[0])["classes"]
    return one_finding.divide_images(images, run.manifest_table(looks=False), target), one_finding.classes(target)


def _facts(name: str, found: VariantResult, run: Run) -> VariantFacts:
    test, record = found.own_test or found.test, run.model_record(name)
    return VariantFacts(
        name=name,
        kind=found.kind,
        seed=found.seed,
        memorised=found.memorised,
        required=run.job.train.memorise,
        majority=None if found.majority is None else 1 / len(record["classes"]),
        auroc=test.auroc,
        auroc_low=test.auroc_interval[0],
        auroc_high=test.auroc_interval[1],
        training_accuracy=found.training_accuracy,
        epochs=found.epochs,
        measure=found.measure,
        arm=Arm.of_record(record),
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


def _cascade(run: Run, primary: Primary) -> dict[str, Randomised] | None:
    """Where the job has it: what is left of maps with every layer re-initialised."""
    if not run.store.exists(CASCADE_SUMMARY):
        return None
    summary = run.store.read_table(CASCADE_SUMMARY, schema=tables.CASCADE_SUMMARY)
    return randomized_curves.at_full_depth(summary, primary.view, primary.scale, primary.metric)
