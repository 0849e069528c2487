"""What pages tell people to type: commands with these options, job files that are valid, targets of make."""

import re
import shlex
import tomllib

import click
import pytest
from helpers.paths import DOCS, ROOT
from markdown_it import MarkdownIt

from pneumo_batch import cli
from pneumo_batch.errors import JobError
from pneumo_batch.job import jobfile

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
TEXTS = [*PAGES, *sorted((ROOT / "cluster").rglob("*.md"))]
SHELL = ("console", "bash", "sh", "")  # of fences
PLACEHOLDER = "COMMAND"


def tokens(path):
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(path.read_text(encoding="utf-8"))


def code(path):
    """The lines of a page that are for a shell: of fences, continued ones joined, and spans within sentences."""
    for token in tokens(path):
        if token.type == "fence" and token.info in SHELL:
            yield from token.content.replace("\\\n", " ").splitlines()
        yield from (inner.content for inner in token.children or [] if inner.type == "code_inline")


def calls(program, lines):
    """The arguments of each call of a program: without prompt, environment, comment and what follows."""
    for line in lines:
        command = re.sub(r"^\s*(\$ )?([A-Z_]+=\S* )*", "", line)
        if command.startswith(f"{program} ") or command == program:
            words = shlex.split(re.split(r" (?:&&|\|\|?|;|>+|2>) ", command)[0], comments=True)
            yield words[1:]


def commands(command=cli.cli):
    """Every command of the program, groups included."""
    yield command
    for inner in getattr(command, "commands", {}).values():
        yield from commands(inner)


def command_of(arguments):
    """The command that a call names, and what is left for it. Fails where there is no such command."""
    command = cli.cli
    while isinstance(command, click.Group) and arguments and arguments[0] != PLACEHOLDER and arguments[0][0] != "-":
        name, *arguments = arguments
        assert name in command.commands, f"no command {name!r}"
        command = command.commands[name]
    return command, arguments


def check(arguments):
    """A call has options that its command knows, and what it sets of a shipped job holds."""
    command, rest = command_of(arguments)
    values, _, _ = command.make_parser(click.Context(command)).parse_args(list(rest))
    job, overrides = values.get("job_file"), values.get("overrides")  # what is not given is a mark of click's own
    if isinstance(job, str) and ((ROOT / job).is_file() or (ROOT / "jobs" / f"{job}.toml").is_file()):
        jobfile.load(
            str(ROOT / job) if job.endswith(".toml") else job, overrides if isinstance(overrides, list) else []
        )


EVERY = {path: list(calls("pneumo-batch", code(path))) for path in TEXTS}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_a_page_are_there_with_these_options(path):
    for arguments in EVERY[path]:
        check(arguments)


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: command.name)
def test_examples_of_the_help_are_calls_of_the_command(command):
    found = list(calls("pneumo-batch", (command.help or "").splitlines()))
    assert found or isinstance(command, click.Group)
    for arguments in found:
        check(arguments)
        assert command is cli.cli or command_of(arguments)[0] is command


def test_calls_are_found_and_wrong_ones_are_told():
    every = [arguments for found in EVERY.values() for arguments in found]
    assert len(every) > 50
    assert len({command_of(arguments)[0].name for arguments in every}) > 15
    with pytest.raises(AssertionError, match="no command 'atribute'"):
        check(["atribute", "RUN"])
    with pytest.raises(click.NoSuchOption):
        check(["run", "demo", "--limt", "3"])
    with pytest.raises(JobError, match="no such field"):
        check(["run", "demo", "--set", "data.rot=x"])
    assert list(calls("make", ["$ PYTHON=python3 make run  # all of it", "make-up", "make a && b"])) == [["run"], ["a"]]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_options_and_targets_of_make_that_a_page_names_are_there(path):
    options = {name for command in commands() for option in command.params for name in option.opts} | {"--help"}
    for line in code(path):
        if line.startswith("--"):
            assert re.split(r"[ =]", line)[0] in options, line
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for arguments in calls("make", code(path)):
        assert {word for word in arguments if "=" not in word} <= targets, arguments


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_of_the_repository_that_a_page_names_are_there(path):
    named = re.findall(
        r"(?<=[`(\s])(?:tests|tools|cluster|docs|jobs|bench)/[\w/.-]+\.(?:py|md|toml|sh)\b", path.read_text()
    )
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_job_files_that_a_page_shows_are_valid(path):
    """Whole ones, and parts of one."""
    for token in tokens(path):
        if token.type == "fence" and token.info == "toml":
            jobfile.parse({"name": "part", **tomllib.loads(token.content)}, path.name)
