"""What `data check` says of a set that the default job could not use."""

import re
import shlex
from pathlib import Path

import pytest
from helpers.paths import DOCS
from PIL import Image

from pneumo_batch import cli
from pneumo_batch.cli import data_check
from pneumo_batch.errors import DataError
from pneumo_batch.job.schema import Data, Job
from pneumo_batch.rundir.locations import open_roots
from pneumo_batch.stages import index


def write(root, *splits):
    for k, split in enumerate(splits):
        for place in (f"{split}/A/{k}.png", f"{split}/B/9{k}.png"):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (64, 64), len(place) + 9 * k).save(root / place)
    return str(root)


@pytest.mark.parametrize(
    ("splits", "lines"),
    [
        (("train", "val"), ["no images in test: the default job needs train and test"]),
        (("test",), ["no images in train: the default job needs train and test"]),
        (("val",), ["no images in train and test: the default job needs train and test"]),
        (("train", "test"), []),
    ],
)
def test_a_missing_split_is_a_warning(tmp_path, splits, lines):
    found = data_check.audit(Data(root=write(tmp_path, *splits)))
    assert [line for line in found.warnings if "default job" in line] == lines


def test_a_list_without_a_split_of_the_job_is_told_so(tmp_path):
    films = Path(write(tmp_path, "train", "test"))
    rows = [f"{path.relative_to(films)},{path.parent.name},{path.parts[-3]}" for path in films.rglob("*.png")]
    (tmp_path / "images.csv").write_text("\n".join(["path,label,split", *rows]))
    data = {"root": str(films), "manifest": str(tmp_path / "images.csv")}
    job = Job(name="x", data=data, attribution={"splits": ["val"]})
    with pytest.raises(DataError, match=r"images\.csv: names no images of split val in its column split"):
        index.discover(job, open_roots(job.data.root))


def test_a_list_in_place_of_the_folder_is_told_where_it_goes(tmp_path):
    (tmp_path / "images.csv").write_text("path,label,split\n")
    with pytest.raises(DataError, match=r"images\.csv: a file, not a folder; for a list .* --manifest .*images\.csv$"):
        data_check.audit(Data(root=str(tmp_path / "images.csv")))


def test_the_first_commands_of_the_page_on_published_sets_work(tmp_path, monkeypatch, capsys):
    page = (DOCS / "datasets.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ pneumo-batch (data (?:demo|check) .*)$", page, re.MULTILINE)[:2]
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    assert [cli.cli.main(shlex.split(line, comments=True), standalone_mode=False) or 0 for line in commands] == [0, 0]
    assert "Infiltration" in capsys.readouterr().out
