"""What the commands have in common: exit codes, options, how a job file is read and how they print."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from pneumo_batch.core.statistics.outcomes import OUTCOMES, Requirement
from pneumo_batch.core.variants import NAME_PATTERN, TRUE

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
        help="Exit with 4 unless every method, or METHOD, has this verdict, for every target, or TARGET;"
        " by ARM where one is named; repeatable.",
    )(function)


def _requirements(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> list[Requirement]:
    found = []
    for text in texts:
        arm, rest = _arm_of(text)
        of, _, verdict = rest.rpartition("=")
        if verdict not in OUTCOMES:
            raise click.BadParameter(f"{text!r}: the verdict is one of {', '.join(OUTCOMES)}")
        method, _, target = of.partition("@")
        found.append(Requirement(method or None, verdict, target or None, arm))
    return found


def _arm_of(text: str) -> tuple[str | None, str]:
    """The arm that a requirement names, and the rest; names of targets may have a slash, too."""
    head, slash, rest = text.partition("/")
    return (head, rest) if slash and re.fullmatch(NAME_PATTERN, head) else (None, text)


def check_requirements(required: list[Requirement], job: "Job") -> None:
    """Raises UsageError for a method that the job does not attribute by, a target it does not explain, another arm."""
    methods, targets = job.attribution.methods, job.attribution.targets
    arms = [name for name in job.arms if name != TRUE]
    for one in required:
        if one.arm is not None and one.arm not in arms:
            raise click.UsageError(
                f"--require {one.text}: the job has no arm {one.arm!r}; there are: {', '.join(arms)}"
            )
        if one.target is not None and one.target not in targets:
            raise click.UsageError(
                f"--require {one.text}: the job has no target {one.target!r}; there are: {', '.join(targets)}"
            )
        if one.method is not None and one.method not in methods:
            raise click.UsageError(
                f"--require {one.text}: the job has no method {one.method!r}; there are: {', '.join(methods)}"
            )
