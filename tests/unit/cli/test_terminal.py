"""Names are printed as they are, by every table, line and bar."""

import math
import os
import subprocess
import sys

import pytest
from rich.progress import Progress

from pneumo_batch import terminal
from pneumo_batch.cli import data_check, display, doctor, estimate
from pneumo_batch.core.data.audit import Audit

ODD = "a [red]b[/red] [viral] [/] :smile: \\[c] {d} 100%"


def test_lines_of_a_table_end_with_their_words(capsys):
    table = terminal.table("stage", "would do")
    table.add_row("index", "a" * 300)
    table.add_row("train", "")
    terminal.console().print(table)
    assert capsys.readouterr().out.splitlines() == ["stage  would do", f"index  {'a' * 300}", "train"]


@pytest.mark.parametrize(
    ("hours", "line"),
    [
        (0.0, "less than 0.01 core-hours for cnn5"),
        (0.009, "less than 0.01 core-hours for cnn5"),
        (40.0, "about 40 core-hours for cnn5: about 20 hours here, in an hour on about 3 nodes of 16 cores"),
    ],
)
def test_next_to_no_core_hours_are_not_about_0(hours, line):
    about = estimate.Hours(hours, hours / 2, math.ceil(hours / 16), 16, "cnn5", 0.0)
    assert estimate._attribution(about, " for cnn5") == line


def test_the_audit_of_a_class_with_brackets(capsys):
    found = Audit(
        errors=[f"error of {ODD}"],
        warnings=[f"warning of {ODD}"],
        images=2,
        counts={"test": {ODD: {ODD: 2}}},
        sizes={ODD: {"width": {"min": 1.0, "median": 2.0, "max": 3.0}}},
        modes={ODD: {ODD: 2}},
        duplicates={"groups": 0, "images": 0},
        copies={},
        patients={"test": 1},
        patient_overlap=0,
        patient_rules={"nothing": 1},
        quarantined={},
        passed_over={},
    )
    data_check.show(found, f"films {ODD}")
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"films {ODD}: 2 images, 0 unreadable"
    assert shown[3].rstrip() == f"test   {ODD}  {ODD}  2"
    assert shown[6].startswith(f"{ODD}  width")
    assert shown[9].rstrip() == f"{ODD}  {ODD}  2"
    assert shown[-2:] == [f"error: error of {ODD}", f"warning: warning of {ODD}"]


def test_the_machine_the_runs_and_the_plan(capsys):
    doctor.show_machine([doctor.Check("data", True, ODD), doctor.Check("disk", False, ODD)])
    assert capsys.readouterr().out == f"ok   data      {ODD}\nfail disk      {ODD}\n"
    row = {
        "run_dir": f"runs {ODD}",
        "status": "complete",
        "updated": "now",
        "counts": {},
        "verdicts": {"m": "invalid"},
        "shares": {"m": None},
        "targets": [],
    }
    display.show_rows([row], "runs")
    assert capsys.readouterr().out.splitlines()[1].startswith(f"runs {ODD}  complete")
    display.show_rows([], ODD)
    assert capsys.readouterr().out == f"no runs in {ODD}\n"


def test_bars_and_their_notes_take_no_markup():
    with Progress(console=terminal.progress_console()) as bars, bars.console.capture() as captured:
        bars.console.print(ODD)
    assert captured.get() == f"{ODD}\n"


def test_a_narrow_terminal_shortens_no_name(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    name = "a" * 90
    table = terminal.table("run", "status")
    table.add_row(name, "complete")
    terminal.console().print(f"run {name}")
    terminal.console().print(table)
    line, *rows = capsys.readouterr().out.splitlines()
    assert line == f"run {name}"
    assert "".join(row.split("complete")[0].strip() for row in rows[1:]) == name


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_name_that_is_no_text_is_printed_byte_for_byte(encoding):
    code = "from pneumo_batch import terminal\nfrom pneumo_batch.cli import options\nterminal.keep_names()\n"
    code += "terminal.console().print('film \\udce9.png \\u00e9')\noptions.complain('film \\udce9.png', 3)"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, timeout=60)
    assert ended.stdout == b"film \xe9.png " + (b"\xc3\xa9\n" if encoding == "utf-8" else b"\\xe9\n")
    assert ended.stderr == b"pneumo-batch: film \xe9.png\n"
