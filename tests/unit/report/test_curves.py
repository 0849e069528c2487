from pathlib import Path

from helpers.report_runs import build, make_run

from pneumo_batch.rundir.writer import RunWriter


def figures(run) -> set[str]:
    return {Path(name).name for name in run.store.files("report/figures")}


def alt(page, start: str) -> str:
    (found,) = [one["alt"] for one in page.of("img") if one["alt"].startswith(start)]
    return found


def test_every_method_has_its_curves_and_their_values_in_words(full):
    run, page, _, _ = full
    assert {"randomization_grad_cam.svg", "randomization.csv", "scales_integrated_gradients.svg"} <= figures(run)
    words = alt(page, "Grad-CAM: spearman of maps to those of the untouched network")
    for place in ("magnitude, pixel", "magnitude, region", "signed, pixel", "signed, region"):
        assert f"{place} 0.75 after the top layer, 0.25 after all" in words
    assert "signed 8 × 8 TT 0.80 TTx 0.40 TN 0.30" in alt(page, "Grad-CAM: similarity by the number of cells")


def test_the_curve_in_words_is_that_of_the_primary_cell(full):
    _, page, _, _ = full
    assert any("true_0 with its 3 layers" in line and "2 draws" in line for line in page.text)
    (line,) = [line for line in page.text if line.startswith("Grad-CAM, magnitude view, region scale: spearman to")]
    assert "0.75 (0.650 to 0.850) with only the top layer (fc.3) re-initialised" in line
    assert "0.25 (0.150 to 0.350) with all of them re-initialised." in line
    assert "left out: 1 of 96" in line  # four depths of 24 pairs


def test_the_entropy_of_the_output_is_said_and_drawn_once(full):
    run, page, _, _ = full
    (line,) = [line for line in page.text if "entropy goes from" in line]
    assert line.endswith("The output's entropy goes from 0.00 to 1.00 bits.")
    assert "1.00 with 3 layers new" in alt(page, "Entropy of the output by layers re-initialised: 0.00 with 0 layers")
    assert b"entropy" not in run.store.read_bytes("report/figures/randomization_grad_cam.svg")


def test_the_ends_of_the_curves_have_smprt_and_emprt(full):
    run, page, _, _ = full
    header, *rows = page.tables["randomization_ends"]
    assert header[1::2] == ["MPRT", "sMPRT", "ceiling", "eMPRT"]
    assert rows[1] == [
        *("Grad-CAM", "0.250", "0.150 to 0.350", "0.225", "0.200 to 0.250"),
        *("0.900", "0.800 to 1.000", "0.750", "0.650 to 0.850"),
    ]
    assert run.verdict["cascade"]["grad_cam"]["emprt"] == {"value": 0.75, "ci_low": 0.65, "ci_high": 0.85}
    assert any("averaged over 5 inputs, noise of 0.1 of the range" in line for line in page.text)


def test_a_run_from_before_they_were_measured_has_its_curves_as_ever(tmp_path):
    run = make_run(tmp_path, kinds=(1, 1), methods=("grad_cam",), curves=True)
    summary = run.store.read_table("cascade_summary.parquet")
    later = [name for name in summary.column_names if name.startswith(("rise", "smooth", "map_"))]
    run.store.write_table("cascade_summary.parquet", summary.drop_columns(later))
    values = run.verdict
    del values["cascade"]
    run.store.write_json("verdict.json", values)
    _, page, _, _ = build(RunWriter(run.path))
    assert "randomization" in page.tables
    assert "randomization_ends" not in page.tables


def test_the_table_of_curves_is_that_of_the_run(full):
    run, page, _, _ = full
    rows = page.tables["randomization"]
    assert rows[0] == [name for name in run.cascade_summary().columns if name != "variant"]
    assert len(rows) == 1 + 2 * 2 * 2 * 2 * 7


def test_a_run_without_curves_has_none(pair):
    run, page, _, _ = pair
    assert "randomization" not in page.tables
    assert not [name for name in figures(run) if name.startswith(("randomization", "scales"))]
