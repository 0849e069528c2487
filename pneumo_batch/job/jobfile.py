"""Job files: reading one, the fingerprint of what it asks for, a commented one to begin with."""

import difflib
import hashlib
import json
import os
import tomllib
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ValidationError

from pneumo_batch.core.variants import RANDOM
from pneumo_batch.errors import JobError, did_you_mean
from pneumo_batch.job.schema import FINDINGS_ONLY, NO_REGIONS, RESULTS_VERSION, Cascade, Data, Job, Section
from pneumo_batch.job.schema.fields import PATTERNS

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Table = Mapping[str, object]  # of TOML
Values = TypeVar("Values")

# ------------------------------------------------------------------------------------------------------------ loading


def load(path: str | Path, overrides: Iterable[str] = (), sections: Table | None = None) -> Job:
    """Read a job file, or the shipped job of that name, and apply `--set section.field=value` overrides and `sections`.

    Raises JobError with one line that names the file and the field.
    """
    path = Path(path)
    found = path if path.is_file() else shipped().get(str(path), path)
    try:
        values = tomllib.loads(found.read_text(encoding="utf-8-sig"))  # Windows editors put a byte order mark first
    except FileNotFoundError as error:
        hint = f"{did_you_mean(str(path), shipped())}; shipped jobs go by name: {', '.join(shipped())}"
        raise JobError(f"{path}: cannot read the job file: {error.strerror}{hint}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise JobError(f"{path}: cannot read the job file: {reason}") from error
    overrides = list(overrides)
    for override in overrides:
        _override(values, override)
    return parse(merged(values, sections or {}), str(path), overrides)


def merged(values: Table, changes: Table) -> dict[str, object]:
    """A job's values with those of `changes` in their places; of a table only the fields that are named change."""
    found = dict(values)
    for name, value in changes.items():
        before = found.get(name)
        is_table = isinstance(value, Mapping) and isinstance(before, Mapping)
        found[name] = merged(before, value) if is_table else value  # type: ignore[arg-type]
    return found


def parse(values: Table, source: str, overrides: Sequence[str] = ()) -> Job:
    """Validate the values of a job file; `source` names it in errors, or the one of `overrides` that is wrong."""
    try:
        return Job.model_validate(values)
    except ValidationError as error:
        blamed = _blamed(_first(error), source, overrides)
        raise JobError(" ".join(f"{blamed}: {_one_line(error)}".split())) from error


def _blamed(error: "ErrorDetails", source: str, overrides: Sequence[str]) -> str:
    """The override that set what is wrong; the file with it where both can be, as of fields that contradict."""
    for text in reversed(overrides):
        parts = tuple(text.partition("=")[0].strip().split("."))
        location = error["loc"][: len(parts)]
        if location == parts or (error["type"] == "extra_forbidden" and location == parts[: len(location)]):
            return f"--set {text}"
        if location and location == parts[: len(location)]:
            return f"{source} with --set {text}"
    return source


def _override(values: dict[str, object], text: str) -> None:
    key, separator, literal = text.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise JobError(f"--set {text}: expected section.field=value")
    for part in parts[:-1]:
        section = values.setdefault(part, {})
        if not isinstance(section, dict):
            raise JobError(f"--set {text}: {part} is not a section")
        values = section
    values[parts[-1]] = _literal(literal.strip())


def _literal(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word or path: --set data.root=../images


def _first(error: ValidationError) -> "ErrorDetails":
    """A field that is missing is often one that is misspelt, which says more."""
    return min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")


def _one_line(error: ValidationError) -> str:
    first = _first(error)
    # pydantic appends the union branch to the location: it is no field of the job file
    place = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("literal[", "list[", "tuple[")))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = f"no such field{_suggestion(first['loc'])}"
    elif first["type"] == "missing":
        message = "is missing"
    elif first["type"] == "list_type" and isinstance(first["input"], str | int | float):
        items = [_literal(part.strip()) for part in str(first["input"]).split(",")]
        message = f"should be a list, such as {json.dumps(items, default=str)}"
    elif first["type"] == "string_pattern_mismatch":
        message = f"{PATTERNS[first['ctx']['pattern']]} (got {first['input']!r})"
    elif not isinstance(first["input"], dict):
        message = f"{message} (got {first['input']!r})"
    rest = f"; and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"{place}: {message}{rest}" if place else f"{message}{rest}"


