"""How a field of a job is declared: whether it changes results, and what a table of the job file refuses.

A field declared with neither fails a test: a missed one would let a run resume with other people's numbers.
"""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Entry = TypeVar("Entry")


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
