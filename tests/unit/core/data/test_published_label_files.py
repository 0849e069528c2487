"""The label files as published, every row of them: what other people count in them is what is read here.

They come with the package torchxrayvision, of the extra `xrv`; nothing of them is copied into the project.
"""

import importlib.util
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import fs as pafs

from pneumo_batch.core.data.formats import nih, published, rsna, siim, vindr
from pneumo_batch.core.data.formats.label_files import Download
from pneumo_batch.core.data.roots import Root


def package() -> Path | None:
    """The folder of the label files, without an import, which would load a network library."""
    spec = importlib.util.find_spec("torchxrayvision")
    found = Path(spec.origin).parent / "data" if spec and spec.origin else None
    return found if found and found.is_dir() else None


PACKAGE = package()
pytestmark = pytest.mark.skipif(PACKAGE is None, reason="needs the label files of torchxrayvision: the extra xrv")


@pytest.fixture
def download(tmp_path):
    """A download of label files alone, each under the name that the set gives it."""

    def made(**files):
        for name, source in files.values():
            shutil.copyfile(PACKAGE / source, tmp_path / name)
        return Download.of(Root(pafs.LocalFileSystem(), str(tmp_path)))

    return made


def counted(labels):
    values = [int((labels == value).sum()) for value in (1, 0, -1)]
    return (*values, int(labels.isna().sum()))


def test_nih(download):
    there = download(
        rows=("Data_Entry_2017_v2020.csv.gz", "Data_Entry_2017_v2020.csv.gz"),
        boxes=("BBox_List_2017.csv.gz", "BBox_List_2017.csv.gz"),
    )
    table = published.READERS["nih"](there).table
    assert (len(table), table["patient_id"].nunique()) == (112_120, 30_805)
    assert table["patient_id"].value_counts().max() == 184
    assert {name: int(table[name].sum()) for name in ("No Finding", "Infiltration", "Pneumonia", "Hernia")} == {
        "No Finding": 60_361,
        "Infiltration": 19_894,
        "Pneumonia": 1_431,
        "Hernia": 227,
    }
    assert (table["film"].str[:8] == table["patient_id"]).all()
    assert table["view"].value_counts().to_dict() == {"PA": 67_310, "AP": 44_810}
    boxes = nih.boxes(there)
    assert (len(boxes), boxes["film"].nunique()) == (984, 880)
    assert set(boxes["film"]) <= set(table["film"])
    has = table.set_index("film")[list(nih.FINDINGS)].stack()
    assert (has.loc[list(zip(boxes["film"], boxes["finding"], strict=True))] == 1).all()  # as the films' own labels say


def test_chexpert(download):
    table = published.READERS["chexpert"](download(rows=("train.csv.gz", "chexpert_train.csv.gz"))).table
    assert (len(table), table["patient_id"].nunique()) == (223_414, 64_540)
    assert int((table["view"] == "LATERAL").sum()) == 32_387
    assert counted(table["Pneumonia"]) == (6_039, 2_799, 18_770, 195_806)
    assert counted(table["Consolidation"]) == (14_783, 28_097, 27_742, 152_792)
    assert counted(table["Atelectasis"]) == (33_376, 1_328, 33_739, 154_971)
    assert counted(table["No Finding"]) == (22_381, 0, 0, 201_033)


def test_padchest(download):
    name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
    found = published.READERS["padchest"](download(rows=(name, name)))
    table = found.table[found.table["labelled"]]
    assert (len(found.table), len(table), len(found.findings)) == (160_861, 160_861 - 103, 192)
    assert not any(name != name.strip() for name in found.findings)
    # with a leading space in 4,563 lists and without one in 3,474
    raw = pd.read_csv(PACKAGE / name, usecols=["ImageID", "Labels"], dtype=str).set_index("ImageID")
    texts = raw.loc[table["film"], "Labels"].str.replace(r"\s*'\s*", "'", regex=True)
    assert np.array_equal(table["pneumonia"] == 1, texts.str.contains("'pneumonia'", regex=False))
    assert counted(table["pneumonia"]) == (7_953, 160_758 - 7_953, 0, 0)  # some lists name it twice


def test_vindr(download):
    there = download(rows=("train.csv.gz", "vinbigdata-train.csv.gz"))
    found = published.READERS["vindr"](there)
    assert (len(found.table), len(found.findings)) == (15_000, 14)
    assert "readers disagree on 3683 of 4394 films with a finding" in found.remarks
    boxes = vindr.boxes(there)
    assert (len(boxes), boxes["film"].nunique()) == (67_914 - 31_818, 4_394)
    assert (boxes[["width", "height"]] > 0).all(axis=None)
    votes = boxes[boxes["finding"] == "Cardiomegaly"].groupby("film")["reader"].nunique()
    assert counted(found.table["Cardiomegaly"]) == (
        int((votes > 1).sum()),
        15_000 - len(votes),
        int((votes == 1).sum()),
        0,
    )


def test_rsna(download, tmp_path):
    with zipfile.ZipFile(PACKAGE / "kaggle_stage_2_train_labels.csv.zip") as archive:
        archive.extract("stage_2_train_labels.csv", tmp_path)
    there = download()
    table = published.READERS["rsna"](there).table
    assert (len(table), int(table["Lung Opacity"].sum())) == (26_684, 6_012)
    boxes = rsna.boxes(there)
    assert (len(boxes), boxes["film"].nunique()) == (9_555, 6_012)
    assert ((boxes["x"] + boxes["width"] <= 1024) & (boxes["y"] + boxes["height"] <= 1024)).all()


def test_siim(download):
    there = download(rows=("train-rle.csv.gz", "siim-pneumothorax-train-rle.csv.gz"))
    table = published.READERS["siim"](there).table
    assert (len(table), int(table["Pneumothorax"].sum())) == (12_047, 2_669)
    raw = pd.read_csv(PACKAGE / "siim-pneumothorax-train-rle.csv.gz").set_axis(["film", "runs"], axis=1)
    assert len(raw) == 12_954
    masks = raw[raw["runs"].str.strip() != "-1"]
    lengths = masks.groupby("film")["runs"].apply(lambda runs: sum(int(n) for text in runs for n in text.split()[1::2]))
    several = masks["film"].value_counts()
    assert (several > 1).sum() > 600
    joined = {film: int(siim.joined(runs).sum()) for film, runs in siim.masks(there).groupby("film")["runs"]}
    assert joined.keys() == set(lengths.index)
    # of a film with one mask exactly its pixels, of one with several no more than all of theirs
    assert all(joined[film] == lengths[film] for film in several.index[several == 1])
    assert all(0 < joined[film] <= lengths[film] for film in joined)
