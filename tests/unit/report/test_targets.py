"""The report of a run with two of three classes as targets: the second has the tables of the first."""

import dataclasses
import json
import re
from types import SimpleNamespace

import matplotlib
import pyarrow as pa
import pytest
from helpers.report_runs import build, make_run

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.attribution.options import column_suffix
from pneumo_batch.core.statistics import arm_lines
from pneumo_batch.core.statistics.estimates import Estimate
from pneumo_batch.core.statistics.results import Specificity, SpecificityTest, TargetResult, read
from pneumo_batch.report.figures import base, specificity

HALF = {"name": "half", "fraction": 0.5, "seeds": [50, 51]}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return build(run_of_targets(tmp_path_factory.mktemp("two"), ("A", "B", "C"), ("C", "A")))


def run_of_targets(root, classes, targets):
    """A concluded run with two of its classes as targets, of which the second has the numbers of the first."""
    run = make_run(root, kinds=(2, 2), classes=classes, methods=("grad_cam",), curves=True, further=[HALF])
    job = run.store.read_bytes("job.toml").decode()
    run.store.write_bytes("job.toml", job.replace('target = "positive"', f"target = {json.dumps(targets)}").encode())
    run = type(run)(run.path)
    maps = run.store.read_table("maps")
    for name in [name for name in maps.column_names if "__" in name]:
        maps = maps.append_column(f"{name}{column_suffix(targets[1], targets)}", maps[name])
    run.store.write_table("maps/part-0.parquet", maps)
    scores, schema = run.store.read_table("scores", schema=tables.SCORES), tables.scores_schema(list(targets))
    parts = []
    for target in targets:
        column = pa.array([target] * len(scores)).dictionary_encode().cast(schema.field("target").type)
        parts.append(pa.table([*scores.columns, column, column], schema=schema))
    run.store.write_table("scores/part-0.parquet", pa.concat_tables(parts))
    summary = run.store.read_table("summary.parquet")
    run.store.write_table("summary.parquet", table_columns.joined_targets((target, summary) for target in targets))
    _name_targets(run, targets)
    return run


def _name_targets(run, targets):
    found, (one, other) = read(run.verdict), targets
    second = TargetResult(found.methods, found.variants, {"grad_cam/signed": {"true_0": 5}})
    by_name = {one: TargetResult(found.methods, found.variants, found.degenerate), other: second}
    numbers = SpecificityTest(random_share=0.5)
    cells = {found.primary.key: numbers}
    said = Specificity(tuple(targets), "inconclusive", ["Too few."], numbers=numbers, cells=cells)
    found = dataclasses.replace(found, target=one, targets=by_name, specificity={"grad_cam": [said]})
    run.store.write_json("verdict.json", found.as_dict())


@pytest.mark.parametrize(
    ("classes", "targets"),
    [
        (("A b", "a_b", "C"), ("A b", "a_b")),
        (("正常", "肺炎", "气胸"), ("肺炎", "气胸")),
        (("Норма", "+", "-"), ("+", "-")),
    ],
)
def test_every_picture_and_table_has_a_file_of_its_own(tmp_path, classes, targets):
    run, _, text, counts = build(run_of_targets(tmp_path, classes, targets))
    files = sorted(name.rpartition("/")[2] for name in run.store.walk("report/figures"))
    assert len(re.findall(r"<figure class=.picture", text)) == sum(not name.endswith(".csv") for name in files)
    assert counts["figures"] == sum(not name.endswith(".csv") for name in files)
    named = re.findall(r"figures/([^<]+[.]csv)", text)
    assert sorted(named) == [name for name in files if name.endswith(".csv")]
    assert len(set(named)) == len(named)


def test_each_target_has_its_own_fold_tables_and_rows_of_the_gallery(two):
    run, page, text, _ = two
    assert [row[0] for row in page.tables["targets"][1:]] == ["C", "A"]
    assert page.tables["verdict"] == page.tables["verdict_a"]  # the numbers of the second are those of the first
    assert len(page.tables["summary"]) == len(run.summary()) / 2 + 1
    assert "Constant maps: 5" in text
    assert "C and A are explained" in text
    assert "the logits of C and A, each separately," in text
    assert "<h4>Grad-CAM, C</h4>" in text
    assert "<h4>Grad-CAM, A</h4>" in text
    assert "for every two targets, this run cannot tell whether maps say which of the two is explained." in text
    figures = [name.rpartition("/")[2] for name in run.store.walk("report/figures")]
    assert {"verdict.csv", "verdict_a.csv", "targets.csv"} <= set(figures)


def test_what_is_of_the_first_target_alone_says_so(two):
    run, page, text, _ = two
    assert "Arms, of the first target, C" in page.text
    assert "Parameter randomization, of the first target, C: the network forgets layer by layer" in page.text
    assert (
        "The choice of films and the predictions beside them are of the first target, C; maps are of every target."
        in text
    )
    (line,) = arm_lines.arm_lines(read(run.verdict))
    assert line.startswith("half (50 % of the labels permuted), of the first target, C: grad_cam ")


def test_what_a_paper_says_of_several_targets(two):
    run, _, text, _ = two
    assert "For every two targets, whether maps say which one is explained was read from c / h" in text
    assert "c / h over patients, for these networks only, lies below 0.5" in text
    rows = run.store.read_bytes("report/paper/results.csv").decode().splitlines()[1:]
    cells = len(rows) // 3
    of = [("C", "random")] * cells + [("C", "half")] * cells + [("A", "random")] * cells
    assert [tuple(row.split(",")[:2]) for row in rows] == of
    assert "Target & Arm & Method &" in run.store.read_bytes("report/paper/results_primary.tex").decode()


def test_a_ratio_beyond_the_axis_ends_in_an_arrow():
    far = Specificity(("C", "A"), "invalid", [], numbers=SpecificityTest(share=Estimate(3.2, -1.5, 7.9)))
    near = Specificity(("C", "B"), "specific", [], numbers=SpecificityTest(share=Estimate(0.2, 0.1, 0.3)))
    results = SimpleNamespace(threshold=0.5, specificity={"grad_cam": [near, far]})
    with matplotlib.rc_context(base.STYLE):
        drawn = specificity.draw(SimpleNamespace(methods=["grad_cam"], results=results))
    assert "3.20 (−1.50 to 7.90), invalid" in drawn.alt
    for words in ("C – B: specific", "C – A: invalid", "threshold 0.50"):
        assert f">{words}<" in drawn.data.decode()
    assert specificity.beyond(far.numbers.share) == ("<", ">")
    assert specificity.beyond(near.numbers.share) == ("", "")
