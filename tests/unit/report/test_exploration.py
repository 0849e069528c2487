from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from helpers.report_runs import EVIL, shown

from pneumo_batch.report.figures import base, exploration
from pneumo_batch.report.source import Source


def test_several_classes_and_a_moved_image_folder(many):
    run, page, text, _ = many
    assert any("drawn for two classes only" in line for line in page.text)
    assert any(line.startswith("The images cannot be shown: ") for line in page.text)
    assert run.path not in text.replace(run.job.data.root, "")
    assert ".film-0 {" not in text
    assert "roc.svg" not in {Path(name).name for name in run.store.files("report/figures")}


def test_drift_is_measured_against_training(full):
    run, page, _, _ = full
    source = Source(run)
    rows = {(row[0], row[1]): row[2:] for row in page.tables["drift"][1:]}
    means = {}
    for split, name in rows:
        chosen = source.manifest.query("split == @split and class_name == @name")["image_id"]
        films = source.films.read(list(chosen))
        means[split, name] = np.array([film.astype(np.float64).mean() / 255 for film in films.values()])
    assert len(rows) == 3 * 2
    assert rows["train", "NORMAL"] == ["4", shown(means["train", "NORMAL"].mean()), rows["train", "NORMAL"][2], "–"]
    trained = means["train", EVIL]
    assert rows["test", EVIL][1] == shown(means["test", EVIL].mean())
    assert rows["test", EVIL][3] == shown((means["test", EVIL].mean() - trained.mean()) / trained.std())


def test_a_subtype_is_named_in_its_bar_only_where_it_fits():
    counts = {"train": {"WELL": {"-": 170}, "ILL": {"bacteria": 90, "virus": 80}}}
    counts["val"] = {"WELL": {"-": 36}, "ILL": {"bacteria": 21, "virus": 15}}
    source = SimpleNamespace(audit=SimpleNamespace(counts=counts), classes=["WELL", "ILL"])
    with matplotlib.rc_context(base.STYLE):
        text = exploration.counts(source).data.decode()
    assert ">bacteria 90<" in text
    assert ">virus 80<" in text
    assert ">bacteria 21<" not in text
    assert ">virus 15<" not in text
    assert ">36<" in text


@pytest.mark.parametrize("subtypes", [1, 2, 3, 4, 30])
def test_a_class_of_many_subtypes(subtypes):
    parts = {f"subtype {number}": 10 for number in range(subtypes)}
    source = SimpleNamespace(audit=SimpleNamespace(counts={"test": {"NORMAL": parts}}), classes=["NORMAL"])
    found = exploration.counts(source)
    assert f"test NORMAL {10 * subtypes}" in found.alt
    assert found.data
