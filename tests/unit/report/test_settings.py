import pytest
from helpers.report_runs import build, make_run

from pneumo_batch.report.sections import paper, settings
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
    source = Source(run)
    text, references = paper.paragraph(source), paper.blocks(source)[-1].items
    assert "Integrated Gradients [2] (50 steps, midpoint rule, black baseline)" in text
    assert "Integrated Gradients (blur) [2] (50 steps, midpoint rule, blur baseline)" in text
    assert f"Unscaled Integrated Gradients [{len(references)}]" in text
    assert references[-1].startswith("Ancona")
