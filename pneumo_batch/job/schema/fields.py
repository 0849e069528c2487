"""How a field of a job is declared: whether it changes results, and what a table of the job file refuses.

A field declared with neither fails a test: a missed one would let a run resume with other people's numbers.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def result(default: Any = ..., **constraints: Any) -> Any:
    """A field that changes results: part of the fingerprint."""
    return Field(default, json_schema_extra={"changes_results": True}, **constraints)


def neutral(default: Any = ..., **constraints: Any) -> Any:
    """A field that changes no result: left out of the fingerprint."""
    return Field(default, json_schema_extra={"changes_results": False}, **constraints)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
