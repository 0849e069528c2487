"""DICOM, lists of images, several roots, and one preprocessing from training to attribution."""

import csv
import hashlib
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tomli_w
from helpers.command import command
from helpers.paths import DOCS
from helpers.tiny import lean_job, tiny_job
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from pneumo_batch import pipeline
from pneumo_batch.cli import data_check
from pneumo_batch.core.data import images, phantom
from pneumo_batch.core.data.manifest import parse_name
from pneumo_batch.errors import DataError, JobError
from pneumo_batch.job.schema import Data

DOC = DOCS / "images.md"
ONE_AND_ONE = {"true_seeds": [0], "random_seeds": [100], "epochs": 1, "max_epochs": 1}
INDEX_ONLY = {"true_seeds": [0], "random_seeds": []}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Generated films in folders, as JPEG files; tests must not change them."""
    root = tmp_path_factory.mktemp("films") / "films"
    phantom.write(root, train=24, test=8, seed=3, image_size=80)
    return root


def jpegs(root):
    return sorted(path for path in root.glob("*/*/*.jpeg") if path.parts[-3] in ("train", "test"))


def to_dicom(source, target, negative):
    """A film of 12 bits with what a hospital's header holds; 255 becomes 4095."""
    gray_HW = np.asarray(Image.open(source).convert("L"))
    stored_HW = np.rint(gray_HW * (4095 / 255)).astype(np.uint16)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset(str(target), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.PatientID = f"MRN-{parse_name(source.name)[0]}"
    dataset.PatientName, dataset.PatientBirthDate, dataset.StudyDate = "Secret^Person", "19700131", "20200229"
    dataset.Rows, dataset.Columns = stored_HW.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PhotometricInterpretation = "MONOCHROME1" if negative else "MONOCHROME2"
    dataset.PixelData = (4095 - stored_HW if negative else stored_HW).tobytes()
    target.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(target, enforce_file_format=True)


def dicom_folder(films, root):
    """Every other film is a negative; {new path: old path}."""
    copies = {}
    for k, source in enumerate(jpegs(films)):
        target = root.joinpath(*source.parts[-3:-1], f"{k:03}.dcm")
        to_dicom(source, target, negative=k % 2 == 1)
        copies[str(target.relative_to(root))] = source
    return copies


def test_a_folder_of_dicom_films_to_the_verdict(ray_cluster, films, tmp_path):
    copies = dicom_folder(films, tmp_path / "dicom")
    (tmp_path / "dicom/train/NORMAL/report.dcm").write_bytes(
        (Path(pydicom.__file__).parent / "data/test_files/test-SR.dcm").read_bytes()
    )
    job = lean_job(data={"root": str(tmp_path / "dicom"), "max_bad": 0.05}, train=ONE_AND_ONE)
    outcome = pipeline.execute(job, str(tmp_path / "run"))
    assert outcome.complete
    assert set(outcome.run.verdict["methods"]) == {"integrated_gradients", "grad_cam"}
    manifest = outcome.run.manifest()
    assert manifest["mode"].value_counts().to_dict() == {
        "DICOM MONOCHROME1 12-bit": 16,
        "DICOM MONOCHROME2 12-bit": 16,
    }
    numbers = {path: pydicom.dcmread(tmp_path / "dicom" / path).PatientID for path in manifest["image_id"]}
    pseudonyms = {path: f"dicom-{hashlib.sha256(number.encode()).hexdigest()[:16]}" for path, number in numbers.items()}
    assert dict(zip(manifest["image_id"], manifest["patient_id"], strict=True)) == pseudonyms
    assert outcome.run.quarantine()[["image_id", "reason"]].to_numpy().tolist() == [
        ["train/NORMAL/report.dcm", "DICOM without pixel data"]
    ]
    # the networks get what they get of the JPEG files: positive or negative, 8 bits or 12
    preprocess = outcome.run.preprocess()
    expected = [preprocess.inputs(preprocess.pixels(copies[path].read_bytes())[None]) for path in manifest["image_id"]]
    assert all(map(np.array_equal, outcome.run.inputs(list(manifest["image_id"])), [one[0] for one in expected]))
    assert_no_header_is_kept(outcome.run)


def assert_no_header_is_kept(run):
    tables = [run.manifest(), run.quarantine(), run.scores(), run.summary(), run.maps_table([]).to_pandas()]
    words = [table.to_csv() for table in tables]
    texts = [path for path in Path(run.path).rglob("*") if path.suffix in (".json", ".jsonl", ".toml", ".html", ".md")]
    words += [path.read_text() for path in texts]
    assert len(texts) >= 6
    for secret in ("Secret", "MRN-", "19700131", "20200229"):
        assert not any(secret in text for text in words)


def write_list(films, path, **changes):
    """A list of the films, in which every second training image names its patient."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "patient_id", "age"])
        for k, source in enumerate(jpegs(films)):
            split, label = source.parts[-3], {"NORMAL": "healthy", "PNEUMONIA": "ill"}[source.parts[-2]]
            name = str(source.relative_to(films))
            writer.writerow([name, changes.get("label", label), split, f"p{k}" if k % 2 else "", 50 + k])


@pytest.mark.slow
def test_a_csv_list_of_images_to_the_verdict(ray_cluster, films, tmp_path):
    write_list(films, tmp_path / "images.csv")
    data = {"root": str(films), "manifest": str(tmp_path / "images.csv"), "normalise": "imagenet", "channels": 3}
    outcome = pipeline.execute(tiny_job(data=data, train=ONE_AND_ONE), str(tmp_path / "run"))
    assert outcome.complete
    assert set(outcome.run.verdict["methods"]) == {"integrated_gradients", "grad_cam"}
    manifest = outcome.run.manifest()
    old_names = {"healthy": "NORMAL", "ill": "PNEUMONIA"}
    assert set(manifest["class_name"]) == set(old_names)
    assert all(old_names[row.class_name] in row.image_id for row in manifest.itertuples())
    assert manifest["patient_id"].str.fullmatch(r"p\d+").sum() == 16
    assert outcome.run.model_record("true_0")["preprocess"] == {
        "size": 64,
        "channels": 3,
        "pad": "black",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "resize": "bilinear",
    }
    events = [json.loads(line) for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    warnings = [event["message"] for event in events if event["event"] == "warning"]
    assert any(line.startswith("16 of 32 images have no patient_id in the manifest") for line in warnings)
    page = (tmp_path / "run/report/index.html").read_text()
    assert "0.485 / 0.456 / 0.406" in page


def test_check_reads_lists_and_several_roots(films, tmp_path):
    write_list(films, tmp_path / "images.csv")
    listed = data_check.audit(Data(root=str(films), manifest=str(tmp_path / "images.csv")))
    kinds = {name: len(list(films.glob(f"train/*/*{name}*"))) for name in ("IM-", "bacteria", "virus")}
    assert listed.counts["train"] == {
        "healthy": {"-": kinds["IM-"]},
        "ill": {"bacteria": kinds["bacteria"], "virus": kinds["virus"]},
    }
    shutil.copytree(films / "test", tmp_path / "second" / "test")
    both = data_check.audit(Data(root=[str(films), str(tmp_path / "second")]))
    assert (both.images, both.patients["test"]) == (40, 8)  # names like those of the Kaggle set name the same people
    assert both.duplicates == {"groups": 8, "images": 16}


def test_another_list_is_another_job(ray_cluster, films, tmp_path):
    write_list(films, tmp_path / "images.csv")
    data = {"root": str(films), "manifest": str(tmp_path / "images.csv")}
    job = tiny_job(data=data, train=INDEX_ONLY)
    first = pipeline.execute(job, str(tmp_path / "run"), until="index").run.record["fingerprint"]
    text = (tmp_path / "images.csv").read_text()
    (tmp_path / "images.csv").write_text(text.replace(",p1,", ",p3,"))
    with pytest.raises(ValueError, match="holds the run of another job") as error:
        pipeline.execute(job, str(tmp_path / "run"), until="index")
    assert first[:12] in str(error.value)
    (tmp_path / "images.csv").write_text(text.replace("age", "weight"))  # a column that is not read
    assert not pipeline.execute(job, str(tmp_path / "run"), until="index").worked


def test_lists_that_cannot_be_used(films, tmp_path):
    data = {"root": str(films), "manifest": str(tmp_path / "none.csv")}
    with pytest.raises(JobError, match=r"^data\.manifest: cannot read .*none\.csv: No such file or directory$"):
        pipeline.execute(tiny_job(data=data), str(tmp_path / "run"))
    write_list(films, tmp_path / "images.csv", label="ill")
    with pytest.raises(DataError, match=r"images\.csv: found the class ill only: at least two classes are needed$"):
        pipeline.execute(tiny_job(data=data | {"manifest": str(tmp_path / "images.csv")}), str(tmp_path / "run"))


PREPROCESSING = [
    {"normalise": "imagenet", "channels": 3, "resize": "lanczos", "pad": "none"},
    {"normalise": "torchxrayvision", "channels": 1, "resize": "area", "pad": "black", "root": "several"},
]


@pytest.fixture(scope="module")
def places(films, tmp_path_factory):
    """Two roots by the names that ids begin with."""
    other = tmp_path_factory.mktemp("others") / "other"
    phantom.write(other, train=16, test=4, seed=5, image_size=80)
    return {"films": films, "other": other}


@pytest.mark.parametrize(
    "data",
    [pytest.param(PREPROCESSING[0], id="imagenet", marks=pytest.mark.slow), pytest.param(PREPROCESSING[1], id="xrv")],
)
def test_training_attribution_and_the_api_get_the_same_inputs_bit_for_bit(ray_cluster, places, tmp_path, data):
    """The network keeps a batch it was trained on, the method's maps are what it was given to explain."""
    roots = [str(places["films"]), f"file://{places['other']}"] if "root" in data else str(places["films"])
    job = tiny_job(
        data={**data, "root": roots},
        network={"name": "helpers.probes:Witness"},
        train={"true_seeds": [0], "random_seeds": [], "epochs": 1, "max_epochs": 1, "batch_size": 8},
        attribution={"methods": ["helpers.probes:first_channel", "helpers.probes:last_channel"]},
    )
    run = pipeline.execute(job, str(tmp_path / "run"), until="attribute").run
    for method, channel in (("helpers.probes:first_channel", 0), ("helpers.probes:last_channel", -1)):
        ids, maps_NHW = run.maps(method, "true_0")
        assert np.array_equal(maps_NHW, run.inputs(ids)[:, channel].numpy())
    manifest = run.manifest()
    training_NCHW = run.inputs(list(manifest.loc[manifest["split"] == "train", "image_id"]))
    seen_BCHW = run.model("true_0").seen_BCHW
    assert seen_BCHW.abs().amax((1, 2, 3)).min() > 0
    for seen_CHW in seen_BCHW:
        assert (training_NCHW == seen_CHW).flatten(1).all(1).any()
    for image_id in (ids[0], ids[-1]):
        name, _, path = image_id.partition("/") if "root" in data else ("films", "", image_id)
        expected_CHW = by_hand(places[name] / path, data)
        np.testing.assert_allclose(run.inputs([image_id])[0], expected_CHW, rtol=0, atol=2e-4)
    assert len(ids) == (12 if "root" in data else 8)


def test_data_without_a_test_split_get_a_verdict_and_a_report(ray_cluster, films, tmp_path):
    """Only the splits to attribute are needed: what is said of test images is then of none."""
    shutil.copytree(films / "test", tmp_path / "films" / "val")
    shutil.copytree(films / "train", tmp_path / "films" / "train")
    job = lean_job(
        data={"root": str(tmp_path / "films"), "val_fraction": 0.0, "max_bad": 0.1},
        train=ONE_AND_ONE,
        attribution={"methods": ["grad_cam"], "splits": ["val"]},
    )
    outcome = pipeline.execute(job, str(tmp_path / "run"))
    assert outcome.complete
    run = outcome.run
    assert len(run.maps("grad_cam", "true_0")[0]) == 8
    assert run.verdict["methods"]["grad_cam"]["verdict"] == "invalid"
    assert {one["test"]["images"] for one in run.verdict["variants"].values()} == {0}
    page = run.store.read_bytes("report/index.html").decode()
    assert "The run has no test images." in page
    assert "subtypes.csv" not in page
    assert "Accuracy by class and subtype" not in page
    card = run.store.read_bytes("report/model_card_true_0.md").decode()
    assert "Not measured on test images: the run has none." in card
    assert "Test, 0 images" not in card


def by_hand(path, data):
    """What the documentation says, with Pillow and NumPy alone."""
    image = Image.open(path).convert("L")
    if data["pad"] == "black":
        assert image.width == image.height
    filters = {"lanczos": Image.Resampling.LANCZOS, "area": Image.Resampling.BOX}
    share_HW = np.asarray(image.resize((64, 64), filters[data["resize"]])) / 255
    if data["normalise"] == "torchxrayvision":
        return (2 * share_HW - 1)[None] * 1024
    colours = zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    return np.stack([(share_HW - mean) / std for mean, std in colours])


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", DOC.read_text(), re.MULTILINE | re.DOTALL)


def documented(name):
    """A job of the documentation, made small."""
    values = tomllib.loads(next(block for block in blocks("toml") if block.startswith(f"# {name}\n")))
    small = tiny_job(train=ONE_AND_ONE).model_dump(mode="json", exclude_none=True)
    data = {"image_size": 64, "val_fraction": 0.2, **values["data"]}
    return tomli_w.dumps({**small, **values, "data": data})


@pytest.mark.slow
def test_every_command_of_the_documentation_runs_as_written(films, tmp_path):
    dicom_folder(films, tmp_path / "films")
    write_list(films, tmp_path / "images.csv")
    (tmp_path / "archive").symlink_to(films)
    for name in ("dicom.toml", "list.toml"):
        (tmp_path / name).write_text(documented(name))
    commands = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    assert len(commands) == 4
    for words in commands:
        arguments = words.removeprefix("pneumo-batch ").split()
        result = subprocess.run(command(*arguments), capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        assert ("images" if "check" in words else "integrated_gradients: ") in result.stdout
    assert {path.name.split("-")[0] for path in (tmp_path / "runs").iterdir()} == {"dicom", "list"}


def test_the_documented_table_of_normalisations_is_the_code():
    table = next(part for part in DOC.read_text().split("\n\n") if part.startswith("| `normalise`"))
    for numbers in images.named_normalisation("imagenet", 3):
        assert ", ".join(map(str, numbers)) in table
    assert [round(number, 3) for number in images.named_normalisation("imagenet", 1)] == [0.449, 0.226]
    assert "0.449" in table
    assert "0.226" in table
    assert images.named_normalisation("torchxrayvision", 1) == (0.5, 1 / 2048)
