from pathlib import Path


def test_several_classes_and_a_moved_image_folder(many):
    run, page, text, _ = many
    assert any("drawn for two classes only" in line for line in page.text)
    assert any(line.startswith("The images cannot be shown: ") for line in page.text)
    assert run.path not in text.replace(run.job.data.root, "")
    assert ".film-0 {" not in text
    assert "roc.svg" not in {Path(name).name for name in run.store.files("report/figures")}
