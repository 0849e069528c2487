"""The report in a real browser: no errors, and controls that do what they say. Skipped without a Chromium."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_runs import make_run

from pneumo_batch import report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
QUIET = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=3000",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    run = make_run(root)
    report.run(run.job, run, None)
    return root / "run" / "report" / "index.html"


def dump(page: Path, fragment: str, profile: Path) -> tuple[str, list[str]]:
    """The document once its script has run, and what it wrote to the console."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [BROWSER, *QUIET, *sandbox, f"--user-data-dir={profile}", "--dump-dom", f"{page.as_uri()}{fragment}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def visible_cases(dom: str) -> list[str]:
    return [tag for tag in re.findall(r"<article [^>]*>", dom) if " hidden" not in tag]


def test_opens_without_errors_and_shows_the_first_case(page, tmp_path):
    dom, console = dump(page, "", tmp_path)
    assert console == []
    (case,) = visible_cases(dom)
    assert 'id="case-0"' in case
    total = len(re.findall(r"<article ", dom))
    assert f'<span id="place" role="status">1 of {total}</span>' in dom


def test_tables_are_narrowed_down_to_the_primary_measure(page, tmp_path):
    dom, _ = dump(page, "", tmp_path)
    table = dom[dom.index('data-table="summary"') :]
    table = table[: table.index("</table>")]
    rows = re.findall(r"<tr( hidden=\"\")?><th scope=\"row\">", table)
    shown = [row for row in rows if not row]
    assert len(shown) == 2 * 7  # methods x kinds, over all images
    assert f"{len(shown)} of {len(rows)} rows" in table


def test_the_address_sets_image_view_and_opacity(page, tmp_path):
    dom, console = dump(page, "#case=2&view=signed&opacity=40", tmp_path)
    assert console == []
    (case,) = visible_cases(dom)
    assert 'id="case-2"' in case
    section = re.search(r'<section id="gallery"[^>]*>', dom)[0]
    assert 'data-view="signed"' in section
    assert "--opacity: 0.4" in section
    assert '<output id="opacity-shown">40 %</output>' in dom


def test_a_rule_filters_the_images(page, tmp_path):
    dom, _ = dump(page, "#rule=1", tmp_path)
    (case,) = visible_cases(dom)
    assert " 1 " in re.search(r'data-rules="([^"]*)"', case)[1]
    thumbs = re.findall(r'<button type="button" class="thumb[^>]*>', dom)
    left = [thumb for thumb in thumbs if " hidden" not in thumb]
    matching = [
        tag for tag in re.findall(r"<article [^>]*>", dom) if " 1 " in re.search(r'data-rules="([^"]*)"', tag)[1]
    ]
    assert 0 < len(left) == len(matching) < len(thumbs)
