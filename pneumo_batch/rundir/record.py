"""The records of a run: `run.json`, where it stands, told by its own checksum from a damaged one; and `model.json`."""

import json
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict, cast

from pneumo_batch.core.statistics.model_results import MeasuredRecord
from pneumo_batch.core.variants import VariantRecord
from pneumo_batch.errors import DamagedError
from pneumo_batch.rundir import integrity
from pneumo_batch.rundir.layout import RECORD
from pneumo_batch.rundir.provenance import Commit
from pneumo_batch.rundir.storage import json_bytes


class StageRecord(TypedDict):
    """How far a stage is; the rest once it is complete."""

    status: str
    seconds: NotRequired[float]
    counts: NotRequired[dict[str, int]]


class TaskProgress(TypedDict):
    """How much of a task is done, and what is said beside it."""

    done: int
    total: int
    note: str


class Progress(TypedDict):
    """How far the tasks of a stage were at a time, in UTC."""

    time: str
    tasks: dict[str, TaskProgress]


class ErrorRecord(TypedDict):
    """What ended a run early."""

    type: str
    message: str


_Pass = TypedDict("_Pass", {"pass": NotRequired[int]})  # a word of Python's, which no class can have


class RunRecord(_Pass, Commit):
    """The content of run.json."""

    format: int
    name: str
    status: str
    fingerprint: str
    created: str
    stages: dict[str, StageRecord]
    counts: dict[str, int]
    versions: dict[str, str]
    error: ErrorRecord | None
    updated: NotRequired[str]


class ModelRecord(VariantRecord, MeasuredRecord):
    """The content of model.json. What is not required tells of a training, or of where a model was brought from.

    `preprocess` are the fields of `Preprocess`, `findings` several with a logit each, `memorisation` by finding the
    fields of `Memory`.
    """

    network: str
    classes: list[str]
    findings: NotRequired[list[str]]
    outputs: int
    preprocess: dict[str, Any]
    checkpoint: NotRequired[str]
    epochs: NotRequired[int]
    chosen_epoch: NotRequired[int | None]
    memorised: float | None
    label_agreement: NotRequired[float]
    majority: NotRequired[float]
    memorisation: NotRequired[dict[str, dict[str, Any]]]
    unanswered: NotRequired[dict[str, str]]


def of_finding(record: ModelRecord, finding: str) -> ModelRecord:
    """What a model of several findings says of one, in the fields of a model of two classes.

    A random model has memorised a finding by its balanced accuracy, of which a majority guess has a half.
    """
    found = record.copy()
    found["threshold"] = record["thresholds"][finding]
    found["metrics"] = {split: by_finding[finding] for split, by_finding in record["metrics_by_finding"].items()}
    found["memorised"] = None
    if "memorisation" in record:
        found["majority"] = 0.5
        if record["memorised"] is not None:
            found["memorised"] = record["memorisation"][finding]["balanced_accuracy"]
    return found


_CHECKSUM = "checksum"  # of the record's other fields


def record_bytes(record: RunRecord) -> bytes:
    """The content of run.json."""
    return json_bytes({**record, _CHECKSUM: _digest(record)})


def parse_record(data: bytes) -> RunRecord:
    """The content of run.json without its checksum, which records of older versions lack. Raises DamagedError."""
    try:
        record = json.loads(data)
    except ValueError as error:
        raise DamagedError(f"{RECORD}: damaged: not JSON: {error}") from error
    if not isinstance(record, dict) or record.pop(_CHECKSUM, None) not in (None, _digest(record)):
        raise DamagedError(f"{RECORD}: damaged: not what was written")
    return cast(RunRecord, record)


def _digest(record: Mapping[str, object]) -> str:
    return integrity.sha256(json.dumps(record, sort_keys=True).encode())
