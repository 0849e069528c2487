"""Generated sets in published layouts, read back with pandas, pydicom and Pillow by the rules of each set."""

import ast
import gzip
import hashlib
import json
import re

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from pneumo_batch.cli.commands import datasets
from pneumo_batch.core.data.options import GENERATED
from pneumo_batch.core.data.phantom import published
from pneumo_batch.errors import DataError

TRAIN, TEST, SIZE = 32, 12, 48
CHEXPERT = {
    "opacity": "Lung Opacity",
    "effusion": "Pleural Effusion",
    "pneumothorax": "Pneumothorax",
    "enlarged heart": "Cardiomegaly",
}
PATTERNS = {
    "nih": r"images_0(0[1-9]|1[0-2])/images/\d{8}_\d{3}\.png",
    "chexpert": r"(train|valid)/patient\d{5}/study\d+/view\d_(frontal|lateral)\.jpg",
    "mimic-cxr-jpg": r"files/p1\d/p1\d{7}/s5\d{7}/[0-9a-f]{8}(-[0-9a-f]{8}){4}\.jpg",
    "padchest": r"\d+/\d{38}_[0-9a-z]{6}\.png",
    "vindr": r"train/[0-9a-f]{32}\.dicom",
    "rsna": r"stage_2_train_images/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.dcm",
    "siim": r"dicom-images-train/(1\.2\.276\.0\.7230010\.3\.1\.[0-9.]+)/(\1|[0-9.]+)/[0-9.]+\.dcm",
    "list": r"films/\d{4}-\d-\d\.png",
}


