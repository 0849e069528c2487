"""Patients by path: hand-made paths, and every name of the published lists that come with torchxrayvision."""

import importlib.util
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from pneumo_batch.core import tables
from pneumo_batch.core.data import audit, manifest, patients

MIMIC_FILM = "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014"


@pytest.mark.parametrize(
    ("folders", "name", "patient", "rule"),
    [
        ("", "person1000_bacteria_2931.jpeg", "person1000_bacteria", "Kermany names"),
        ("", "IM-0115-0001.jpeg", "IM-0115", "Kermany names"),
        ("", "NORMAL2-IM-1427-0001.jpeg", "NORMAL2-IM-1427", "Kermany names"),
        ("", "00000013_005.png", "00000013", "NIH names"),
        ("images_001/images", "00000013_005.png", "00000013", "NIH names"),
        ("patient00001/study1", "view1_frontal.jpg", "patient00001", "CheXpert paths"),
        ("", "patient00001_study2_view1_lateral.jpg", "patient00001", "CheXpert paths"),
        ("p10/p10000032/s50414267", f"{MIMIC_FILM}.jpg", "p10000032", "MIMIC-CXR paths"),
        ("", f"p10000032_s50414267_{MIMIC_FILM}.jpg", "p10000032", "MIMIC-CXR paths"),
        # a folder for each patient; a short number may be another person's in another class
        ("pat7", "IM-0001-0001.jpeg", "A/pat7", "patient folders"),
        ("Patient (1)", "a.png", "A/Patient (1)", "patient folders"),
        ("0042/series 2", "a.png", "A/0042", "patient folders"),
        ("site 3/0042", "a.png", "A/site 3/0042", "patient folders"),
        ("1234567", "a.png", "1234567", "patient folders"),
        ("1.2.276.0.7230010.3.1/4", "a.dcm", "1.2.276.0.7230010.3.1", "patient folders"),
        # alike to the above, and nobody's
        ("", "20200301_001.png", "train/A/20200301_001", "nothing"),
        ("", "00099999_001.png", "train/A/00099999_001", "nothing"),
        ("", "1234_567.png", "train/A/1234_567", "nothing"),
        ("", f"{MIMIC_FILM}.jpg", f"train/A/{MIMIC_FILM}", "nothing"),
        ("COVID-19", "1.png", "train/A/COVID-19/1", "nothing"),
        ("images_001", "1.png", "train/A/images_001/1", "nothing"),
        ("batch2/PA", "1.png", "train/A/batch2/PA/1", "nothing"),
        ("2020-03-01", "1.png", "train/A/2020-03-01/1", "nothing"),
        ("bacteria", "1.png", "train/A/bacteria/1", "nothing"),
        ("bacteria", "person1_bacteria_2.jpeg", "person1_bacteria", "Kermany names"),
        # films that a program wrote into a folder each are not all of the patient IM-0001
        ("Ada", "IM-0001-0001.jpeg", "A/Ada/IM-0001", "Kermany names"),
    ],
)
def test_the_path_tells_the_patient(folders, name, patient, rule):
    between = Path(folders).parts
    assert patients.of_image("/".join(("train", "A", *between, name)), "A", between) == (patient, rule)


def test_a_root_of_several_keeps_its_patients_apart():
    for folder, expected in (("7", "{}/A/7"), ("1234567", "{}/1234567")):
        for root in ("east", "west"):
            path = f"{root}/train/A/{folder}/x.png"
            assert patients.of_image(path, "A", (folder,)).id == expected.format(root)


def test_a_patient_keeps_the_id_in_every_split():
    ids = {patients.of_image(f"{split}/A/pat7/{k}.png", "A", ("pat7",)).id for k, split in enumerate(("train", "test"))}
    assert ids == {"A/pat7"}


def test_a_list_has_no_patient_folders():
    assert patients.of_image("films/0042/a.png", "A") == ("films/0042/a", "nothing")
    assert patients.of_image(f"files/p10/p10000032/s50414267/{MIMIC_FILM}.jpg", "A").id == "p10000032"


