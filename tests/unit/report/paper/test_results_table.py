"""The table of results: which rows, which numbers, and LaTeX that compiles whatever findings are called."""

import csv
import dataclasses
import io
import re
import shutil
import subprocess

import pandas as pd
import pytest
from helpers.report_runs import shown

from pneumo_batch.core.statistics import model_results, results
from pneumo_batch.core.statistics.estimates import Estimate, Interval, Permutation, Permutations
from pneumo_batch.report.paper import results_table
from pneumo_batch.report.source import Source

EVIL = r'A_B & 50% #1 {x}~^\$ <y> | "z"'
ESCAPED = (
    r"A\_B \& 50\% \#1 \{x\}\textasciitilde \textasciicircum \textbackslash \$ \textless{}y\textgreater{} \textbar{}"
    r" \textquotedbl{}z\textquotedbl{}"
)


def estimate(value, low, high, *, of_these=False):
    ends = Interval(low, high)
    return Estimate(value, patients=ends) if of_these else Estimate(value, low, high, ends)


def cell(verdict="sensitive", *, few=False):
    return results.CellResult(
        verdict="inconclusive" if few else verdict,
        reasons=[],
        for_these_models=verdict if few else None,
        images=64,
        patients=58,
        headroom=estimate(0.3376, 0.2, 0.4, of_these=few),
        remainder=estimate(-0.0341, -0.1, 0.0, of_these=few),
        share=estimate(1.1010, 0.662, 1.136, of_these=few),
        everywhere=estimate(0.00002, -0.1, 0.1, of_these=few),
        permutation=Permutations(Permutation(0.3, 0.00007777, 0.00007777, 12870)),
    )


PRIMARY = results.Primary("magnitude", "region", "spearman")
VARIANTS = {
    f"{kind}_{seed}": kind for kind, seeds in {"true": "012", "random": "34", "fresh": "5"}.items() for seed in seeds
}


def found(*, targets=(), few=False, arms=False):
    method = results.MethodResult(
        "sensitive", [], cells={"magnitude/pixel/hog": cell("insensitive", few=few), PRIMARY.key: cell(few=few)}
    )
    test = model_results.OnTest(10, *[None] * 7, [[1, 0], [0, 1]], 0.5, auroc_interval=(None, None))
    variants = {
        name: model_results.VariantResult(kind, 0, "cnn5", 1, 1, None, None, None, 0.5, None, test)
        for name, kind in VARIANTS.items()
    }
    methods = {"grad_cam": method, "my_mod:f_x": method}
    further = {
        "random": results.ArmResult("permuted", 1.0, "image", [], None, [], methods),
        "fresh": results.ArmResult("untrained", 1.0, "image", [], None, [], methods),
    }
    return results.Results(
        primary=PRIMARY,
        threshold=0.5,
        methods=methods,
        variants=variants,
        degenerate={},
        target=targets[0] if targets else None,
        targets={name: results.TargetResult(methods, variants, {}) for name in targets},
        arms=further if arms else {},
    )


def table(methods=("grad_cam", "my_mod:f_x"), **options):
    return results_table.frame(found(**options), methods)


def parsed(data):
    return list(csv.DictReader(io.StringIO(data.decode())))


def test_a_row_for_each_target_arm_method_and_cell_the_primary_one_first():
    rows = parsed(results_table.csv(table(targets=("A", "B"), arms=True)))
    places = [tuple(row[name] for name in ("target", "arm", "method", "scale", "primary")) for row in rows]
    cells = [("region", "True"), ("pixel", "False")]
    contrasts = [("A", "random"), ("A", "fresh"), ("B", "random")]  # further arms are contrasted on the first target
    assert places == [(*of, method, *one) for of in contrasts for method in ("grad_cam", "my_mod:f_x") for one in cells]
    assert {(row["true_models"], row["arm_models"]) for row in rows if row["arm"] == "random"} == {("3", "2")}
    assert {(row["true_models"], row["arm_models"]) for row in rows if row["arm"] == "fresh"} == {("3", "1")}


def test_numbers_are_rounded_as_on_the_page_and_can_be_read_by_programs():
    row = parsed(results_table.csv(table()))[0]
    assert (row["h"], row["k"], row["L"], row["L_low"], row["L_high"]) == ("0.338", "-0.034", "1.101", "0.662", "1.136")
    assert (row["everywhere"], row["p"], row["interval_over"]) == ("2e-05", "8e-05", "patients and models")
    assert (row["verdict"], row["films"], row["patients"], row["target"]) == ("sensitive", "64", "58", "")
    assert pd.read_csv(io.BytesIO(results_table.csv(table())))["L"].tolist() == [1.101] * 4