class Set:
    """A written set: `films` by path is what is known of each, `named` those that its tables must name."""

    def __init__(self, root):
        self.root = root
        self.truth = json.loads((root / "truth.json").read_text())
        self.films = {film["path"]: film for film in self.truth["films"]}
        self.named = {path: film for path, film in self.films.items() if film["state"] != "unlisted"}

    def table(self, name, **how):
        return pd.read_csv(self.root / name, **how)

    def frontal(self):
        return {path: film for path, film in self.named.items() if film["view"] != "LATERAL"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Sets by format, each written once, when it is first asked for."""
    folder, sets = tmp_path_factory.mktemp("published"), {}

    def of(form):
        if form not in sets:
            published.write(folder / form, form, train=TRAIN, test=TEST, seed=1, image_size=SIZE)
            sets[form] = Set(folder / form)
        return sets[form]

    return of


def decoded(mask):
    """A mask of COCO's uncompressed run lengths, pixel by pixel."""
    height, width = mask["size"]
    mask_HW, place, inside = np.zeros((height, width), bool), 0, False
    for length in mask["counts"]:
        for pixel in range(place, place + length):
            mask_HW[pixel % height, pixel // height] = inside
        place, inside = place + length, not inside
    assert place == height * width
    return mask_HW


def edges(mask_HW):
    rows, columns = np.nonzero(mask_HW)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def around(boxes):
    """Left, top, right, bottom of all boxes (x, y, width, height) together."""
    x, y, width, height = np.array(boxes).T
    return [x.min(), y.min(), (x + width).max(), (y + height).max()]


def opened(path):
    """(H, W) as it is shown, black 0 and white 1."""
    if path.suffix in (".dcm", ".dicom"):
        dataset = pydicom.dcmread(path)
        share_HW = dataset.pixel_array / (2**dataset.BitsStored - 1)
        return 1 - share_HW if dataset.PhotometricInterpretation == "MONOCHROME1" else share_HW
    with Image.open(path) as image:
        most = 65535 if image.mode.startswith("I;16") else 255
        return np.asarray(image.convert("L") if image.mode == "RGBA" else image) / most


@pytest.mark.parametrize("form", GENERATED)
def test_films_lie_under_the_names_of_the_set(written, form):
    films = written(form).films
    assert len(films) == TRAIN + TEST
    assert all(re.fullmatch(PATTERNS[form], path) for path in films)
    states = pd.Series([film["state"] for film in films.values()]).value_counts().to_dict()
    bad = ["broken", "unlisted"] if form == "list" else ["missing", "broken", "unlisted"]
    assert states == {"whole": TRAIN + TEST - len(bad), **dict.fromkeys(bad, 1)}


@pytest.mark.parametrize("form", GENERATED)
def test_every_film_can_be_read_but_the_missing_and_the_broken(written, form):
    root, looks = written(form).root, []
    for path, film in written(form).films.items():
        if film["state"] == "missing":
            assert not (root / path).exists()
        elif film["state"] == "broken":
            with pytest.raises(Exception):  # noqa: B017, PT011 - what each library makes of half a file
                opened(root / path)
        else:
            image_HW = opened(root / path)
            looks.append(image_HW[4:20, len(image_HW[0]) // 2 - 2 : len(image_HW[0]) // 2 + 2].mean())
            assert all(shown["mask"]["size"] == list(image_HW.shape) for shown in film["shown"].values())
            assert (form == "siim") == (max(image_HW.shape) == 1024)
    assert np.median(looks) > 0.3, "the neck is bright, black and white are not exchanged"


@pytest.mark.parametrize("form", GENERATED)
def test_boxes_enclose_the_masks_and_frontal_films_show_what_their_study_has(written, form):
    form_set = written(form)
    if form != "siim":
        for film in form_set.films.values():
            for shown in film["shown"].values():
                assert around(shown["boxes"]) == edges(decoded(shown["mask"]))
    for film in form_set.films.values():
        assert set(film["shown"]) == (set() if film["view"] == "LATERAL" else set(film["findings"]))
    seen = {name for film in form_set.films.values() for name in film["findings"]}
    assert seen == {"opacity", "effusion", "pneumothorax", "enlarged heart"}


def digests(root):
    return {
        path.relative_to(root): hashlib.sha256(path.read_bytes()).digest() for path in root.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("form", ["mimic-cxr-jpg", "vindr", "rsna"])
def test_the_same_seed_gives_the_same_bytes(written, tmp_path, form):
    published.write(tmp_path / "again", form, train=TRAIN, test=TEST, seed=1, image_size=SIZE)
    assert digests(tmp_path / "again") == digests(written(form).root)
    published.write(tmp_path / "other", form, train=8, test=4, seed=2, image_size=SIZE)
    assert not set(digests(tmp_path / "other").values()) & set(digests(written(form).root).values())


def test_nih(written):
    nih = written("nih")
    header, *lines = (nih.root / "Data_Entry_2017_v2020.csv").read_text().splitlines()
    assert header.startswith("Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Pos")
    assert header.endswith(",OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]")
    assert {line.count(",") for line in [header, *lines]} == {10}
    rows = nih.table("Data_Entry_2017_v2020.csv", index_col="Image Index")
    assert {path.split("/")[-1] for path in nih.named} == set(rows.index)
    for path, film in nih.named.items():
        row = rows.loc[path.split("/")[-1]]
        found = {name for name, value in film["labels"].items() if value}
        assert row["Finding Labels"] == ("|".join(sorted(found)) or "No Finding")
        assert {nih.truth["names"][name] for name in film["findings"]} <= found
        assert [row["Patient ID"], row["Patient Gender"], row["View Position"]] == [
            *(film["person"], film["sex"], film["view"])
        ]
    assert len(film["labels"]) == 14
    modes = {Image.open(nih.root / path).mode for path, film in nih.films.items() if film["state"] == "whole"}
    assert modes == {"L", "RGBA"}


def outlined(box):
    """In pixels of the set's own films, which have 1024 a side."""
    return [1024 * side / SIZE for side in box]


def test_nih_splits_and_boxes(written):
    nih = written("nih")
    splits = {name: (nih.root / name).read_text().split("\n") for name in ("train_val_list.txt", "test_list.txt")}
    people = {name: {film[:8] for film in films} for name, films in splits.items()}
    assert people["train_val_list.txt"] & people["test_list.txt"] == {"00000001"}
    assert sorted(name for names in splits.values() for name in names) == sorted(
        path.split("/")[-1] for path in nih.named
    )
    first, *lines = (nih.root / "BBox_List_2017.csv").read_text().splitlines()
    assert first == "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    rows = [line.split(",") for line in lines]
    expected = [
        [
            path.split("/")[-1],
            "Infiltrate" if name == "opacity" else nih.truth["names"][name],
            *map(str, outlined(box)),
        ]
        for path, film in nih.named.items()
        if film["split"] == "test"
        for name, shown in film["shown"].items()
        for box in shown["boxes"]
    ]
    assert sorted(rows) == sorted(expected)
    assert {row[1] for row in rows} >= {"Infiltrate", "Effusion", "Cardiomegaly"}


def values(row, names):
    return {name: None if pd.isna(row[name]) else int(row[name]) for name in names}


def test_chexpert(written):
    chexpert = written("chexpert")
    tables = [chexpert.table(name) for name in ("train.csv", "valid.csv")]
    assert all(
        list(table.columns[:6]) == ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding"] for table in tables
    )
    rows = pd.concat(tables).set_index("Path")
    assert len(rows.columns) == 18
    assert set(rows.index) == {f"CheXpert-v1.0-small/{path}" for path in chexpert.named}
    for path, film in chexpert.named.items():
        row = rows.loc[f"CheXpert-v1.0-small/{path}"]
        assert values(row, film["labels"]) == film["labels"]
        assert all(film["labels"][CHEXPERT[name]] in (1, -1) for name in film["findings"])
        assert row["Frontal/Lateral"] == ("Lateral" if film["view"] == "LATERAL" else "Frontal")
        assert row["Sex"][0] == film["sex"]
    train = pd.DataFrame([film["labels"] for film in chexpert.films.values() if film["split"] != "test"])
    assert set(train.drop(columns="No Finding").stack(future_stack=True).map(str)) == {"1.0", "0.0", "-1.0", "nan"}
    assert not pd.isna(tables[1].iloc[:, 5:]).any(axis=None)
    assert rows["AP/PA"].isna().sum() == (rows["Frontal/Lateral"] == "Lateral").sum() > 0


def uncompressed(text):
    """The run lengths in a text of pycocotools, as its rleFrString reads them."""
    counts, place = [], 0
    while place < len(text):
        value, digit, more = 0, 0, True
        while more:
            character = ord(text[place]) - 48
            value |= (character & 0x1F) << 5 * digit
            more, place, digit = bool(character & 0x20), place + 1, digit + 1
            if not more and character & 0x10:
                value |= -1 << 5 * digit
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


def test_chexlocalize(written):
    chexpert = written("chexpert")
    outlines = json.loads((chexpert.root / "CheXlocalize/gt_segmentations_val.json").read_text())
    shown = {
        path.removeprefix("valid/").removesuffix(".jpg").replace("/", "_"): film["shown"]
        for path, film in chexpert.frontal().items()
        if film["split"] == "test" and film["shown"]
    }
    assert outlines.keys() == shown.keys()
    for name, masks in outlines.items():
        found = {finding: uncompressed(mask["counts"]) for finding, mask in masks.items()}
        assert len(found) == 10
        truth = {CHEXPERT[f].replace("Lung Op", "Airspace Op"): s["mask"]["counts"] for f, s in shown[name].items()}
        assert {finding: counts for finding, counts in found.items() if len(counts) > 1} == truth
        assert all(sum(counts) == np.prod(masks[finding]["size"]) for finding, counts in found.items())


def test_mimic(written):
    mimic = written("mimic-cxr-jpg")
    labels, metadata, split = (
        mimic.table(f"mimic-cxr-2.0.0-{name}.csv.gz") for name in ("chexpert", "metadata", "split")
    )
    rows = metadata.merge(split, on=["dicom_id", "subject_id", "study_id"], validate="1:1")
    rows = rows.merge(labels, on=["subject_id", "study_id"], how="left", validate="m:1").set_index("dicom_id")
    assert set(rows.index) == {path.split("/")[-1].removesuffix(".jpg") for path in mimic.named}
    for path, film in mimic.named.items():
        row = rows.loc[path.split("/")[-1].removesuffix(".jpg")]
        assert path.split("/")[1:4] == [f"p{str(row.subject_id)[:2]}", f"p{row.subject_id}", f"s{row.study_id}"]
        assert values(row, film["labels"]) == film["labels"]
        assert row["split"] == film["split"]
        assert pd.isna(row.ViewPosition) or row.ViewPosition == film["view"]
    assert len(labels.columns) == 16
    assert labels.study_id.is_unique
    assert len(labels) < len(rows)
    assert rows.ViewPosition.isna().any()
    people = rows.groupby("subject_id")["split"].agg(set)
    assert [splits for splits in people if len(splits) > 1] == [{"train", "test"}]
    assert gzip.decompress((mimic.root / "mimic-cxr-2.0.0-split.csv.gz").read_bytes())


def test_padchest(written):
    padchest = written("padchest")
    rows = padchest.table("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", dtype={"PatientID": str}, index_col=0)
    assert len(rows.columns) == 35
    assert set(rows.ImageDir.astype(str) + "/" + rows.ImageID) == set(padchest.named)
    printed = rows.set_index("ImageID").Labels
    for path, film in padchest.named.items():
        text = printed[path.split("/")[1]]
        found = None if pd.isna(text) else {name.strip() for name in ast.literal_eval(text)}
        assert film["labels"] == {name: None if found is None else int(name in found) for name in film["labels"]}
        assert film["findings"] == [] or {padchest.truth["names"][name] for name in film["findings"]} <= found
    assert printed.str.contains(", ' ").any()
    assert printed.isna().any()
    assert (printed == "['normal']").any()
    assert set(rows.Projection) == {"PA", "AP_horizontal", "L"}
    assert rows.PatientID.str.len().eq(36).all()
    some = next(path for path, film in padchest.films.items() if film["state"] == "whole")
    assert Image.open(padchest.root / some).mode == "I;16"


def test_vindr(written):
    vindr = written("vindr")
    rows = vindr.table("train.csv")
    assert list(rows.columns) == ["image_id", "class_name", "class_id", "rad_id", "x_min", "y_min", "x_max", "y_max"]
    films = {path.removeprefix("train/").removesuffix(".dicom"): film for path, film in vindr.named.items()}
    assert set(rows.image_id) == set(films)
    for image_id, group in rows.groupby("image_id"):
        film = films[image_id]
        assert group.rad_id.nunique() == 3
        votes = group[group.class_name != "No finding"].groupby("class_name").rad_id.nunique().to_dict()
        assert votes == {name: count for name, count in film["labels"].items() if count}
        assert {name for name, count in votes.items() if count > 1} == {
            vindr.truth["names"][f] for f in film["findings"]
        }
        for name, shown in film["shown"].items():
            marked = group[group.class_name == vindr.truth["names"][name]][["x_min", "y_min", "x_max", "y_max"]]
            exact = [[x, y, x + width, y + height] for x, y, width, height in shown["boxes"]]
            assert all(np.abs(np.array(exact) - box).max(1).min() <= 2 for box in marked.to_numpy())
            assert all(box in marked.to_numpy().tolist() for box in exact)
    assert rows[rows.class_name == "No finding"].x_min.isna().all()
    assert (rows.x_max > rows.x_min)[rows.x_min.notna()].all()
    assert {2, 3} <= {count for film in films.values() for count in film["labels"].values()}
    assert {1} <= {count for film in films.values() for count in film["labels"].values()}


def headers(form_set):
    return [
        pydicom.dcmread(form_set.root / path, stop_before_pixels=True)
        for path, film in form_set.films.items()
        if film["state"] == "whole"
    ]


def test_films_in_dicom_are_of_both_kinds_and_several_depths(written):
    for form, depths in (("vindr", {12, 14}), ("rsna", {8}), ("siim", {8})):
        read = headers(written(form))
        assert {film.PhotometricInterpretation for film in read} == {"MONOCHROME1", "MONOCHROME2"}
        assert {film.BitsStored for film in read} == depths
        assert {film.file_meta.TransferSyntaxUID.is_compressed for film in read} == {form != "vindr"}


def test_rsna(written):
    rsna = written("rsna")
    rows, classes = (rsna.table(f"stage_2_{name}.csv") for name in ("train_labels", "detailed_class_info"))
    assert list(rows.columns) == ["patientId", "x", "y", "width", "height", "Target"]
    films = {path.split("/")[1].removesuffix(".dcm"): film for path, film in rsna.named.items()}
    assert set(rows.patientId) == set(films)
    assert len(classes) == len(rows) > len(films)
    kinds = classes.drop_duplicates().set_index("patientId")["class"]
    for patient, group in rows.groupby("patientId"):
        film, boxes = films[patient], group[["x", "y", "width", "height"]].dropna().to_numpy().tolist()
        assert boxes == (list(map(outlined, film["shown"]["opacity"]["boxes"])) if "opacity" in film["shown"] else [])
        assert set(group.Target) == {film["labels"]["Lung Opacity"]} == {int("opacity" in film["findings"])}
        sick = "No Lung Opacity / Not Normal" if film["findings"] else "Normal"
        assert kinds[patient] == ("Lung Opacity" if boxes else sick)
    assert set(kinds) == {"Normal", "No Lung Opacity / Not Normal", "Lung Opacity"}
    assert {film.PatientID for film in headers(rsna)} <= {path.split("/")[1][:-4] for path in rsna.films}


def test_siim(written):
    siim = written("siim")
    rows = siim.table("train-rle.csv", dtype=str)
    assert list(rows.columns) == ["ImageId", " EncodedPixels"]
    films = {path.split("/")[-1].removesuffix(".dcm"): film for path, film in siim.named.items()}
    assert set(rows.ImageId) == set(films)
    assert len(rows) > len(films)
    for image_id, group in rows.groupby("ImageId"):
        flat = np.zeros(1024 * 1024, bool)
        for text in group[" EncodedPixels"]:
            place, numbers = 0, [int(number) for number in text.split()]
            for skipped, length in zip(numbers[::2], numbers[1::2], strict=False):
                place += skipped
                flat[place : place + length] = True
                place += length
        shown = films[image_id]["shown"].get("pneumothorax")
        assert flat.any() == (shown is not None) == bool(films[image_id]["labels"]["Pneumothorax"])
        if shown:
            assert edges(flat.reshape(1024, 1024).T) == around(shown["boxes"])
            inside = np.repeat(np.arange(len(shown["mask"]["counts"])) % 2 == 1, shown["mask"]["counts"])
            np.testing.assert_array_equal(flat, inside)
    assert {film.SOPInstanceUID for film in headers(siim)} <= {path.split("/")[-1][:-4] for path in siim.films}


def test_list(written):
    listed = written("list")
    rows = listed.table("films.csv", index_col="path")
    assert set(rows.index) == set(listed.named)
    for path, film in listed.named.items():
        assert values(rows.loc[path], film["labels"]) == film["labels"]
    assert set(rows.split) == {"train", "val", "test"}
    boxes = listed.table("boxes.csv").groupby(["path", "finding"])
    found = {key: group[["x", "y", "width", "height"]].to_numpy().tolist() for key, group in boxes}
    shown = {(path, name): s for path, film in listed.named.items() for name, s in film["shown"].items()}
    assert found == {key: one["boxes"] for key, one in shown.items()}
    for (path, name), one in shown.items():
        mask_HW = np.asarray(Image.open(listed.root / "masks" / name / path))
        np.testing.assert_array_equal(mask_HW, 255 * decoded(one["mask"]))


def test_coco(written):
    listed = written("list")
    coco = json.loads((listed.root / "coco.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    paths = {image["id"]: image["file_name"] for image in coco["images"]}
    masks = {}
    for one in coco["annotations"]:
        key, mask_HW = (paths[one["image_id"]], names[one["category_id"]]), decoded(one["segmentation"])
        assert around([one["bbox"]]) == edges(mask_HW)
        assert one["area"] == mask_HW.sum()
        masks[key] = masks.get(key, False) | mask_HW
    for path, film in listed.named.items():
        for name, shown in film["shown"].items():
            np.testing.assert_array_equal(masks.pop((path, name)), decoded(shown["mask"]))
    assert not masks


def test_without_pydicom_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "find_spec", lambda _: None)
    for form in ("vindr", "rsna", "siim"):
        with pytest.raises(
            DataError, match=rf"^format {form} is DICOM, which needs pydicom: pip install 'pneumo-batch"
        ):
            published.write(tmp_path / form, form, train=8, test=4, seed=0, image_size=32)
    assert list(tmp_path.iterdir()) == []


def test_the_command_knows_every_format():
    (form,) = [option for option in datasets.demo.params if option.name == "form"]
    assert tuple(form.type.choices) == GENERATED
