"""What a model says of every image, and how well: alike for models trained here and brought along."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.statistics import classification, findings
from pneumo_batch.core.statistics.model_results import MeasuredRecord, Memory


def measure(
    logits: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], names: Sequence[str] = ()
) -> MeasuredRecord:
    """Metrics of each split from its logits (N, K) and the labels (N,) it is judged by; empty splits are left out.

    So are images whose logits are not finite, or whose label is not known. `names` are those of several findings, of
    which labels are (N, K).
    The threshold is the one with the best F1 on the validation split, 0.5 without one. The training split is judged at
    0.5: a random variant's validation labels are not those it learned, so no threshold chosen there says what it knows.
    """
    answered = {split: np.isfinite(logits_NK).all(axis=1) for split, logits_NK in logits.items()}
    if not names:
        answered = {split: of_N & (labels[split] != tables.UNKNOWN) for split, of_N in answered.items()}
    logits = {split: logits_NK[answered[split]] for split, logits_NK in logits.items()}
    labels = {split: labels[split][answered_N] for split, answered_N in answered.items()}
    if names:
        return _of_several(logits, labels, names)
    threshold = classification.best_threshold(logits["val"], labels["val"])
    thresholds = dict.fromkeys(logits, threshold) | {"train": classification.NEUTRAL_THRESHOLD}
    metrics = {
        split: asdict(classification.metrics(logits[split], labels[split], thresholds[split]))
        for split in logits
        if len(labels[split])
    }
    return {"threshold": threshold, "metrics": metrics}


def _of_several(
    logits: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], names: Sequence[str]
) -> MeasuredRecord:
    chosen = findings.thresholds(logits["val"], labels["val"], names)
    neutral = dict.fromkeys(names, classification.NEUTRAL_THRESHOLD)
    found = {}
    for split in logits:
        if len(labels[split]):
            by_finding = findings.metrics(logits[split], labels[split], names, neutral if split == "train" else chosen)
            found[split] = {name: asdict(one) for name, one in by_finding.items()}
    return {"thresholds": chosen, "metrics_by_finding": found}


def memorisation(measured: MeasuredRecord, labels_NK: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By finding how well the training labels (N, K) that were given are known, as fields of `Memory`."""
    train, guesses = measured["metrics_by_finding"]["train"], findings.majority(labels_NK, names)
    return {
        name: asdict(Memory(train[name]["accuracy"], train[name]["balanced_accuracy"], guesses[name])) for name in names
    }


def predictions(rows: pa.Table, logits: Mapping[str, np.ndarray]) -> pa.Table:
    """The predictions table: `rows` is the manifest, `logits` (N, K) of each split in the order of its sorted ids.

    Of several findings it has their labels too. Images whose logits are not finite are left out (answers.py).
    """
    schema = table_columns.labelled_as(tables.PREDICTIONS, rows)
    rows, parts = rows.select([name for name in schema.names if name != "logits"]), []
    for split, logits_NK in logits.items():
        chosen = rows.filter(pc.equal(rows["split"], split)).sort_by("image_id")
        answered_N = np.isfinite(logits_NK).all(axis=1)
        kept = chosen.filter(pa.array(answered_N))
        values_NK = logits_NK[answered_N].astype(np.float32)
        ends_N = np.arange(len(values_NK) + 1, dtype=np.int32) * values_NK.shape[1]
        lists = pa.ListArray.from_arrays(pa.array(ends_N), pa.array(values_NK.ravel()))
        columns = [lists if name == "logits" else kept[name] for name in schema.names]
        parts.append(pa.table(columns, schema=schema))
    return pa.concat_tables(parts)


def logits_of(predicted: pa.Table, outputs: int) -> np.ndarray:
    """Logits (N, K) of rows of the predictions table of a network with K outputs; there may be no row."""
    return predicted["logits"].combine_chunks().flatten().to_numpy().reshape(predicted.num_rows, outputs)
