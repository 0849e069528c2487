import json

import numpy as np
import pyarrow as pa
import pytest

from pneumo_batch.core import tables
from pneumo_batch.core.data import audit_lines
from pneumo_batch.core.data.audit import audit

NOTHING = tables.QUARANTINE.empty_table()


def rows(*specification):
    """Manifest rows from (image_id, class) or more: fields given by name replace the fillers."""
    table = []
    for image_id, name, *fields in specification:
        row = {"image_id": image_id, "split": image_id.split("/")[0], "class_name": name, "label": int(name == "B")}
        row |= {"patient_id": f"of {image_id}", "subtype": None, "width": 20, "height": 10, "mode": "L", "bytes": 5}
        table.append(row | {"sha256": image_id} | (fields[0] if fields else {}))
    return pa.Table.from_pylist(table, schema=tables.MANIFEST)


CLEAN = (("test/a", "A"), ("test/b", "B"), ("train/a", "A"), ("train/b", "B"))


def test_a_clean_data_set():
    result = audit(rows(*CLEAN), NOTHING)
    assert (result.errors, result.warnings) == ([], [])
    sizes = {
        name: {"min": value, "median": value, "max": value}
        for name, value in (("width", 20.0), ("height", 10.0), ("aspect", 2.0))
    }
    assert result.as_dict() == {
        "errors": [],
        "warnings": [],
        "images": 4,
        "counts": {"test": {"A": {"-": 1}, "B": {"-": 1}}, "train": {"A": {"-": 1}, "B": {"-": 1}}},
        "sizes": {"A": sizes, "B": sizes},
        "modes": {"A": {"L": 2}, "B": {"L": 2}},
        "duplicates": {"groups": 0, "images": 0},
        "copies": {},
        "patients": {"test": 2, "train": 2},
        "patient_overlap": 0,
        "patient_rules": {},
        "quarantined": {},
        "passed_over": {},
        "account": None,
        "findings": {},
        "regions": [],
    }


@pytest.mark.parametrize(
    ("names", "warned"),
    [
        (("Effusion", "NORMAL"), True),
        (("Cardiomegaly", "No Finding"), True),
        (("NORMAL", "PNEUMONIA"), False),
        (("Effusion", "Mass"), False),
        (("healthy", "normal"), False),
        (("A", "Abnormal"), False),
    ],
)
def test_the_name_that_says_nothing_was_found_is_no_positive_class_by_intention(names, warned):
    films = [
        (f"{split}/{label}", name, {"label": label}) for split in ("train", "test") for label, name in enumerate(names)
    ]
    line = (
        f"the positive class is {names[1]}, the second of {names[0]}, {names[1]}: where {names[0]} is what models look"
        f' for, set data.classes = ["{names[1]}", "{names[0]}"]'
    )
    assert audit(rows(*films), NOTHING).warnings == ([line] if warned else [])


def test_sizes_and_subtypes():
    result = audit(
        rows(
            ("test/1", "A", {"width": 10, "height": 10}),
            ("test/2", "A", {"width": 30, "height": 20}),
            ("test/3", "A", {"width": 80, "height": 20}),
            ("test/4", "B", {"subtype": "virus"}),
            ("test/5", "B", {"subtype": "bacteria"}),
            ("test/6", "B", {"subtype": "virus"}),
        ),
        NOTHING,
    )
    assert result.sizes["A"]["width"] == {"min": 10, "median": 30, "max": 80}
    assert result.sizes["A"]["aspect"] == {"min": 1, "median": 1.5, "max": 4}
    assert result.counts == {"test": {"A": {"-": 3}, "B": {"bacteria": 1, "virus": 2}}}


DELETE = "delete one of each, or set data.allow_leaks"


