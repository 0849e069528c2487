"""Every published set as generated: `data demo`, `data check`, a run, a verdict of each finding, and a localisation.

The default tests take each format to the truth of its regions (test_regions.py), and two of them to a verdict.
"""

import json

import pytest
from helpers.tiny import lean_job

from pneumo_batch import cli, pipeline

# Findings that are explained, and the splits whose films have regions, where any has.
FORMATS = {
    "nih": (["Infiltration", "Effusion", "Cardiomegaly"], ["test"]),
    "chexpert": (["Lung Opacity", "Pleural Effusion"], ["val"]),
    "mimic-cxr-jpg": (["Lung Opacity", "Pleural Effusion"], None),
    "padchest": (["pneumonia", "pleural effusion", "cardiomegaly"], None),
    "vindr": (["Cardiomegaly", "Pleural effusion"], ["test"]),
    "rsna": (["Lung Opacity"], ["test"]),
    "siim": (["Pneumothorax"], ["test"]),
    "list": (["opacity", "effusion"], ["test"]),
}
# A label of the set, and what the manifest has for it; of vindr, how many of three readers say so.
COUNTED = {1: 1, 0: 0, None: 0, -1: -1}
VOTES = {0: 0, 1: -1, 2: 1, 3: 1}


def call(*words):
    return cli.cli.main(list(words), standalone_mode=False) or 0


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_a_generated_set_runs_to_its_verdicts(form, ray_cluster, tmp_path, capsys):
    findings, splits = FORMATS[form]
    root = tmp_path / form
    sizes = ("48", "16") if form in ("nih", "chexpert", "mimic-cxr-jpg", "vindr") else ("48", "24")
    assert (
        call("data", "demo", str(root), "--format", form, "--train", sizes[0], "--test", sizes[1], "--size", "64") == 0
    )
    data = {"root": str(root), "findings": findings, "image_size": 64, "max_bad": 0.2, "val_fraction": 0}
    if form == "list":
        data |= {"manifest": str(root / "films.csv"), "regions": str(root / "boxes.csv")}
        asked = ("--manifest", data["manifest"])
    else:
        data["format"] = form
        asked = ("--format", form)
    capsys.readouterr()
    call("data", "check", str(root), *asked, *(word for one in findings for word in ("--finding", one)), "--json")
    audit = json.loads(capsys.readouterr().out)
    job = lean_job(
        data=data | {"allow_leaks": True},
        train={"true_seeds": [0], "random_seeds": [100]},
        attribution={"splits": splits or ["test"], "target": findings, "limit": 12},
    )
    outcome = pipeline.execute(job, str(tmp_path / "run"), until="conclude")
    run, truth = outcome.run, json.loads((root / "truth.json").read_text())
    films = {film["path"]: film for film in truth["films"] if film["state"] == "whole"}
    manifest, counted = run.manifest().set_index("image_id"), VOTES if form == "vindr" else COUNTED
    assert audit["images"] == len(manifest)
    for path, row in manifest.iterrows():
        for finding in findings if len(findings) > 1 else []:
            assert row[f"label__{finding}"] == counted[films[path]["labels"][finding]]
        if len(findings) == 1:
            assert row["label"] == counted[films[path]["labels"][findings[0]]]
    verdict = run.verdict
    by_target = verdict["targets"] if len(findings) > 1 else {findings[0]: verdict}
    assert list(by_target) == findings
    for found in by_target.values():
        assert found["methods"].keys() == {"integrated_gradients", "grad_cam"}
    shown = {one for film in films.values() for one in film["shown"]}
    if splits and shown:
        located = verdict["localisation"]["findings"]
        assert located
        assert located.keys() <= set(findings)
        assert set(run.localisation()["finding"]) == located.keys()