def test_too_few_models_have_intervals_over_patients_and_say_so():
    row = parsed(results_table.csv(table(few=True)))[0]
    assert (row["L_low"], row["interval_over"]) == ("0.662", "patients, for these models")
    assert (row["verdict"], row["for_these_models"]) == ("inconclusive", "sensitive")
    text = results_table.latex(table(few=True)).decode()
    assert r"1.101 (0.662 to 1.136)$^\dagger$" in text
    assert r"$^\dagger$ Over patients alone, for these models." in text
    assert "over patients and models" not in text


def test_every_number_says_what_its_own_interval_is_over():
    one = results_table.frame(found(), ["grad_cam"]).iloc[0]
    names = ["interval_over", "h_interval_over", "k_interval_over", "everywhere_interval_over"]
    assert one[names].tolist() == ["patients and models"] * 4
    mixed = dataclasses.replace(
        cell(), share=estimate(0.9, 0.4, 1.3, of_these=True), everywhere=Estimate(0.1), remainder=Estimate()
    )
    of_run = found()
    method = dataclasses.replace(of_run.methods["grad_cam"], cells={PRIMARY.key: mixed})
    table = results_table.frame(dataclasses.replace(of_run, methods={"grad_cam": method}), ["grad_cam"])
    row = parsed(results_table.csv(table))[0]
    assert [row[name] for name in names] == ["patients, for these models", "patients and models", "", ""]
    assert (row["h_low"], row["h_high"], row["everywhere"], row["everywhere_low"]) == ("0.200", "0.400", "0.100", "")
    assert r"0.900 (0.400 to 1.300)$^\dagger$" in results_table.latex(table, primary=True).decode()


def test_the_numbers_are_those_of_the_page(full):
    run, page, _, _ = full
    source = Source(run)
    rows = parsed(results_table.csv(results_table.frame(source.results, source.methods)))
    cells = run.verdict["methods"]
    assert len(rows) == sum(len(one["cells"]) for one in cells.values())
    for row in rows:
        one = cells[row["method"]]["cells"]["/".join((row["view"], row["scale"], row["metric"]))]
        assert row["L"] == shown(one["share"]["value"]).replace("−", "-")
        assert (row["verdict"], row["films"]) == (one["verdict"], str(one["images"]))
    header, *shares = page.tables["verdict"]
    on_page = [dict(zip(header, row, strict=True))["L"] for row in shares]
    assert sorted(on_page) == sorted(row["L"].replace("-", "−") for row in rows if row["primary"] == "True")


def test_a_run_without_headroom_has_dashes(pair):
    run, _, _, _ = pair
    source = Source(run)
    frame = results_table.frame(source.results, source.methods)
    assert parsed(results_table.csv(frame))[0]["L"] == ""
    assert (
        "Integrated Gradients & -- & -- & -- & -- & -- & inconclusive"
        in results_table.latex(frame, primary=True).decode()
    )


def test_names_from_outside_are_escaped():
    line = next(
        line for line in results_table.latex(table(targets=(EVIL, "B"))).decode().splitlines() if line.startswith("A")
    )
    assert line.startswith(f"{ESCAPED} & Grad-CAM & region & spearman & ")
    text = results_table.latex(table(targets=(EVIL, "B")), primary=True).decode()
    assert r"B & my\_mod:f\_x & 0.338 & $-$0.034 & 1.101 (0.662 to 1.136) & $<$ 0.001 &" in text


def test_the_metric_of_a_caption_is_escaped():
    one = table()
    one["metric"] = "my_mod:f_x"
    assert r"(magnitude view, region scale, my\_mod:f\_x)" in results_table.latex(one, primary=True).decode()


@pytest.mark.parametrize("primary", [False, True])
@pytest.mark.parametrize("options", [{}, {"targets": (EVIL, "B"), "arms": True}, {"few": True}])
def test_the_latex_is_whole(options, primary):
    """Environments close, braces and dollars pair, every row has a cell each column, all is Latin."""
    text = results_table.latex(table(**options), primary=primary).decode()
    assert re.findall(r"\\begin\{(\w+)", text) == re.findall(r"\\end\{(\w+)", text)[::-1]
    bare = re.sub(r"\\[{}$&%#_\\]", "", text.replace(r"\textbackslash", ""))
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    columns = len(re.search(r"\\begin\{(?:tabular|longtable)\}\{([lr]+)\}", text)[1])
    rows = [line for line in bare.splitlines() if " & " in line]
    assert len(rows) == (3 if not options.get("targets") else 7) if primary else len(rows) >= 5
    assert {line.count(" & ") for line in rows} == {columns - 1}
    assert [name for name in ("toprule", "midrule", "bottomrule") if f"\\{name}" not in text] == []
    text.encode("latin-1")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex is installed")
@pytest.mark.parametrize("primary", [False, True])
def test_the_latex_compiles(tmp_path, primary):
    body = results_table.latex(table(targets=(EVIL, "B"), arms=True), primary=primary).decode()
    head = "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs,longtable}\n\\begin{document}\n"
    (tmp_path / "table.tex").write_text(f"{head}{body}\\end{{document}}\n", encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