@pytest.mark.parametrize(
    ("first", "second", "kind", "line"),
    [
        ("test/a", "test/b", "errors", "(test/a = test/b) lie in two classes: delete one of each"),
        ("test/a", "train/a", "errors", f"(test/a = train/a) lie in both train and test: {DELETE}"),
        ("test/a", "val/a", "errors", f"(test/a = val/a) lie in both val and test: {DELETE}"),
        ("train/a", "val/a", "warnings", "(train/a = val/a) lie in both train and val: validation scores are too good"),
        ("train/a", "train/z", "warnings", "(train/a = train/z) within one class and split: they count more than once"),
    ],
)
def test_byte_identical_images(first, second, kind, line):
    base = [*CLEAN, ("train/y", "B"), ("train/z", "A"), ("val/a", "A"), ("val/b", "B")]
    table = rows(*((*row[:2], {"sha256": "same"}) if row[0] in (first, second) else row for row in base))
    result = audit(table, NOTHING)
    assert result.as_dict()[kind] == [f"1 group of byte-identical images {line}"]
    assert len(result.errors) + len(result.warnings) == 1
    assert result.duplicates == {"groups": 1, "images": 2}


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ((1, None), "within one class and split: they count more than once"),
        ((1, 0), "within one class and split: they count more than once"),
        ((0, None), "lie in two classes: delete one of each"),
    ],
)
def test_a_label_that_nobody_knows_contradicts_none(other, line):
    films = rows(*CLEAN, ("train/y", "B", {"sha256": "same"}), ("train/z", "B", {"sha256": "same"}))
    for name, first, second in zip(("label__Effusion", "label__Mass"), (1, None), other, strict=True):
        films = films.append_column(name, pa.array([0, 1, 0, 1, first, second], pa.int8()))
    result = audit(films, NOTHING)
    assert [one for one in [*result.errors, *result.warnings] if "byte-identical" in one] == [
        f"1 group of byte-identical images (train/y = train/z) {line}"
    ]


def test_a_patient_of_train_and_test_is_leakage():
    table = rows(("test/a", "A", {"patient_id": "P"}), ("test/b", "B"), ("train/a", "A", {"patient_id": "P"}), CLEAN[3])
    result = audit(table, NOTHING)
    assert result.patient_overlap == 1
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith("leakage: 1 patient of train or val also in test (such as P): ")


def test_a_mode_of_one_class_only_leaks_the_label():
    gray = [(f"test/{name}{k:02}", name) for name in "AB" for k in range(40)]
    rgb, bits = ([(f"test/{mode}{k:02}", "B", {"mode": mode}) for k in range(20)] for mode in ("RGB", "1"))
    result = audit(rows(*gray, *rgb, *bits, ("test/p", "A", {"mode": "P"})), NOTHING)  # one alone is an accident
    assert [one for one in result.warnings if "mode" in one] == [
        "colour mode leaks the label: all 20 images of mode '1' are B, all 20 images of mode 'RGB' are B;"
        " images are read as one gray channel, so the networks cannot see it"
    ]
    both = audit(rows(*gray, *rgb, ("test/c", "A", {"mode": "RGB"})), NOTHING)
    assert [one for one in both.warnings if "mode" in one] == []
    assert audit(rows(*[one for one in gray if one[1] == "A"]), NOTHING).warnings == []  # one class alone


def test_a_shape_that_tells_the_class_is_a_leak():
    wide = [(f"test/{k}", "B", {"width": 30 if k else 20}) for k in range(4)]  # pairs won: 3 of 4, half of the fourth
    narrow = [(f"test/n{k}", "A") for k in range(4)]
    result = audit(rows(*wide, *narrow), NOTHING)
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith(
        "image shape leaks the label: width / height alone separates the classes with AUROC 0.88;"
    )


