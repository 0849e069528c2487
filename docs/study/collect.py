"""Keeps of a run what docs/study.md is made of: python docs/study/collect.py RUN docs/study/PART

Copies are to the byte, but for `verdict.json`, which is compressed. `models.csv` has a row for each model;
`roc.csv`, of a run with the true arm alone, the corners of the ROC curves on test.
"""

import csv
import gzip
import json
import re
import shutil
import sys
from pathlib import Path

_COPIED = ("run.json", "summary.parquet", "cascade_summary.parquet", "report/paper/results.csv")
_ON_TEST = ("accuracy", "balanced_accuracy", "auroc", "precision", "recall", "f1")
_CURVE = re.compile(r'<path d="(M [^"]*)" clip-path="[^"]*" style="fill: none; [^"]*stroke: #0072b2')
_POINT = re.compile(r"[ML] ([\d.]+) ([\d.]+)")


def main(run: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        if (run / name).exists():
            shutil.copyfile(run / name, out / Path(name).name)
    verdict = (run / "verdict.json").read_bytes()
    # without name and time: the same verdict is the same file
    (out / "verdict.json.gz").write_bytes(gzip.compress(verdict, 9, mtime=0))
    variants = json.loads(verdict)["variants"]
    _write(out / "models.csv", [_model(run, name, variants[name]) for name in variants])
    if {one["kind"] for one in variants.values()} == {"true"}:
        _write(out / "roc.csv", list(_corners(run, variants)))


def _model(run: Path, name: str, judged: dict) -> dict:
    """`test_*` is of the job's labels for every model, `own_test_auroc` of those it learnt, of another column."""
    record = json.loads((run / "models" / name / "model.json").read_text())
    arm, own = record["arm"], judged.get("own_test")
    return {
        "model": name,
        "arm": arm["name"],
        "labels": arm["labels"],
        "fraction_permuted": arm["fraction"] if arm["labels"] == "permuted" else 0.0,
        "unit": arm["unit"],
        "network": record["network"],
        "seed": record["seed"],
        "epochs": record["epochs"],
        "chosen_epoch": record["chosen_epoch"],
        "training_films": record["metrics"]["train"]["images"],
        "label_agreement": record["label_agreement"],
        "majority": record["majority"],
        "accuracy_on_given_labels": record["metrics"]["train"]["accuracy"],
        "val_auroc": record["metrics"]["val"]["auroc"],
        "threshold": record["threshold"],
        **{f"test_{measure}": judged["test"][measure] for measure in _ON_TEST},
        "own_test_auroc": own["auroc"] if own else "",
    }


def _corners(run: Path, variants: dict) -> list[dict]:
    """Read off the curves of the report's ROC figure: whole films, so that two digits of a point give them exactly."""
    curves = _CURVE.findall((run / "report/figures/roc.svg").read_text())
    rows = []
    for (name, judged), curve in zip(variants.items(), curves, strict=True):
        points = [(float(x), float(y)) for x, y in _POINT.findall(curve.replace("\n", " "))]
        (left, bottom), (right, top) = points[0], points[-1]
        normal, pneumonia = (sum(row) for row in judged["test"]["confusion"])
        rows += [
            {
                "model": name,
                "false_positives": round((x - left) / (right - left) * normal),
                "true_positives": round((bottom - y) / (bottom - top) * pneumonia),
            }
            for x, y in points
        ]
    return rows


def _write(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