def _published(name, **options):
    found = importlib.util.find_spec("torchxrayvision")
    if found is None or not found.submodule_search_locations:
        pytest.skip("torchxrayvision is not installed")
    return pd.read_csv(Path(found.submodule_search_locations[0]) / "data" / name, dtype=str, **options)


def _by_name(names):
    found = [patients.of_image(f"train/A/{name}", "A", Path(name).parts[:-1]) for name in names]
    return pd.DataFrame(found, index=names.index)


def test_every_name_of_the_nih_list():
    rows = _published("Data_Entry_2017_v2020.csv.gz", usecols=["Image Index", "Patient ID"])
    found = _by_name(rows["Image Index"])
    assert set(found["rule"]) == {"NIH names"}
    assert (found["id"].astype(int).to_numpy() == rows["Patient ID"].astype(int).to_numpy()).all()
    assert found["id"].nunique() == 30805


def test_every_path_of_the_chexpert_list():
    rows = _published("chexpert_train.csv.gz", usecols=["Path"])
    found = _by_name(rows["Path"])
    assert set(found["rule"]) == {"CheXpert paths"}
    assert found["id"].nunique() == 64540
    assert (found["id"].to_numpy() == rows["Path"].str.split("/").str[2].to_numpy()).all()


def test_every_name_of_the_padchest_list():
    """Its names tell the study, which is one patient's but for a single study of the list."""
    columns = ["ImageID", "StudyID", "PatientID"]
    rows = _published("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz", usecols=columns)
    found = _by_name(rows["ImageID"])
    assert set(found["rule"]) == {"PadChest names (studies)"}
    assert (found["id"] == rows["StudyID"].to_numpy()).all()
    assert (rows.groupby(found["id"].to_numpy())["PatientID"].nunique() > 1).sum() == 1


@pytest.mark.parametrize(
    ("name", "column", "suffix"),
    [
        ("kaggle_stage_2_train_images_dicom_headers.csv.gz", "Filename", ""),
        ("siim-pneumothorax-train-rle.csv.gz", "ImageId", ".dcm"),
        ("vinbigdata-train.csv.gz", "image_id", ".dicom"),
        ("nlmcxr_dicom_metadata.csv.gz", "imageid", ".png"),
    ],
)
def test_names_of_sets_that_tell_no_patient(name, column, suffix):
    rows = _published(name)
    rows.columns = rows.columns.str.strip()
    found = _by_name(rows[column].drop_duplicates() + suffix)
    assert set(found["rule"]) == {"nothing"}
    assert found["id"].is_unique


def _row(image_id, patient, **changes):
    row = {"image_id": image_id, "split": "train", "class_name": "A", "label": 0, "patient_id": patient, "width": 4}
    row |= {"subtype": None, "height": 4, "mode": "L", "bytes": 1, "sha256": image_id, "patient_given": False}
    return row | {"patient_rule": "nothing"} | changes


def test_data_check_counts_the_rules_and_the_images_without_patient():
    listed = [
        _row("train/A/00000013_005.png", "00000013", patient_rule="NIH names"),
        _row("train/A/00000013_006.png", "00000013", patient_rule="NIH names"),
        _row("train/A/x.png", "p1", patient_given=True),
        _row("train/A/y.dcm", "train/A/y"),
        _row("train/A/z.png", "train/A/z"),
    ]
    listing = pa.Table.from_pylist(listed, schema=manifest.LISTING)
    read = [*listed[:3], listed[3] | {"patient_id": "dicom-1"}, listed[4]]
    found = audit.audit(pa.Table.from_pylist(read, schema=tables.MANIFEST), tables.QUARANTINE.empty_table(), listing)
    assert found.patient_rules == {"DICOM headers": 1, "NIH names": 1, "nothing": 1, "the list": 1}
    assert [line for line in found.warnings if "patient" in line] == [
        "1 image has no patient: each counts as one; name the patients in data.manifest"
    ]


def test_one_patient_for_all_is_told():
    read = [_row(f"train/A/IM-0001-{k:04}.png", "IM-0001") for k in range(3)]
    found = audit.audit(pa.Table.from_pylist(read, schema=tables.MANIFEST), tables.QUARANTINE.empty_table())
    assert found.warnings[0] == (
        "all 3 images of train are of one patient (IM-0001): name the patients in data.manifest if they are several"
    )
