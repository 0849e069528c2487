"""Films with several findings: which labels a job gets, which films it leaves out, how splits are carved."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import fs as pafs

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.data import audit, manifest, one_finding, splits
from pneumo_batch.core.data.formats import manifest_file, published
from pneumo_batch.core.data.formats.films import Choice
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import DataError

BOTH = ("Effusion", "Mass")
ROWS = """path,split,patient_id,Effusion,Mass,No Finding
a.png,train,p1,1,1,0
b.png,train,p2,-1,0,
c.png,train,p3,,1,
d.png,train,p4,0,,0
e.png,train,p5,-1,-1,
f.png,train,p6,0,0,1
g.png,test,p7,1,0,
h.png,test,p8,,,
"""


def inventory(tmp_path, text=ROWS, findings=BOTH, **fields):
    for line in text.splitlines()[1:]:
        (tmp_path / line.partition(",")[0]).write_bytes(b"film")
    choice, roots = Choice(findings, **fields), Roots.one(pafs.LocalFileSystem(), str(tmp_path))
    return published.listed(manifest_file.select(text.encode(), "films.csv", roots, choice), choice)


def labels(found):
    columns = [found.listing[f"label__{name}"].to_pylist() for name in BOTH]
    return dict(
        zip([name[0] for name in found.listing["image_id"].to_pylist()], zip(*columns, strict=True), strict=True)
    )


def test_a_film_has_a_label_of_each_finding_and_is_left_out_where_none_is_known(tmp_path):
    found = inventory(tmp_path, unmentioned="ignore")
    assert labels(found) == {"a": (1, 1), "b": (-1, 0), "c": (None, 1), "d": (0, None), "f": (0, 0), "g": (1, 0)}
    assert found.account.left_out == {"without a known label of any of the findings": 2}
    assert found.classes == manifest.class_names(found.listing) == ["NORMAL", "FINDING"]
    assert found.listing["label"].to_pylist() == [1, 0, 1, 0, 0, 1]
    np.testing.assert_array_equal(
        table_columns.labels_of(found.listing), [[1, 1], [-1, 0], [-1, 1], [0, -1], [0, 0], [1, 0]]
    )


def test_uncertain_and_unmentioned_labels_are_read_as_the_job_says(tmp_path):
    found = inventory(tmp_path, uncertain="positive")
    assert labels(found) == {
        "a": (1, 1),
        "b": (1, 0),
        "c": (0, 1),
        "d": (0, 0),
        "e": (1, 1),
        "f": (0, 0),
        "g": (1, 0),
        "h": (0, 0),
    }
    assert labels(inventory(tmp_path, uncertain="negative"))["e"] == (0, 0)
    assert "e" not in labels(inventory(tmp_path))
    assert labels(inventory(tmp_path))["h"] == (0, 0)


def test_films_without_any_of_the_findings_may_be_those_on_which_nothing_was_found(tmp_path):
    found = inventory(tmp_path, negatives="no_finding")
    assert set(labels(found)) == {"a", "c", "f", "g"}
    assert found.account.left_out["without the findings, with others"] == 3


def test_training_films_must_have_each_finding_and_lack_it_and_other_splits_need_not(tmp_path):
    remark = "no film with Mass in test: there are no numbers of it"
    assert remark in inventory(tmp_path).account.remarks
    with pytest.raises(DataError, match=r"^films.csv: no film with Mass in train: take another of data.findings"):
        inventory(tmp_path, ROWS.replace("p1,1,1", "p1,1,0").replace("p3,,1", "p3,,0"))


def test_of_a_val_that_joins_train_nothing_is_missing_later(tmp_path):
    text = f"{ROWS}i.png,val,p9,1,0,0\n"
    line = "no film with Mass in val"
    assert (
        f"{line}, as published: its films join train (data.val_fraction)" in inventory(tmp_path, text).account.remarks
    )
    assert f"{line}: there are no numbers of it" in inventory(tmp_path, text, val_fraction=0).account.remarks


def test_labels_are_part_of_what_identifies_the_data(tmp_path):
    one = manifest.assignment_digest(inventory(tmp_path).listing)
    assert manifest.assignment_digest(inventory(tmp_path).listing) == one
    other = inventory(tmp_path, ROWS.replace("p1,1,1", "p1,1,0"))  # of the same class
    assert manifest.assignment_digest(other.listing) != one


def films(count=600, seed=0):
    """Listed films of two a patient; the third finding is rare."""
    rng = np.random.default_rng(seed)
    labels_NK = (rng.random((count, 3)) < [0.4, 0.15, 0.03]).astype(int)
    rows = [
        {"image_id": f"{k:04}.png", "split": "train", "patient_id": f"p{k // 2}", "class_name": "-", "label": 0}
        | {"bytes": 1, "patient_given": True, "patient_rule": "-"}
        | {f"label__{name}": int(labels_NK[k, place]) for place, name in enumerate("ABC")}
        for k in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=tables.with_labels(manifest.LISTING, "ABC"))


def test_a_carved_split_has_its_share_of_every_finding_however_rare():
    carved = splits.carve_test(films(), 0.25, seed=1).to_pandas()
    assert carved.groupby("patient_id")["split"].nunique().max() == 1
    for name in "ABC":
        share = (carved.loc[carved[f"label__{name}"] == 1, "split"] == "test").mean()
        assert 0.12 < share < 0.4, name
    assert 0.22 < (carved["split"] == "test").mean() < 0.28
    assert splits.carve_test(films(), 0.25, seed=1).to_pandas().equals(carved)


def test_a_finding_of_one_patient_stays_in_train():
    rows = films().to_pylist()
    rows = [{**row, "label__C": int(row["patient_id"] == "p0")} for row in rows]
    table = pa.Table.from_pylist(rows, schema=tables.with_labels(manifest.LISTING, "ABC"))
    carved = splits.carve_test(table, 0.25, seed=1).to_pandas()
    assert set(carved.loc[carved["label__C"] == 1, "split"]) == {"train"}


def test_a_finding_of_two_patients_is_on_both_sides_though_they_are_drawn_by_rarer_ones():
    """Each has a finding of its own that another patient shares: both were drawn, or none, in half of the draws."""
    shown = {"p0": "AC", "p1": "BC", "p2": "A", "p3": "B", **{f"p{k}": "" for k in range(4, 9)}}
    for seed in range(20):
        rows = [
            {**row, **{f"label__{name}": int(name in shown.get(row["patient_id"], "")) for name in "ABC"}}
            for row in films(18).to_pylist()
        ]
        table = pa.Table.from_pylist(rows, schema=tables.with_labels(manifest.LISTING, "ABC"))
        carved = splits.carve_test(table, 0.2, seed).to_pandas()
        for name in "ABC":
            assert set(carved.loc[carved[f"label__{name}"] == 1, "split"]) == {"train", "test"}


def test_one_finding_divides_the_films_and_what_is_not_known_is_of_no_class(tmp_path):
    found = inventory(tmp_path, unmentioned="ignore").listing
    divided = one_finding.divide(found, "Mass")
    assert divided["label"].to_pylist() == [1, 0, 1, -1, 0, 0]
    assert divided["class_name"].to_pylist()[:4] == ["Mass", "without Mass", "Mass", "Mass not known"]
    images = found.select(["image_id", "class_name", "label", "patient_id"]).take([5, 2, 1])
    assert one_finding.divide_images(images, found, "Effusion")["label"].to_pylist() == [1, -1, -1]
    assert one_finding.divide_images(images, found, "Mass")["class_name"].to_pylist()[1] == "Mass"


def test_one_film_with_two_rows_of_labels_is_an_error_though_both_have_a_finding():
    rows = [
        {"image_id": name, "split": "train", "class_name": "FINDING", "label": 1, "patient_id": name, "sha256": "same"}
        | {"width": 20, "height": 10, "mode": "L", "bytes": 1, "label__Effusion": effusion, "label__Mass": 1}
        for name, effusion in (("a.png", 1), ("b.png", 0))
    ]
    table = pa.Table.from_pylist(rows, schema=tables.with_labels(tables.MANIFEST, BOTH))
    found = audit.audit(table, tables.QUARANTINE.empty_table())
    assert found.errors[0].endswith("(a.png = b.png) lie in two classes: delete one of each")
    rows[1]["label__Effusion"] = 1
    table = pa.Table.from_pylist(rows, schema=tables.with_labels(tables.MANIFEST, BOTH))
    assert not any("two classes" in line for line in audit.audit(table, tables.QUARANTINE.empty_table()).errors)
