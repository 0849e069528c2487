"""Every published format by hand: what its label files say, what is used of it, what is refused in a line."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest
from helpers import published_sets as sets
from pyarrow import fs as pafs

from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.formats import films, manifest_file, nih, published, rsna, siim, vindr
from pneumo_batch.core.data.formats.films import Choice
from pneumo_batch.core.data.formats.label_files import Download
from pneumo_batch.core.data.roots import Root, Roots
from pneumo_batch.errors import DataError, JobError
from pneumo_batch.job.schema import Data
from pneumo_batch.stages import listing

LOCAL = pafs.LocalFileSystem()
FINDINGS = {
    "nih": "Pneumonia",
    "chexpert": "Pneumonia",
    "mimic-cxr-jpg": "Pneumonia",
    "padchest": "pneumonia",
    "vindr": "Consolidation",
    "rsna": "Lung Opacity",
    "siim": "Pneumothorax",
    "list": "Effusion",
}


def download(root):
    return Download.of(Root(LOCAL, str(root)))


def read(form, tmp_path):
    return published.READERS[form](download(sets.WRITERS[form](tmp_path))).table.set_index("film")


def inventory(form, root, finding=None, **fields):
    choice = Choice([finding or FINDINGS[form]], **fields)
    roots = Roots.one(LOCAL, str(root))
    if form == "list":
        return published.listed(
            manifest_file.select((root / "films.csv").read_bytes(), "films.csv", roots, choice), choice
        )
    return published.inventory(form, roots, choice)


def used(form, root, **fields):
    """The class of every film that is used, by its name; those of the test split with a star."""
    rows = inventory(form, root, **fields).listing.to_pylist()
    return {row["image_id"].rpartition("/")[2] + "*" * (row["split"] == "test"): row["label"] for row in rows}


def labels(table, name):
    return [
        None if value is None else int(value) for value in table[name].astype(object).where(table[name].notna(), None)
    ]


# ------------------------------------------------------------------------------------------------------ what is written


def test_nih(tmp_path):
    table = read("nih", tmp_path)
    assert table["patient_id"].tolist()[:3] == ["00000001", "00000001", "00000002"]  # as in the names
    assert table["age"].tolist()[:2] == [58, 61]
    assert labels(table, "Effusion") == [0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert labels(table, "Pneumonia") == [0, 0, 1, 1, 0, 1, 0, 1, 0]
    assert labels(table, "No Finding") == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert table["split"].fillna("-").tolist() == ["train"] * 5 + ["test"] * 2 + ["-", "train"]
    boxes = nih.boxes(download(tmp_path))
    assert boxes.loc[1].tolist() == ["00000002_000.png", "Infiltration", 225.08, 547.5, 86.5, 79.25]
    assert boxes["x"].tolist() == [225.08, 1, 10]
    found = inventory("nih", tmp_path)
    assert (found.account.rows, found.account.patients) == (9, 8)
    assert (found.account.rows_without_file, found.account.files_without_row) == (1, 1)
    assert found.account.left_out == {"in no split of the set": 1}
    assert found.account.labels["Pneumonia"] == {"positive": 4, "negative": 5, "uncertain": 0, "unmentioned": 0}
    assert found.account.remarks == ()
    first = found.listing.to_pylist()[0]
    assert (first["image_id"], first["class_name"]) == ("images_001/images/00000001_000.png", "NORMAL")
    assert (first["patient_id"], first["patient_given"]) == ("00000001", True)
    assert first["bytes"] == (tmp_path / first["image_id"]).stat().st_size


def test_nih_in_one_folder_without_lists_is_carved_by_patient(tmp_path):
    sets.nih(tmp_path)
    for name in ("train_val_list.txt", "test_list.txt"):
        (tmp_path / name).unlink()
    for path in list(tmp_path.glob("images_*/images/*")):
        path.rename(tmp_path / path.name)
    found = inventory("nih", tmp_path, test_fraction=0.4)
    rows = found.listing.to_pandas()
    assert set(rows["split"]) == {"train", "test"}
    assert rows.groupby("patient_id")["split"].nunique().max() == 1
    assert set(rows.loc[rows["split"] == "test", "label"]) == {0, 1}
    assert (
        "the set has no test split of its own: 4 of 8 films, whole patients and about 40 %" in found.account.remarks[-1]
    )
    assert inventory("nih", tmp_path, test_fraction=0.4).listing.equals(found.listing)
    assert {*inventory("nih", tmp_path, test_fraction=0).listing["split"].to_pylist()} == {"train"}


@pytest.mark.parametrize("form", ["rsna", "siim", "vindr"])
def test_where_no_patient_is_named_films_are_carved_each_for_itself(tmp_path, form):
    getattr(sets, form)(tmp_path)
    remarks = inventory(form, tmp_path).account.remarks
    (line,) = (one for one in remarks if one.startswith("the set has no test split of its own: "))
    assert " films, each for itself since no patient is named and about 20 % of each class, are one " in line
    assert line.endswith("; so one patient may be in both: a list (data.manifest) can name the patients")


def test_negatives_may_be_films_with_no_finding_at_all(tmp_path):
    sets.nih(tmp_path)
    with pytest.raises(DataError, match=r"^no film without Pneumonia in test: take another of data.findings"):
        inventory("nih", tmp_path, negatives="no_finding")


def of_job(root, form, **fields):
    images = Roots.one(LOCAL, str(root))
    return listing.of_data(Data(root=str(root), format=form, findings=[FINDINGS[form]], **fields), images)


@pytest.mark.parametrize(("patient", "words"), [("64542", "with"), ("64541", "without")])
def test_a_published_val_of_one_class_is_refused_only_where_it_is_kept(tmp_path, patient, words):
    """It joins train before validation is carved: a job was refused for a split that it does not have."""
    path = sets.chexpert(tmp_path) / "CheXpert-v1.0-small/valid.csv"
    head, *rows = path.read_text().splitlines(keepends=True)
    path.write_text(head + "".join(row for row in rows if patient in row))
    line = f"no film {words} Pneumonia in val"
    found = of_job(tmp_path, "chexpert")
    assert found.listing["split"].to_pylist().count("val") == 1
    assert f"{line}, as published: its films join train (data.val_fraction)" in found.account.remarks
    with pytest.raises(DataError, match=rf"^{line}: take another of data.findings, or other films$"):
        of_job(tmp_path, "chexpert", val_fraction=0)
    # without training films validation is not carved, and val is what it was
    (path.parent / "train.csv").write_text(head)
    with pytest.raises(DataError, match=rf"^{line}: take another"):
        of_job(tmp_path, "chexpert")


def test_chexpert(tmp_path):
    table = read("chexpert", tmp_path)
    assert labels(table, "Pneumonia") == [None, None, 1, -1, 0, None, 1, 0, 1, 0]
    assert labels(table, "Lung Opacity")[-2:] == [1, 0]  # "Airspace Opacity" in the test labels
    assert table["view"].tolist() == ["AP", "LATERAL", "AP", "AP", "AP", "FRONTAL", "AP", "AP", "FRONTAL", "FRONTAL"]
    assert table["split"].tolist() == ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    assert table["sex"].fillna("-").tolist() == ["F"] * 8 + ["-"] * 2
    assert table["patient_id"].nunique() == 8
    found = inventory("chexpert", tmp_path)
    assert found.account.labels["Pneumonia"] == {"positive": 3, "negative": 3, "uncertain": 1, "unmentioned": 3}
    assert found.account.left_out == {"Pneumonia uncertain": 1, "lateral": 1}
    assert found.listing["label"].to_pylist().count(1) == 3


@pytest.mark.parametrize(
    ("fields", "positive", "negative"),
    [
        ({}, 1, 3),
        ({"uncertain": "positive"}, 2, 3),
        ({"uncertain": "negative"}, 1, 4),
        ({"unmentioned": "ignore"}, 1, 1),
        ({"negatives": "no_finding"}, 1, 1),
        ({"views": ["LATERAL", "AP"]}, 1, 3),  # the film that is but frontal is neither
        ({"views": ["PA", "AP", "LATERAL"]}, 1, 4),
    ],
)
def test_uncertain_and_unmentioned_labels_negatives_and_views(fields, positive, negative, tmp_path):
    sets.chexpert(tmp_path)
    for name in ("valid.csv", "test_labels.csv"):  # which lack a class where some films are left out
        (tmp_path / "CheXpert-v1.0-small" / name).unlink()
    found = inventory("chexpert", tmp_path, test_fraction=0, **fields).listing["label"].to_pylist()
    assert (found.count(1), found.count(0)) == (positive, negative)


@pytest.mark.parametrize("below", ["", "CheXpert-v1.0-small"])
def test_the_first_folder_of_chexpert_may_be_the_root(below, tmp_path):
    root = sets.chexpert(tmp_path) / below
    found = inventory("chexpert", root)
    assert (found.listing.num_rows, found.account.rows_without_file, found.account.files_without_row) == (8, 0, 0)


def test_mimic(tmp_path):
    table = read("mimic-cxr-jpg", tmp_path)
    assert labels(table, "Pneumonia") == [1, 1, None, None, -1, 1, 0, None]  # of a study: both of its films
    assert table["labelled"].tolist() == [True] * 7 + [False]
    assert table["view"].fillna("-").tolist() == ["PA", "LATERAL", "AP", "-", "PA", "PA", "AP", "AP"]
    assert table["split"].tolist() == ["train"] * 4 + ["val", "test", "test", "test"]
    assert used("mimic-cxr-jpg", tmp_path) == {"aa01.jpg": 1, "aa03.jpg": 0, "aa06.jpg*": 1, "aa07.jpg*": 0}
    account = inventory("mimic-cxr-jpg", tmp_path).account
    assert account.left_out == {
        "Pneumonia uncertain": 1,
        "lateral": 1,
        "of unknown view": 1,
        "without labels": 1,
    }
    assert account.files_without_row == 0
    assert sum(account.labels["Pneumonia"].values()) == 7
    assert inventory("mimic-cxr-jpg", tmp_path).listing["patient_id"][0].as_py() == "p19990001"


def test_padchest(tmp_path):
    table = read("padchest", tmp_path)
    assert labels(table, "pneumonia") == [1, 1, 1, 0, 0, 0, None, 0, 1]
    assert labels(table, "cardiomegaly") == [1, 0, 0, 0, 0, 0, None, 0, 0]
    assert labels(table, "normal") == [0, 0, 0, 1, 1, 1, None, 0, 0]
    assert not any(name != name.strip() or not name for name in table)
    assert table["age"].unique().tolist() == [84]
    account = inventory("padchest", tmp_path).account
    assert account.left_out == {"lateral": 1, "of unknown view": 1, "without labels": 1}
    assert account.remarks[0] == "9 of 9 films are labelled by a physician, the others by a network from the report"
    assert account.files_without_row == 0
    normal_only = {
        name.rstrip("*"): label for name, label in used("padchest", tmp_path, negatives="no_finding").items()
    }
    assert normal_only == {"x_01.png": 1, "x_03.png": 1, "x_04.png": 0, "x_05.png": 0, "x_09.png": 1}


def test_vindr(tmp_path):
    table = read("vindr", tmp_path)
    assert labels(table, "Consolidation") == [1, -1, 0, 1, 0, 0]  # two of three, one of three
    assert labels(table, "No finding") == [-1, 1, 1, 0, 0, 1]
    assert table["patient_id"].isna().all()
    found = inventory("vindr", tmp_path)
    assert found.account.patients is None
    assert found.account.remarks[0] == "readers disagree on 2 of 4 films with a finding"
    assert found.account.left_out == {"Consolidation uncertain": 1}
    assert not any(found.listing["patient_given"].to_pylist())
    first = vindr.boxes(download(tmp_path)).iloc[0]
    assert first.tolist() == ["ab01", "Consolidation", "R0", 10, 20, 20, 40]


def test_rsna(tmp_path):
    table = read("rsna", tmp_path)
    assert labels(table, "Lung Opacity") == [1, 0, 0, 1, 0, 1]
    assert labels(table, "Normal") == [0, 1, 0, 0, 1, 0]
    boxes = rsna.boxes(download(tmp_path))
    assert (len(boxes), boxes["film"].nunique(), boxes["width"].tolist()) == (4, 3, [213, 256, 3, 7])
    assert inventory("rsna", tmp_path).account.files_without_row == 1
    assert len(used("rsna", tmp_path)) == 6
    assert len(used("rsna", tmp_path, negatives="no_finding")) == 5
    (tmp_path / "stage_2_detailed_class_info.csv").unlink()
    assert len(used("rsna", tmp_path)) == 6
    with pytest.raises(JobError, match=r'^data.negatives = "no_finding": the label files do not say'):
        used("rsna", tmp_path, negatives="no_finding")


def test_siim(tmp_path):
    table = read("siim", tmp_path)
    assert labels(table, "Pneumothorax") == [1, 0, 0, 1]
    assert sorted(used("siim", tmp_path).values()) == [0, 0, 1, 1]
    rows = siim.masks(download(tmp_path))
    assert rows["film"].to_dict() == {1: "1.2.3.1", 2: "1.2.3.1", 5: "1.2.3.4"}
    assert siim.joined([rows.at[5, "runs"]]).all()
    # by hand: columns of 1024, the gap counts from the end of the last run
    expected = np.zeros((1024, 1024), bool)
    expected[[1, 2], 0] = True
    expected[[1, 2, 3], 1] = True
    expected[0, 2] = True
    assert np.array_equal(siim.joined(rows.loc[[1, 2], "runs"]), expected)


def test_a_list_with_a_column_a_finding(tmp_path):
    sets.listed(tmp_path)
    assert used("list", tmp_path) == {"1.png": 1, "2.png": 0, "5.png*": 1, "6.png*": 0}
    account = inventory("list", tmp_path).account
    assert account.left_out == {"Effusion uncertain": 1, "lateral": 1, "of unknown view": 1}
    assert account.labels["Effusion"] == {"positive": 4, "negative": 1, "uncertain": 1, "unmentioned": 1}


# ------------------------------------------------------------------------------------------------------- what is common


@pytest.mark.parametrize("form", sets.WRITERS)
def test_every_format_becomes_a_manifest(form, tmp_path):
    root = sets.WRITERS[form](tmp_path)
    found = inventory(form, root)
    assert found.classes == ["NORMAL", FINDINGS[form]]
    assert found.listing.schema == manifest.LISTING
    assert {*found.listing["split"].to_pylist()} >= {"train", "test"}
    good, bad = manifest.inspect_batch(found.listing, Roots.one(LOCAL, str(root)))
    assert (good.num_rows, bad.num_rows) == (found.listing.num_rows, 0)
    assert set(good["width"].to_pylist()) == {sets.SIDE}


@pytest.mark.parametrize("form", sets.WRITERS)
def test_the_digest_sees_labels_and_splits(form, tmp_path):
    root = sets.WRITERS[form](tmp_path)
    digest = manifest.assignment_digest(inventory(form, root).listing)
    assert digest == manifest.assignment_digest(inventory(form, root).listing)
    if not any(remark.startswith("the set has no test split") for remark in inventory(form, root).account.remarks):
        return
    seeds = {manifest.assignment_digest(inventory(form, root, seed=seed).listing) for seed in range(5)}
    assert len(seeds) > 1


def test_patients_in_two_splits_are_counted(tmp_path):
    sets.nih(tmp_path)
    tested = tmp_path / "test_list.txt"
    trained = tmp_path / "train_val_list.txt"
    tested.write_text(tested.read_text() + "\n00000001_001.png\n")
    trained.write_text(trained.read_text().replace("00000001_001.png\n", ""))
    account = inventory("nih", tmp_path).account
    assert account.patients_in_two_splits == 1
    assert "1 patient in two splits of the set" in list(account.lines())


def test_a_compressed_file_is_the_same(tmp_path):
    sets.nih(tmp_path)
    path = tmp_path / "Data_Entry_2017_v2020.csv"
    plain = inventory("nih", tmp_path).listing
    (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + path.read_bytes()))
    with pytest.raises(DataError, match=rf"^{path.name} and {path.name}\.gz: keep one of them below data\.root$"):
        inventory("nih", tmp_path)
    path.unlink()
    assert inventory("nih", tmp_path).listing.equals(plain)


def test_a_film_twice_below_the_root_is_refused(tmp_path):
    sets.nih(tmp_path)
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "00000001_000.png").write_bytes(b"x")
    line = r"^images_001/images/00000001_000\.png and small/00000001_000\.png are the same film"
    with pytest.raises(DataError, match=line):
        inventory("nih", tmp_path)


def test_a_set_on_another_file_system(tmp_path):
    sets.mimic(tmp_path / "bucket")
    remote = pafs.SubTreeFileSystem(str(tmp_path), LOCAL)
    found = published.inventory("mimic-cxr-jpg", Roots.one(remote, "bucket"), Choice(["Pneumonia"]))
    assert found.listing.num_rows == 4


# ------------------------------------------------------------------------------------------------------ what is refused

CHEXPERT_ROW = "train/patient00002/study1/view1_frontal.jpg"
REFUSED = [
    ("nih", {}, "Finding Labels", "Findings", "Data_Entry_2017_v2020.csv: no column 'Finding Labels'"),
    (
        "nih",
        {},
        "Effusion|Mass",
        "Effusion|Flu",
        "Data_Entry_2017_v2020.csv row 2: Finding Labels 'Effusion|Flu': must be",
    ),
    (
        "nih",
        {},
        "Effusion|Mass",
        "No Finding|Mass",
        "Data_Entry_2017_v2020.csv row 2: Finding Labels 'No Finding|Mass': contradicts itself",
    ),
    ("nih", {}, ",0,3,61", ",0,P3,61", "Data_Entry_2017_v2020.csv row 4: Patient ID 'P3': must be a number"),
    (
        "nih",
        {},
        "00000003_000.png,Pneu",
        "00000001_001.png,Pneu",
        "Data_Entry_2017_v2020.csv row 4: Image Index '00000001_001.png': is named twice",
    ),
    (
        "nih",
        {},
        ",0.168,0.168\n00000004",
        ",0.168\n00000004",
        "Data_Entry_2017_v2020.csv: not a CSV file: Row #5: Expected 11",
    ),
    (
        "nih",
        {},
        "00000005_000.png\n00000006",
        "00000001_000.png\n00000006",
        "test_list.txt: 00000001_000.png is in the other list too",
    ),
    (
        "chexpert",
        {},
        "patient00003/study1/view1_frontal.jpg,Female,64,Frontal,AP,,,,,,1.0,,0.0",
        "patient00003/study1/view1_frontal.jpg,Female,64,Frontal,AP,,,,,,1.0,,maybe",
        "CheXpert-v1.0-small/train.csv row 5: Pneumonia 'maybe': must be one of '1.0', '1', '0.0', '0', '-1.0',",
    ),
    (
        "chexpert",
        {},
        f"small/{CHEXPERT_ROW}",
        "small/2.jpg",
        "CheXpert-v1.0-small/train.csv row 3: Path 'CheXpert-v1.0-small/2.jpg': must be <split>/patient<n>/",
    ),
    (
        "mimic-cxr-jpg",
        {},
        ",validate",
        ",dev",
        "mimic-cxr-2.0.0-split.csv.gz row 5: split 'dev': must be one of 'train',",
    ),
    (
        "mimic-cxr-jpg",
        {},
        "19990002,59990002,1.0",
        "19990001,59990001,1.0",
        "mimic-cxr-2.0.0-chexpert.csv.gz row 2: study_id '59990001': is named twice",
    ),
    (
        "padchest",
        {},
        "['scoliosis']",
        "scoliosis",
        "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv row 8: Labels 'scoliosis': must be a list of names",
    ),
    (
        "vindr",
        {},
        "ab02,Consolidation,4,R0,10.0",
        "ab02,Consolidation,4,R0,",
        "train.csv row 5: class_name 'Consolidation': a",
    ),
    (
        "vindr",
        {},
        "ab03,No finding,14,R0,",
        "ab03,No finding,14,R0,1",
        "train.csv row 8: class_name 'No finding': has a",
    ),
    (
        "rsna",
        {},
        "562,152,256,453,1",
        "562,152,256,453,0",
        "stage_2_train_labels.csv row 2: Target '0': is another one in an",
    ),
    ("rsna", {}, "0a02,,,,,0", "0a02,,,,,2", "stage_2_train_labels.csv row 3: Target '2': must be 0 or 1"),
    ("rsna", {}, "0a02,,,,,0", "0a02,,,,,1", "stage_2_train_labels.csv row 3: Target '1': 1 has a box, 0 has none"),
    (
        "rsna",
        {},
        "0a02,Normal",
        "0a02,Lung Opacity",
        "stage_2_detailed_class_info.csv row 3: class 'Lung Opacity': contr",
    ),
    ("rsna", {}, "0a02,Normal\n", "", "stage_2_detailed_class_info.csv: no row for 0a02, which has labels"),
    (
        "siim",
        {},
        "1.2.3.2, -1",
        "1.2.3.1, -1",
        "train-rle.csv row 1: EncodedPixels '1 2 1022 3': the film has a mask in one",
    ),
    (
        "siim",
        {},
        "2048 1\n",
        "2048\n",
        "train-rle.csv row 2: EncodedPixels '2048': no pairs within 1024 x 1024, nor -1",
    ),
    ("siim", {}, "0 1048576", "1 1048576", "train-rle.csv row 5: EncodedPixels '1 1048576': no pairs within"),
    ("list", {}, "p4,AP,-1", "p4,AP,2", "films.csv line 6: Effusion '2': must be 1, 0, -1 (uncertain) or empty"),
    (
        "list",
        {},
        "p4,AP,-1",
        "p4,side,-1",
        "films.csv line 6: view 'side': must be one of PA, AP, FRONTAL, LATERAL, or empty",
    ),
]


@pytest.mark.parametrize(("form", "fields", "was", "becomes", "line"), REFUSED)
def test_what_cannot_be_is_one_line_that_names_file_row_and_column(form, fields, was, becomes, line, tmp_path):
    root = sets.WRITERS[form](tmp_path)
    changed = False
    for path in [path for path in root.rglob("*") if path.suffix in (".csv", ".gz", ".txt")]:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        if was and was in text:
            new = text.replace(was, becomes, 1).encode()
            path.write_bytes(gzip.compress(new) if path.suffix == ".gz" else new)
            changed = True
    assert changed or not was
    with pytest.raises(DataError, match=f"^{re.escape(line)}") as error:
        inventory(form, root, **fields)
    assert "\n" not in str(error.value)


UNKNOWN = [
    (
        "nih",
        {"finding": "Mass,Effusion"},
        "data.findings: no finding 'Mass,Effusion' in Data_Entry_2017_v2020.csv; name each by itself: repeat --finding,"
        " or a list; there are: Atelectasis, Cardiomegaly, Consolidation,",
    ),
    (
        "nih",
        {"finding": "PNEUMONAI"},
        "data.findings: no finding 'PNEUMONAI' in Data_Entry_2017_v2020.csv (did you mean Pneumonia or Pneumothorax?);"
        " there are: Atelectasis, Cardiomegaly,",
    ),
    (
        "chexpert",
        {"finding": "Flu"},
        "data.findings: no finding 'Flu' in CheXpert-v1.0-small/train.csv and CheXpert-v1.0-small/valid.csv and ",
    ),
    ("padchest", {"finding": "scoliosiss"}, "data.findings: no finding 'scoliosiss' in PADCHEST_chest_x_ray_images_"),
    (
        "list",
        {"finding": "Efusion"},
        "data.findings: no finding 'Efusion' in films.csv (did you mean Effusion?); there are: Effusion",
    ),
    (
        "nih",
        {"finding": "No Finding"},
        "data.findings: 'No Finding' means in Data_Entry_2017_v2020.csv that nothing was found: name a finding",
    ),
    ("siim", {"views": ["PA"]}, "data.views: the label files give no film's view; leave data.views out"),
    (
        "siim",
        {"negatives": "no_finding"},
        'data.negatives = "no_finding": the label files do not say on which films nothing was found',
    ),
]


@pytest.mark.parametrize(("form", "fields", "line"), UNKNOWN)
def test_a_field_that_names_what_the_label_files_lack_is_a_mistake_of_the_job(form, fields, line, tmp_path):
    with pytest.raises(JobError, match=f"^{re.escape(line)}") as error:
        inventory(form, sets.WRITERS[form](tmp_path), **fields)
    assert "\n" not in str(error.value)


def test_of_very_many_findings_the_first_are_listed_and_the_closest_named():
    known = [f"finding {k:03}" for k in range(193)]
    line = str(films.unknown_finding("finding 1922", "labels.csv", known))
    assert line.startswith("data.findings: no finding 'finding 1922' in labels.csv (did you mean finding 192 or ")
    assert line.endswith("finding 018, finding 019 and 173 more")


def test_a_row_that_does_not_fit_is_not_repeated(tmp_path):
    """It may name a person."""
    sets.padchest(tmp_path)
    path = next(tmp_path.glob("*.csv"))
    path.write_text(path.read_text().replace(",Physician,['scoliosis']", ",Physician"))
    with pytest.raises(DataError, match=r": not a CSV file: Row #9: Expected 12 columns, got 11$"):
        inventory("padchest", tmp_path)


@pytest.mark.parametrize("form", published.READERS)
def test_a_folder_that_is_no_download(form, tmp_path):
    (tmp_path / "any.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"^no .*\.csv.* below .*: set data\.root to the download$"):
        inventory(form, tmp_path)


def test_one_list_without_the_other(tmp_path):
    sets.nih(tmp_path)
    (tmp_path / "test_list.txt").unlink()
    with pytest.raises(DataError, match=r"^no test_list\.txt below data\.root, though the other list is there"):
        inventory("nih", tmp_path)


def test_label_files_alone_are_not_enough(tmp_path):
    sets.nih(tmp_path)
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"^none of the 9 films of the label files has an image below data\.root$"):
        inventory("nih", tmp_path)


def test_nothing_left_says_why(tmp_path):
    sets.mimic(tmp_path)
    with pytest.raises(DataError, match=r"^no film is left: .*2 of a view that data\.views leaves out|^no film"):
        inventory("mimic-cxr-jpg", tmp_path, finding="Fracture", unmentioned="ignore")


def test_sets_of_names_become_ones_and_zeros():
    texts = pd.Series(["a b", "", "b", "a b"], index=[5, 6, 7, 8])
    found = films.indicators(texts, str.split, ["b", "a"])
    assert found.index.tolist() == [5, 6, 7, 8]
    assert found.to_numpy().tolist() == [[1, 1], [0, 0], [1, 0], [1, 1]]