def _suggestion(location: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = Job
    for part in location[:-1]:
        if isinstance(part, int):  # of a list, whose field was the part before
            continue
        field = model.model_fields.get(part)
        kind = field.annotation if field else None
        if get_origin(kind) is list:
            (kind,) = get_args(kind)
        if not isinstance(kind, type) or not issubclass(kind, BaseModel):
            return ""
        model = kind
    close = difflib.get_close_matches(str(location[-1]), model.model_fields, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(model.model_fields)}"


# ------------------------------------------------------------------------------------------------------------ shipped


def shipped() -> dict[str, Path]:
    """The job files that come with pneumo-batch, by name; empty where only the package itself was copied to."""
    package = Path(str(resources.files("pneumo_batch")))
    # in an installed package they lie inside it, in a source tree (an editable install) beside it
    folder = package / "jobs" if (package / "jobs").is_dir() else package.parent / "jobs"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def shipped_text(name: str) -> str:
    """A shipped job as it is written, comments and all. Raises JobError for an unknown name."""
    jobs = shipped()
    if name not in jobs:
        hint = did_you_mean(name, jobs)
        raise JobError(f"--from {name}: no shipped job of that name{hint}; there are: {', '.join(jobs)}")
    return jobs[name].read_text(encoding="utf-8")


# -------------------------------------------------------------------------------------------------------- fingerprint


def result_values(section: BaseModel) -> dict[str, Any]:
    """The values of a section that change results, nested sections included."""
    values: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            values[name] = result_values(value)
        elif isinstance(value, list) and any(isinstance(item, BaseModel) for item in value):
            values[name] = [result_values(item) for item in value]
        elif isinstance(field.json_schema_extra, dict) and field.json_schema_extra["changes_results"]:
            values[name] = value
    return values


def fingerprint(job: Job, contents: Mapping[str, str]) -> str:
    """SHA-256 over everything that changes results, 64 hex digits.

    `contents` are digests of what the job refers to by place: the data listing, checkpoints, code of one's own.
    """
    values = result_values(job)
    if not job.is_phantom:
        del values["phantom"]
    if not job.cascade.seeds:
        del values["cascade"]
    else:
        _leave_out_defaults(values["cascade"], job.cascade)
    if job.data.findings is None:  # then the folders or the list say it all, and they are among the contents
        for name in ("format", "findings", *FINDINGS_ONLY):
            del values["data"][name]
    if not job.attribution.settings:
        del values["attribution"]["settings"]
    if job.data.regions != NO_REGIONS:  # else they are among the contents, where there are any
        del values["data"]["regions"]
    for spec in values.get("variant", []):
        if spec["outputs"] is None:
            del spec["outputs"]
    if not job.arms[RANDOM].keeps_structure:  # as all jobs were before there was a choice
        for name in ("random_unit", "random_within"):
            del values["train"][name]
    # it stops a run or lets it go on, and changes no result; fingerprints of before have it
    values["data"]["max_bad"] = Data.model_fields["max_bad"].default
    values |= {"contents": dict(contents), "version": [metadata.version("pneumo-batch"), RESULTS_VERSION]}
    # allow_nan=False: a value without a stable JSON form must not be fingerprinted
    canonical = json.dumps(values, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _leave_out_defaults(values: dict[str, Any], cascade: Cascade) -> None:
    """Fields that joined later, of jobs that do not use them."""
    if not cascade.noisy:
        del values["noisy"], values["noise"]
    if cascade.bins == type(cascade).model_fields["bins"].default:
        del values["bins"]


# ------------------------------------------------------------------------------------------------------------ privacy


def hidden_paths(job: Job) -> dict[str, str]:
    """What stands for each path of a job with absolute ones in records that go to others: a digest of 12 hex digits.

    A link is hidden, and so is the place it leads to; of a URI of this machine the path in it, too.
    """
    hidden: dict[str, str] = {}
    for text in _texts(job.model_dump()):
        path = urllib.parse.unquote(urllib.parse.urlsplit(text).path) if text.startswith("file://") else text
        if Path(path).is_absolute():
            digest = f"path-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
            hidden |= dict.fromkeys([text, path, os.path.normpath(path), os.path.realpath(path)], digest)
    return hidden


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def redacted(value: Values, hidden: Mapping[str, str]) -> Values:
    """Values of a record with what is hidden replaced, the longest path first: one may begin with another."""
    return cast(Values, _redacted(value, hidden))


def _redacted(value: object, hidden: Mapping[str, str]) -> object:
    if isinstance(value, dict):
        return {key: _redacted(item, hidden) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, hidden) for item in value]
    if isinstance(value, str):
        for path in sorted(hidden, key=len, reverse=True):
            value = value.replace(path, hidden[path])
    return value


# ----------------------------------------------------------------------------------------------------------- template


def template() -> str:
    """A job file with every field at its default and its description as a comment."""
    lines = ["# A pneumo-batch job: one file describes one run.", 'name = "my-job"', ""]
    for name, field in Job.model_fields.items():
        if isinstance(field.default, Section):
            lines += [f"[{name}]", *_template_lines(field.default), ""]
    lines += ["# A model brought along instead of trained, one table each:", "# [[variant]]", '# name = "mine"']
    lines += ['# kind = "true"', '# checkpoint = "mine.safetensors"', ""]
    lines += ["# Further models to contrast with the true ones, one table per arm:", "# [[arm]]", '# name = "half"']
    lines += ['# labels = "permuted"', "# fraction = 0.5", "# seeds = [200, 201, 202]"]
    return "\n".join(lines) + "\n"


def _template_lines(section: Section) -> list[str]:
    lines = []
    for name, field in type(section).model_fields.items():
        value = field.default
        values = value.model_dump() if isinstance(value, Section) else value
        text = tomli_w.dumps({name: values}).strip() if value is not None else f"{name} = "
        if value == {}:  # tomli_w would begin a table
            text = f"{name} = {{}}"
        if isinstance(value, Section):  # as an inline table, so that the section stays in one piece
            inner = ", ".join(tomli_w.dumps({key: part}).strip() for key, part in values.items())
            text = f"{name} = {{ {inner} }}"
        lines += [f"# {field.description}"] if field.description else []
        lines += [text if value is not None else f"# {text}"]
    return lines
