"""Published sets from label files to a verdict, and what `data check` and the run say of what they leave behind."""

import json

import pytest
from helpers import published_sets as sets
from helpers.tiny import lean_job, tiny_job

from pneumo_batch import cli, pipeline
from pneumo_batch.errors import DataError

INDEX_ONLY = {"true_seeds": [], "random_seeds": []}


def check(capsys, *arguments):
    code = cli.cli.main(["data", "check", *arguments], standalone_mode=False)
    return code or 0, capsys.readouterr().out


def test_check_says_what_label_files_hold_and_what_is_left_out(tmp_path, capsys):
    root = sets.chexpert(tmp_path)
    code, shown = check(capsys, str(root), "--format", "chexpert", "--finding", "Pneumonia")
    assert code == 0
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "label files: 10 films of 8 patients" in lines
    assert "Pneumonia 3 3 1 3" in lines  # positive, negative, uncertain, unmentioned
    assert "labels: 1 film left out: Pneumonia uncertain" in lines
    assert "labels: 1 film left out: lateral" in lines
    assert not any(line.startswith("Fracture") for line in lines)  # of which there is none


def test_check_as_json(tmp_path, capsys):
    root = sets.nih(tmp_path)
    code, shown = check(capsys, str(root), "--format", "nih", "--finding", "Pneumonia", "--json")
    found = json.loads(shown)
    assert (code, found["images"]) == (0, 7)
    assert found["counts"]["test"] == {"NORMAL": {"-": 1}, "Pneumonia": {"-": 1}}
    assert found["patient_rules"] == {"the list": 6}
    account = found["account"]
    assert (account["rows_without_file"], account["files_without_row"], account["patients_in_two_splits"]) == (1, 1, 0)
    assert account["labels"]["Pneumonia"] == {"positive": 4, "negative": 5, "uncertain": 0, "unmentioned": 0}
    assert account["left_out"] == {"in no split of the set": 1}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--format", "nih"), 'data check: data: findings: format = "nih" needs one, such as ["Pneumonia"]'),
        (
            ("--finding", "Mass"),
            "data check: data: findings needs format: a published set, or a list with a column per finding",
        ),
        (("--format", "nihh", "--finding", "Mass"), "data check: data.format: Input should be 'folders',"),
    ],
)
def test_check_needs_both(arguments, line, tmp_path):
    with pytest.raises(ValueError, match=r"^data check: ") as error:
        cli.cli.main(["data", "check", str(tmp_path), *arguments], standalone_mode=False)
    assert str(error.value).startswith(line)


def test_a_run_on_a_published_set(ray_cluster, tmp_path):
    root = sets.nih(tmp_path / "nih")
    data = {"root": str(root), "format": "nih", "findings": ["Pneumonia"], "val_fraction": 0}
    job = lean_job(data=data, train={"batch_size": 2})
    outcome = pipeline.execute(job, str(tmp_path / "run"), until="conclude")
    rows = outcome.run.manifest().set_index("image_id")
    names = {path.rpartition("/")[2]: (row["split"], row["class_name"]) for path, row in rows.iterrows()}
    assert names == {
        "00000001_000.png": ("train", "NORMAL"),
        "00000001_001.png": ("train", "NORMAL"),
        "00000002_000.png": ("train", "Pneumonia"),
        "00000003_000.png": ("train", "Pneumonia"),
        "00000004_000.png": ("train", "NORMAL"),
        "00000005_000.png": ("test", "Pneumonia"),
        "00000006_000.png": ("test", "NORMAL"),
    }
    assert rows["patient_id"].tolist()[:2] == ["00000001", "00000001"]
    ids, _ = outcome.run.maps("grad_cam", "true_0")
    assert len(ids) == 2
    assert outcome.run.verdict["methods"].keys() == {"integrated_gradients", "grad_cam"}
    events = map(json.loads, (tmp_path / "run/events.jsonl").read_text().splitlines())
    warned = [event["message"] for event in events if event["event"] == "warning"]
    assert "1 row of the label files without a file: not used" in warned
    assert not pipeline.execute(job, str(tmp_path / "run"), until="conclude").worked
    # the same images with another label are another job
    path = root / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text().replace("00000004_000.png,No Finding", "00000004_000.png,Pneumonia"))
    changed = tiny_job(data=data, train=INDEX_ONLY)
    fingerprints = [pipeline.execute(changed, str(tmp_path / "other"), until="index").run.record["fingerprint"]]
    path.write_text(path.read_text().replace("00000004_000.png,Pneumonia", "00000004_000.png,No Finding"))
    fingerprints.append(pipeline.execute(changed, str(tmp_path / "same"), until="index").run.record["fingerprint"])
    assert fingerprints[0] != fingerprints[1]


def test_an_error_of_a_run_names_root_file_row_and_column(tmp_path):
    root = sets.rsna(tmp_path)
    path = root / "stage_2_train_labels.csv"
    path.write_text(path.read_text().replace("0a02,,,,,0", "0a02,,,,,2"))
    job = tiny_job(data={"root": str(root), "format": "rsna", "findings": ["Lung Opacity"]})
    with pytest.raises(DataError) as error:
        pipeline.execute(job, str(tmp_path / "run"))
    assert str(error.value) == f"{root}: stage_2_train_labels.csv row 3: Target '2': must be 0 or 1"
