"""What the commands have in common: exit codes, options, how a job file is read and how they print."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from pneumo_batch.core.statistics.outcomes import OUTCOMES, Requirement
from pneumo_batch.core.variants import NAME_PATTERN, TRUE
from pneumo_batch.errors import JobError, did_you_mean

if TYPE_CHECKING:
    from pneumo_batch.job.schema import Job


Command = TypeVar("Command", bound=Callable[..., object])


def json_option(function: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON to stdout.")(function)


def set_option(function: Command) -> Command:
    return click.option(
        "--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Override a job field; repeatable."
    )(function)


def load(job_file: str, overrides: tuple[str, ...], limit: int | None = None, address: str | None = None) -> "Job":
    from pneumo_batch.job import jobfile

    extra = [f"attribution.limit={limit}"] if limit else []
    extra += [f'cluster.address="{address}"'] if address else []
    return jobfile.load(job_file, [*overrides, *extra])


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def complain(message: str, code: int) -> int:
    from pneumo_batch import terminal

    terminal.say(f"pneumo-batch: {message}", level="error", exit_code=code)
    return code


def require_option(function: Command) -> Command:
    return click.option(
        "--require",
        "required",
        multiple=True,
        metavar="[ARM/][[METHOD][@TARGET]=]VERDICT",
        callback=_requirements,
        help="Exit with 4 unless the verdict of every method (or METHOD) for every target (or TARGET) is VERDICT;"
        " with ARM, the verdict on that arm. Repeatable.",
    )(function)


def _requirements(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> list[Requirement]:
    found = []
    for text in texts:
        arm, rest = _arm_of(text)
        of, _, verdict = rest.rpartition("=")
        if verdict not in OUTCOMES:
            known = ", ".join(OUTCOMES)
            hint = did_you_mean(verdict, OUTCOMES)
            raise JobError(f"--require {text}: {verdict!r} is no verdict{hint}: choose one of {known}")
        method, _, target = of.partition("@")
        found.append(Requirement(method or None, verdict, target or None, arm))
    return found


def _arm_of(text: str) -> tuple[str | None, str]:
    """The arm that a requirement names, and the rest; names of targets may have a slash, too."""
    head, slash, rest = text.partition("/")
    return (head, rest) if slash and re.fullmatch(NAME_PATTERN, head) else (None, text)


def requirements_of(job: "Job", required: list[Requirement]) -> list[Requirement]:
    """What is required, by the names of the job.

    Raises JobError for a method that the job does not attribute by, a target it does not explain, another arm.
    """
    arms = [name for name in job.arms if name != TRUE]
    of_job = [_of_setting(one, job) for one in required]
    for one in of_job:
        for kind, name, known in (
            ("arm", one.arm, arms),
            ("target", one.target, job.attribution.targets),
            ("method", one.method, job.attribution.methods),
        ):
            if name is not None and name not in known:
                hint, listed = did_you_mean(name, known), ", ".join(known)
                raise JobError(f"--require {one.text}: the job has no {kind} {name!r}{hint}; there are: {listed}")
    return of_job


def _of_setting(required: Requirement, job: "Job") -> Requirement:
    """The same, where what stands behind the first @ is a setting of the method, and a target only behind the next."""
    if required.method is None or required.target is None:
        return required
    setting, _, target = required.target.partition("@")
    method, methods = f"{required.method}@{setting}", job.attribution.methods
    meant = required.target not in job.attribution.targets and any("@" in name for name in methods)
    return required._replace(method=method, target=target or None) if method in methods or meant else required
