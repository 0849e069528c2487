"""Where a job runs: `[cluster]`."""

from typing import Literal

from pydantic import field_validator

from pneumo_batch.job.schema.fields import RAY_ADDRESS, Section, neutral


class Cluster(Section):
    """Where the job runs. Never part of the fingerprint."""

    address: str = neutral("local", pattern=RAY_ADDRESS)
    """"local" starts Ray here; "auto", host:6379 or ray://host:10001 joins a running cluster."""
    actors: int | tuple[int, int] | Literal["auto"] = neutral("auto")
    """Attribution actors; "auto" is one per available CPU or GPU share; [least, most] follows a growing cluster."""
    gpus_per_actor: float | Literal["auto"] = neutral("auto")
    """GPU share of an attribution actor; "auto" is a quarter, or a whole GPU for films above 128 px."""
    gpus_per_training: float | Literal["auto"] = neutral("auto")
    """GPU share of a training; "auto" as for actors. With train.workers above 1 each worker takes a whole GPU."""
    trainings: int | tuple[int, int] | Literal["auto"] = neutral("auto")
    """Variants trained at once; "auto" is as many as fit; [least, most] follows a growing cluster."""
    stall_seconds: float = neutral(3600.0, gt=0)
    """An image that keeps a worker busy for longer, all variants together, is quarantined."""

    @field_validator("actors", "trainings")
    @classmethod
    def _at_least_one(cls, value: int | tuple[int, int] | str) -> int | tuple[int, int] | str:
        if not isinstance(value, str) and min(value if isinstance(value, tuple) else (value,)) < 1:
            raise ValueError("must be 1 or more, or auto")
        if isinstance(value, tuple) and value[0] > value[1]:
            raise ValueError("must not begin with more than it ends with")
        return value

    @field_validator("gpus_per_training")
    @classmethod
    def _at_most_a_whole(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and not 0 <= value <= 1:
            raise ValueError("must be between 0 and 1, or auto")
        return value

    @field_validator("gpus_per_actor")
    @classmethod
    def _a_share(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and (value < 0 or (value > 1 and value != int(value))):
            raise ValueError("must be between 0 and 1, a whole number, or auto")
        return value
