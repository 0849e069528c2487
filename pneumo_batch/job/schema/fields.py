"""How a field of a job is declared: whether it changes results, and what a table of the job file refuses.

A field declared with neither fails a test: a missed one would let a run resume with other people's numbers.
"""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from pneumo_batch.core.variants import NAME_PATTERN

Entry = TypeVar("Entry")
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # of a model: numpy's generators take none below 0, tables none above

JOB_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
ARM_NAME = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$"
RAY_ADDRESS = r"^(local|auto|(ray://)?[^/\s]+:[0-9]{1,5})$"
PATTERNS = {  # in words, for those whose value is refused
    JOB_NAME: "must begin with a letter or digit and hold only letters, digits, '_', '.' and '-', at most 64 of them",
    ARM_NAME: "must begin with a lower-case letter and hold only lower-case letters and digits, in words joined by '_'",
    NAME_PATTERN: "must begin with a lower-case letter and hold only those, digits and '_', at most 63 of them",
    RAY_ADDRESS: 'must be "local", "auto", HOST:PORT or ray://HOST:PORT; http://HOST:8265 is what submit takes',
}


def result(default: Any = ..., **constraints: Any) -> Any:
    """A field that changes results: part of the fingerprint."""
    return Field(default, json_schema_extra={"changes_results": True}, **constraints)


def neutral(default: Any = ..., **constraints: Any) -> Any:
    """A field that changes no result: left out of the fingerprint."""
    return Field(default, json_schema_extra={"changes_results": False}, **constraints)


def no_repeats(value: list[Entry]) -> list[Entry]:
    """For a list in which an entry has no meaning twice, as `field_validator(name)(no_repeats)`. Raises ValueError."""
    if len(set(value)) < len(value):
        raise ValueError("names an entry twice")
    return value


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
