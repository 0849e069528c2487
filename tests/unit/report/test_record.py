from types import SimpleNamespace

from pneumo_batch.report.parts import MISSING
from pneumo_batch.report.sections import record


def test_model_cards_escape_names(full):
    run, _, _, _ = full
    card = run.store.read_bytes("report/model_card_true_0.md").decode()
    assert "<script>" not in card
    assert "&lt;script&gt;" in card
    assert "not for clinical use" in card


def test_model_cards_say_how_the_model_does_on_every_group(full):
    run, page, _, _ = full
    card = run.store.read_bytes("report/model_card_true_0.md").decode()
    rows = {row[2]: row[3:] for row in page.tables["subtypes"][1:] if row[0] == "true_0"}
    (line,) = [line for line in card.splitlines() if line.startswith("- Classified correctly on test: ")]
    assert line.count(" of ") == len(rows) == 3
    assert f"{rows['NORMAL'][1]} of {rows['NORMAL'][0]} NORMAL" in line
    order = [line.partition(":")[0] for line in card.splitlines() if line.startswith(("- train:", "- val:", "- test:"))]
    assert order == ["- train", "- val", "- test"]
    assert "- test: 6 NORMAL and 6 " in card


def test_the_stage_that_writes_the_page_is_not_said_to_run():
    done = {"status": "complete", "seconds": 2.5, "counts": {"methods": 2}}
    for report in ({"status": "running"}, {"status": "complete", "seconds": 9.0, "counts": {"figures": 3}}):
        source = SimpleNamespace(record={"stages": {"conclude": done, "report": report}})
        rows = [["conclude", "complete", "2.5", "methods 2"], ["report", "writes this page", MISSING, ""]]
        assert record._stages(source) == rows
