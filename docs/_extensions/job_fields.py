"""The reference of job files, made of the JSON Schema that job files are validated with."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PAGE = "reference/job-file"
PLACE = "<!-- fields -->"  # invisible where the page is read as a file
_NAMES = {
    "string": "string",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "table",
}

Schema = Mapping[str, Any]


def markdown(schema: Schema) -> str:
    """Every field of a job with type, limits, default and description, one section a table of the file.

    `schema` is the JSON Schema of `Job`; the result is MyST Markdown.
    """
    definitions = schema["$defs"]
    fields = [field for field in schema["properties"].items() if _section_name(field[1]) is None]
    parts = ["## The job", *_fields(fields, "", schema.get("required", []), definitions)]
    for name, field in schema["properties"].items():
        if (section := _section_name(field)) is not None:
            title = f"[[{name}]]" if field.get("type") == "array" else f"[{name}]"
            parts += [f"## `{title}`", *_section(definitions[section], name, definitions)]
    return "\n\n".join(parts)


def _section_name(field: Schema) -> str | None:
    """Name of the definition that a field refers to, by itself or as what a list holds; None for plain fields."""
    reference = field.get("$ref") or field.get("items", {}).get("$ref")
    return reference.rpartition("/")[2] if reference else None


def _section(section: Schema, path: str, definitions: Schema) -> list[str]:
    parts = [_text(section["description"])] if "description" in section else []
    return parts + list(_fields(section["properties"].items(), f"{path}.", section.get("required", []), definitions))


def _fields(fields: Any, prefix: str, required: list[str], definitions: Schema) -> Iterator[str]:
    for name, field in fields:
        inner = _section_name(field)
        if inner is None:
            yield _field(prefix + name, field, name in required)
        else:
            yield from _section(definitions[inner], prefix + name, definitions)


def _field(path: str, field: Schema, required: bool) -> str:
    default = "none: the job has to give it" if required else f"`{_toml(field.get('default'))}`"
    if not required and field.get("default") is None:
        default = "none"
    lines = [
        f"```{{confval}} {path}",
        f":type: {_type(field)}",
        f":default: {default}",
        "",
        _text(field["description"]),
    ]
    if not field["changes_results"]:
        lines += ["", "Not part of the fingerprint."]
    return "\n".join([*lines, "```"])


def _type(field: Schema) -> str:
    """What may stand there, with its limits, in words."""
    if "anyOf" in field:
        return ", or ".join(_type(choice) for choice in field["anyOf"] if choice.get("type") != "null")
    if "const" in field or "enum" in field:
        values = field.get("enum", [field.get("const")])
        return " \\| ".join(f"`{_toml(value)}`" for value in values)
    if "prefixItems" in field:
        return f"list of {len(field['prefixItems'])}: " + ", ".join(_type(item) for item in field["prefixItems"])
    if field["type"] == "array":
        least = ", at least one" if field.get("minItems") else ""
        return f"list of: {_type(field['items'])}{least}"
    return ", ".join([_NAMES[field["type"]], *_limits(field)])


def _limits(field: Schema) -> Iterator[str]:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
        "multipleOf": "a multiple of",
    }
    for key, word in words.items():
        if key in field:
            yield f"{word} {field[key]:g}"
    if field.get("minLength"):
        yield "not empty"
    if "pattern" in field:
        yield f"matching `{field['pattern']}`"


def _text(description: str) -> str:
    """A description as Markdown: what stands between backticks stays, marks of Markdown elsewhere mean themselves."""
    return re.sub(r"`[^`]*`|[*<\[]", lambda found: found[0] if len(found[0]) > 1 else f"\\{found[0]}", description)


def _toml(value: Any) -> str:
    """A default as a job file would have it; strings, numbers, booleans and flat lists look as in JSON."""
    return json.dumps(value)


def _fill(_app: "Sphinx", name: str, content: list[str]) -> None:
    if name == PAGE:
        from pneumo_batch.job.schema import Job

        assert PLACE in content[0]
        content[0] = content[0].replace(PLACE, markdown(Job.model_json_schema()))


def setup(app: "Sphinx") -> dict[str, bool]:
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}
