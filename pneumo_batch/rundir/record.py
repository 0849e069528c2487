"""The record of a run, `run.json`: where it stands, told by its own checksum from a damaged one."""

import json
from typing import Any

from pneumo_batch.errors import DamagedError
from pneumo_batch.rundir import integrity
from pneumo_batch.rundir.layout import RECORD
from pneumo_batch.rundir.storage import json_bytes

_CHECKSUM = "checksum"  # of the record's other fields


def record_bytes(record: dict[str, Any]) -> bytes:
    """The content of run.json."""
    return json_bytes({**record, _CHECKSUM: _digest(record)})


def parse_record(data: bytes) -> dict[str, Any]:
    """The content of run.json without its checksum, which records of older versions lack. Raises DamagedError."""
    try:
        record = json.loads(data)
    except ValueError as error:
        raise DamagedError(f"{RECORD}: damaged: not JSON: {error}") from error
    if not isinstance(record, dict) or record.pop(_CHECKSUM, None) not in (None, _digest(record)):
        raise DamagedError(f"{RECORD}: damaged: not what was written")
    return record


def _digest(record: dict[str, Any]) -> str:
    return integrity.sha256(json.dumps(record, sort_keys=True).encode())
