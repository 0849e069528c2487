import pytest
from helpers.report_runs import build, make_run

from pneumo_batch.report.paper import methods
from pneumo_batch.report.sections import settings
from pneumo_batch.report.source import Source

METHODS = ("integrated_gradients", "integrated_gradients@blur", "integrated_gradients_unscaled", "grad_cam")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("settings"), methods=METHODS)


def test_settings_of_a_method_stand_side_by_side_with_their_noise_ceiling(run):
    (_, page, _, _), source = build(run), Source(run)
    header, *rows = page.tables["settings_integrated_gradients"]
    assert [row[0] for row in rows] == ["as in the job", "blur"]
    assert header[1] == "noise ceiling TT"
    for row, name in zip(rows, METHODS, strict=False):
        found = source.results.methods[name].numbers
        assert float(row[1]) == pytest.approx(found.means["true_true"], abs=1e-3)
        assert row[-1] == source.results.methods[name].verdict
    assert len(settings.blocks(source)) == 1  # of Grad-CAM and of the unscaled there is one setting


def test_names_and_references_tell_the_setting(run):
    found = methods.write(Source(run))
    for name in ("Integrated Gradients", "Integrated Gradients (blur)"):  # one paper, two baselines
        baseline = "blur baseline [4, 5]" if "blur" in name else "black baseline"
        assert f"{name} [3] (50 steps, midpoint rule, {baseline})" in found.text
    assert "Unscaled Integrated Gradients [6]" in found.text
    assert [text.partition(" ")[0] for text in found.references[2:6]] == ["Sundararajan", "Fong", "Sturmfels", "Ancona"]
