"""The records of a run: `run.json`, where it stands, told by its own checksum from a damaged one; and `model.json`."""

import json
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict, cast

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


class ModelRecord(VariantRecord):
    """The content of model.json. What is not required tells of a training, or of where a model was brought from.

    `metrics` are those of `Classification` for each split, `preprocess` the fields of `Preprocess`.
    """

    network: str
    classes: list[str]
    outputs: int
    preprocess: dict[str, Any]
    checkpoint: NotRequired[str]
    threshold: float
    metrics: dict[str, dict[str, Any]]
    epochs: NotRequired[int]
    chosen_epoch: NotRequired[int | None]
    memorised: float | None
    label_agreement: NotRequired[float]
    majority: NotRequired[float]
    unanswered: NotRequired[dict[str, str]]


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
