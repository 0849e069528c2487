"""The documentation holds together: pages are in the site, links lead somewhere, no job field is missing."""

import functools
import importlib.util
import itertools
import re
import runpy

import pytest
from helpers.job_fields import sections
from helpers.paths import DOCS, ROOT
from markdown_it import MarkdownIt

from pneumo_batch.job.schema import Job

PAGES = sorted(page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md"))
TEXTS = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "cluster").rglob("*.md")]
CONF = runpy.run_path(str(DOCS / "conf.py"))
JOB_FIELDS = runpy.run_path(str(DOCS / "_extensions" / "job_fields.py"))


def parsed(path):
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(path.read_text(encoding="utf-8"))


def inside(tokens):
    for token in tokens:
        yield token
        yield from inside(token.children or [])


def links(path):
    """Where the links and pictures of a text lead to, but for other sites."""
    found = [token.attrGet("href") or token.attrGet("src") for token in inside(parsed(path))]
    return [target for target in found if target and not re.match(r"[a-z]+:", str(target))]


def anchors(path):
    """The names that code hosts and the site give the headings of a text."""
    tokens = parsed(path)
    titles = [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def entries(path):
    """Pages that the tables of contents in a page name."""
    trees = [token.content for token in parsed(path) if token.type == "fence" and token.info == "{toctree}"]
    lines = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    names = [match[1] if (match := re.search(r"<(.*)>$", line)) else line for line in lines]
    return [name for pattern in names for name in PAGES if re.fullmatch(pattern.replace("*", "[^/]*"), name)]


def test_every_page_is_in_the_table_of_contents_once():
    assert sorted(["index", *entries(DOCS / "index.md")]) == PAGES


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(path):
    for target in links(path):
        name, _, anchor = target.partition("#")
        there = path.parent / name if name else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_the_links_of_the_readme_are_looked_at():
    assert {"docs/method.md", "docs/training.md#what-is-reproducible", "docs/images/result.png"} <= {
        *links(ROOT / "README.md")
    }


def test_pages_of_modules_wait_for_no_module_that_is_written():
    assert [name for name in CONF["unwritten"] if importlib.util.find_spec(f"pneumo_batch.{name}")] == []
    assert {f"reference/python-{name}" for name in CONF["unwritten"]} <= {*PAGES}


@functools.cache
def described():
    """Each field of the reference of job files: its name and what is said of it."""
    text = JOB_FIELDS["markdown"](Job.model_json_schema())
    return dict(re.findall(r"^```\{confval\} (\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def test_the_reference_of_job_files_has_every_field_and_no_other():
    def leaves(values, prefix=""):
        for name, value in values.items():
            yield from leaves(value, f"{prefix}{name}.") if value and isinstance(value, dict) else [prefix + name]

    variant = {"name": "mine", "kind": "true", "checkpoint": "mine.pt"}
    arm = {"name": "half", "seeds": [7]}
    job = Job.model_validate({"name": "any", "variant": [variant], "arm": [arm]}).model_dump()
    assert described().keys() == {*leaves({**job, "variant": job["variant"][0], "arm": job["arm"][0]})}


@pytest.mark.parametrize("model", list(sections()), ids=lambda model: model.__name__)
def test_the_reference_of_job_files_gives_limits_and_descriptions(model):
    texts = described()
    for name, field in model.model_fields.items():
        if field.json_schema_extra is None:
            continue  # a section
        own = [text for path, text in texts.items() if path.rpartition(".")[2] == name]
        limits = [
            value
            for limit in field.metadata
            for key in ("ge", "gt", "le", "lt")
            if (value := getattr(limit, key, None)) is not None
        ]
        plain = [text.replace("\\", "") for text in own if field.description in text.replace("\\", "")]
        assert plain, name
        assert any(all(f" {limit:g}" in text for limit in limits) for text in plain), name


def test_a_field_says_what_may_stand_there():
    texts = described()
    assert texts["data.image_size"].startswith(
        ":type: whole number, at least 32, at most 2048, a multiple of 32\n:default: `224`\n"
    )
    assert texts["data.pad"].startswith(':type: `"black"` \\| `"none"`\n:default: `"black"`\n')
    assert ":default: none: the job has to give it" in texts["variant.checkpoint"]
    assert "Not part of the fingerprint." in texts["cluster.address"]
    assert "fingerprint" not in texts["train.workers"]


STALE = [ROOT / "README.md", *DOCS.rglob("*.md"), *(ROOT / "cluster").rglob("*"), *(ROOT / "tests/bench").glob("*.py")]
PACKAGE = ROOT / "pneumo_batch"


@pytest.mark.parametrize("path", [p for p in STALE if p.is_file() and p.suffix != ".pyc"], ids=lambda p: p.name)
def test_modules_and_files_that_a_text_names_are_there(path):
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![\w./-])pneumo_batch(?:\.[a-z_]\w*)+", text):
        parts = name.split(".")[1:]
        place = PACKAGE
        while parts and (place / parts[0]).is_dir():
            place /= parts.pop(0)
        known = not parts or (place / f"{parts[0]}.py").is_file() or parts[0] in (place / "__init__.py").read_text()
        assert known, f"{path.name}: {name}"
    folders = "|".join(sorted(folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()))
    for name in re.findall(rf"(?<![\w./-])((?:pneumo_batch/)?(?:{folders})/[\w/]+\.py)\b", text):
        assert (PACKAGE / name.removeprefix("pneumo_batch/")).is_file(), f"{path.name}: {name}"
