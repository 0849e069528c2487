"""What conclude says of each model: how it was trained, and what it is worth on the test split."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.models import evaluation, labels
from pneumo_batch.core.statistics import classification, findings
from pneumo_batch.core.statistics.model_results import FindingResult, Memory, OnTest, VariantResult
from pneumo_batch.core.variants import Arm
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.record import ModelRecord, of_finding


def by_target(name: str, run: Run) -> dict[str, VariantResult]:
    """A model as each target of the run shows it: of several findings by that one, else alike."""
    record = run.model_record(name)
    if "findings" not in record:
        return dict.fromkeys(run.targets, _result(record, run, _on_test(record, run), {}))
    found = _by_finding(run, record)
    return {target: _result(of_finding(record, target), run, found[target].test, found) for target in run.targets}


def _result(record: ModelRecord, run: Run, test: OnTest, by_finding: dict[str, FindingResult]) -> VariantResult:
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
        training_accuracy=_on_training(record, "balanced_accuracy" if "findings" in record else "accuracy"),
        training_balanced_accuracy=_on_training(record, "balanced_accuracy"),
        test=test,
        findings=by_finding,
        own_test=_on_own_labels(record, run),
    )


def _on_training(record: ModelRecord, metric: str) -> float | None:
    """In eval mode, on the labels the model was given; None for an untrained one, or a brought random one: its labels
    stayed elsewhere.
    """
    arm = Arm.of_record(record)
    if not arm.is_trained or (arm.is_permuted and record["memorised"] is None):
        return None
    trained = record["metrics"].get("train")
    return trained[metric] if trained else None


def _on_test(record: ModelRecord, run: Run) -> OnTest:
    """With the threshold chosen on validation."""
    rows, codes_N = _test_rows(record["name"], run)
    logits_NK, labels_N = evaluation.logits_of(rows, record["outputs"]), table_columns.labels_of(rows)
    return classification.on_test(logits_NK, labels_N, codes_N, record["threshold"])


def _on_own_labels(record: ModelRecord, run: Run) -> OnTest | None:
    """Of a model of another column: how well it tells that one."""
    column = Arm.of_record(record).column
    if column is None:
        return None
    rows, codes_N = _test_rows(record["name"], run)
    manifest = run.manifest_table(looks=False)
    answered = manifest.filter(pc.is_in(manifest["image_id"], rows["image_id"].combine_chunks()))
    told = pa.concat_tables([manifest.filter(pc.equal(manifest["split"], "train")), answered])
    labels_N = labels.column_labels(told, column, "test")
    known_N = labels_N != tables.UNKNOWN
    logits_NK = evaluation.logits_of(rows, record["outputs"])[known_N]
    return classification.on_test(logits_NK, labels_N[known_N], codes_N[known_N], record["threshold"])


def _by_finding(run: Run, record: ModelRecord) -> dict[str, FindingResult]:
    rows, codes_N = _test_rows(record["name"], run)
    logits_NK, labels_NK = evaluation.logits_of(rows, record["outputs"]), table_columns.labels_of(rows)
    found = findings.on_test(logits_NK, labels_NK, record["findings"], record["thresholds"], codes_N)
    memory = {name: Memory(**known) for name, known in record.get("memorisation", {}).items()}
    return {
        name: FindingResult(record["thresholds"][name], memory.get(name), on_test) for name, on_test in found.items()
    }


def _test_rows(name: str, run: Run) -> tuple[pa.Table, np.ndarray]:
    """A variant's predictions of the test split, sorted, and codes (N,) of the patients."""
    rows = run.predictions_table(name)
    rows = rows.filter(pc.equal(rows["split"], "test")).sort_by("image_id")
    manifest = run.manifest_table(["image_id", "patient_id"])
    there = manifest.filter(pc.is_in(manifest["image_id"], rows["image_id"].combine_chunks()))
    return rows, table_columns.codes_of(there["patient_id"])