def test_imbalance_of_several_findings_is_told_by_finding():
    table = rows(*CLEAN, ("train/c", "B"), ("train/d", "B"))
    split = np.array(table["split"].to_pylist()) == "train"
    even, rare = np.zeros((2, len(split)), np.int8)
    rare[:] = -1  # not known: counted on neither side
    even[np.flatnonzero(split)[::2]] = 1
    rare[np.flatnonzero(split)] = [1, 0, 0, 0]
    table = table.append_column("label__Even", pa.array(even)).append_column("label__Rare", pa.array(rare))
    assert audit(table, NOTHING).warnings == [
        "imbalance in train: Rare 1 with to 3 without it; judge models by AUROC and balanced accuracy, not by accuracy"
    ]


def test_class_imbalance_is_told():
    result = audit(rows(*CLEAN, ("train/c", "B")), NOTHING)
    assert result.warnings == [
        "class imbalance in train: 2 B to 1 A; judge models by AUROC and balanced accuracy, not by accuracy"
    ]


def test_quarantined_images_are_counted_by_reason():
    bad = [{"image_id": f"train/{k}", "stage": "index", "reason": "empty file"} for k in (2, 1)]
    result = audit(rows(*CLEAN), pa.Table.from_pylist(bad, schema=tables.QUARANTINE))
    assert result.quarantined == {"empty file": 2}
    assert result.warnings == ["2 of 6 images rejected: train/1: empty file; train/2: empty file"]


def test_the_first_five_rejected_images_are_named():
    bad = [{"image_id": f"train/{k}", "stage": "index", "reason": "empty file"} for k in range(7)]
    (warning,) = audit(rows(*CLEAN), pa.Table.from_pylist(bad, schema=tables.QUARANTINE)).warnings
    assert warning.startswith("7 of 11 images rejected: train/0: empty file; train/1: empty file; ")
    assert warning.endswith("train/4: empty file; and 2 more")


def test_files_passed_over_are_counted_by_kind():
    result = audit(rows(*CLEAN), NOTHING, passed_over={"without an ending": 1, ".csv": 3})
    assert result.passed_over == {".csv": 3, "without an ending": 1}
    assert result.warnings == ["4 files were passed over: 3 .csv, 1 without an ending"]


def test_a_split_that_lost_a_class_is_an_error():
    assert audit(rows(*CLEAN[1:]), NOTHING).errors == ["test has no usable image of class A"]


def test_nothing_usable_at_all():
    result = audit(rows(), NOTHING)
    assert (result.images, result.errors) == (0, ["no usable image"])


def test_the_dictionary_is_plain_json():
    result = audit(rows(*CLEAN, ("train/z", "A", {"sha256": "train/a"})), NOTHING)
    assert json.loads(json.dumps(result.as_dict())) == result.as_dict()


def test_several_findings_are_counted_by_split():
    films = rows(*CLEAN, ("test/c", "B"))
    labels = {"label__Effusion": [1, 0, 1, None, 1], "label__Mass": [0, 0, 0, 0, -1]}
    for name, values in labels.items():
        films = films.append_column(name, pa.array(values, pa.int8()))
    assert audit(films, NOTHING).findings == {
        "test": {
            "Effusion": {"with": 2, "without": 1, "unknown": 0},
            "Mass": {"with": 0, "without": 2, "unknown": 1},
        },
        "train": {
            "Effusion": {"with": 1, "without": 0, "unknown": 1},
            "Mass": {"with": 0, "without": 2, "unknown": 0},
        },
    }


@pytest.mark.parametrize(
    ("bad", "total", "counted", "advice"),
    [
        (1, 84, "1 of 84 images is", "remove it, or run with --set data.max_bad=0.02"),
        (7, 100, "7 of 100 images are", "remove them, or run with --set data.max_bad=0.07"),
    ],
)
def test_too_many_unreadable_images_come_with_two_ways_on(bad, total, counted, advice):
    row = {"image_id": "test/a", "stage": "index", "reason": "empty file"}
    line = audit_lines.too_many_rejected(pa.Table.from_pylist([row] * bad, schema=tables.QUARANTINE), total, 0.01)
    assert line == (
        f"{counted} unreadable, more than data.max_bad = 0.01 allows; the first is test/a: empty file; repair or"
        f" {advice}"
    )
