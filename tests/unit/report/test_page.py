"""The page as a whole: what may be in it, and what belongs to it."""

import base64
import hashlib
import itertools
import re
import webbrowser
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.report_runs import EVIL, EVIL_FILE

from pneumo_batch import cli
from pneumo_batch.report import selection
from pneumo_batch.report.source import Source


def test_names_from_outside_are_text(full):
    _, page, text, _ = full
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "<b>file</b>" not in text
    assert len(page.scripts) == 1
    assert any(EVIL in line for line in page.text)
    assert any(EVIL_FILE in line for line in page.text)
    assert page.tables["quarantine"][1][-1] == "truncated <b>file</b>"


def test_only_our_script_may_run_and_nothing_may_be_loaded(full):
    _, page, _, _ = full
    policy = next(one["content"] for one in page.of("meta") if one.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


@pytest.mark.parametrize("name", ["full", "pair", "many"])
def test_the_page_refers_to_nothing_outside(name, request):
    _, page, text, _ = request.getfixturevalue(name)
    for _, attributes in page.tags:
        for key in ("src", "href"):
            assert re.match(r"data:|#", attributes.get(key) or "#"), attributes
        assert not [key for key in attributes if key.startswith("on") or key == "style"]
    assert not re.search(r"https?://|@import|url\((?!\"data:)", text)


@pytest.mark.parametrize("name", ["full", "pair", "many"])
def test_every_picture_says_what_it_shows_and_headings_are_in_order(name, request):
    _, page, _, _ = request.getfixturevalue(name)
    assert page.of("img")
    assert all(attributes["alt"].strip() for attributes in page.of("img"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.of("th"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_counts_and_files(full):
    run, page, text, counts = full
    cases = [one for one in page.of("article") if "case" in one["class"]]
    assert counts["images"] == len(cases) == len(selection.choose(Source(run)))
    assert counts["bytes"] == len(text.encode())
    names = {Path(name).name for name in run.store.files("report/figures")}
    assert {"roc.svg", "similarity_grad_cam.svg", "counts.csv", "models_integrated_gradients.svg"} <= names
    assert counts["figures"] == sum(name.endswith((".svg", ".png")) for name in names)
    assert all(row[0] != row[1] for row in page.tables["counts"])


def test_the_command_writes_the_same_page_again_and_opens_it(pair, monkeypatch):
    run, _, text, _ = pair
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    done = CliRunner().invoke(cli.cli, ["report", run.path, "--open"])
    page = Path(run.path) / "report" / "index.html"
    assert (done.exit_code, done.output) == (0, f"{run.path}/report/index.html\n")
    assert opened == [page.as_uri()]
    assert page.read_text(encoding="utf-8") == text
    assert CliRunner().invoke(cli.cli, ["report", run.path]).exit_code == 0
    assert len(opened) == 1
