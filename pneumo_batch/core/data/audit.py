"""What can be learnt of a data set before training on it: its composition, and what would spoil a result."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pneumo_batch.core.data import leaks, looks, patients
from pneumo_batch.core.data.formats.account import Account
from pneumo_batch.core.data.leaks import LEAK, UNLESS_ALLOWED
from pneumo_batch.core.tables import LABELS, label_columns

# From here on a plain accuracy misleads, and the report says so.
IMBALANCE = 2.0
_NAMED = 5  # rejected images, in one line


@dataclass(frozen=True)
class Audit:
    """`errors` make results meaningless, `warnings` weaken them; one line each. The rest are the facts behind them.

    `counts[split][class][subtype]` are images (subtype "-" where the name carries none); `sizes[class]` has minimum,
    median and maximum of `width`, `height`, `aspect` (width / height); `modes[class][mode]` are images; `duplicates`
    counts groups of byte-identical images and the images in them, `copies` films of the second of two splits that the
    first has in another size or encoding; `patients[split]` counts patients and
    `patient_overlap` those of train or val who are also in test; `patient_rules[rule]` counts patients by what told
    them, where the listing is known; `quarantined[reason]` are images, `passed_over[kind]` files that were not taken
    for images of the set; `account` says what reading the label files of a published set cost, where it is one, and
    `findings[split][finding]` counts the images `with` and `without` each of several findings, and `unknown`;
    `regions` say in words what boxes and masks there are.
    """

    errors: list[str]
    warnings: list[str]
    images: int
    counts: dict[str, dict[str, dict[str, int]]]
    sizes: dict[str, dict[str, dict[str, float]]]
    modes: dict[str, dict[str, int]]
    duplicates: dict[str, int]
    copies: dict[str, int]
    patients: dict[str, int]
    patient_overlap: int
    patient_rules: dict[str, int]
    quarantined: dict[str, int]
    passed_over: dict[str, int]
    account: Account | None = None
    findings: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    regions: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


def audit(
    manifest: pa.Table,
    quarantine: pa.Table,
    listing: pa.Table | None = None,
    *,
    passed_over: Mapping[str, int] | None = None,
    account: Account | None = None,
) -> Audit:
    """Audits manifest rows (schema MANIFEST), before or after a validation split was carved, and what was rejected.

    `listing` (schema manifest.LISTING) tells by which rules the patients were found.

    Byte-identical images of two classes, or of train and test, are errors: one file cannot have two labels, and a test
    image that was trained on tests nothing. So are films of test that train or val has in another size or encoding.
    """
    images = manifest.to_pandas()
    images["aspect"] = images["width"] / images["height"]
    duplicates = _duplicates(images)
    copies = leaks.copies(images)
    overlap = _patient_overlap(images)
    rejected = quarantine.to_pandas()
    errors = [*_missing_classes(images), *_duplicate_errors(duplicates), *leaks.copy_errors(copies)]
    warnings = [
        *_duplicate_warnings(duplicates),
        *leaks.copy_warnings(copies),
        *_overlap_warning(overlap),
        *_nobody_warning(images),
        *_one_patient_warnings(images),
        *leaks.label_warnings(images),
        *_imbalance_warning(images),
        *looks.warnings(images),
        *_quarantine_warning(rejected, len(images)),
        *_passed_over_warning(passed_over or {}),
    ]
    return Audit(
        errors=errors,
        warnings=warnings,
        images=len(images),
        counts=_counts(images),
        sizes={str(name): _extent(rows) for name, rows in images.groupby("class_name")},
        modes={str(name): _tally(rows["mode"]) for name, rows in images.groupby("class_name")},
        duplicates={"groups": duplicates["sha256"].nunique(), "images": len(duplicates)},
        copies={" and ".join(splits): len(films) for splits, films in copies.items()},
        patients={str(split): int(rows["patient_id"].nunique()) for split, rows in images.groupby("split")},
        patient_overlap=len(overlap),
        patient_rules=_patient_rules(images, listing),
        quarantined=_tally(rejected["reason"]),
        passed_over=dict(sorted((passed_over or {}).items())),
        account=account,
        findings=_findings(images),
    )


def without_patient(image_ids: Iterable[str], patient_ids: Iterable[str]) -> int:
    """How many images count as a patient each because nothing tells whose they are."""
    # object by object pandas takes five times as long out of its own arrays of texts
    return sum(map(patients.is_nobody, *(np.asarray(ids, dtype=object) for ids in (image_ids, patient_ids))))


def _counts(images: pd.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    return {
        str(split): {str(name): _tally(rows["subtype"].fillna("-")) for name, rows in part.groupby("class_name")}
        for split, part in images.groupby("split")
    }


def _findings(images: pd.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    names = label_columns(images.columns)
    return {
        str(split): {name.removeprefix(LABELS): _labels(part[name]) for name in names}
        for split, part in images.groupby("split")
        if names
    }


def _labels(labels: pd.Series) -> dict[str, int]:
    present, absent = int((labels == 1).sum()), int((labels == 0).sum())
    return {"with": present, "without": absent, "unknown": len(labels) - present - absent}


def _tally(values: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts().sort_index().items()}


def _extent(images: pd.DataFrame) -> dict[str, dict[str, float]]:
    columns = images[["width", "height", "aspect"]].agg(["min", "median", "max"])
    return {str(name): {str(k): float(v) for k, v in column.items()} for name, column in columns.items()}


def _missing_classes(images: pd.DataFrame) -> list[str]:
    """Rejected images can leave a split without a class that its folder had."""
    if images.empty:
        return ["no usable image"]
    names = set(images["class_name"])
    return [
        f"{split} has no usable image of class {name}"
        for split, part in images.groupby("split")
        for name in sorted(names - set(part["class_name"]))
    ]


def _duplicates(images: pd.DataFrame) -> pd.DataFrame:
    """The images that share their bytes with another, with the number of classes and the splits of their group."""
    same = images[images.duplicated("sha256", keep=False)].copy()
    same["classes"] = _labelled(same).groupby(same["sha256"]).transform("nunique")
    for split in ("train", "val", "test"):
        same[split] = (same["split"] == split).groupby(same["sha256"]).transform("any")
    return same


def _labelled(images: pd.DataFrame) -> pd.Series:
    """What each image is labelled as: its class, and several findings."""
    names = ["class_name", *label_columns(images.columns)]
    return images[names].astype(str).agg("|".join, axis=1) if len(images) else images["class_name"]


def _example(group: pd.DataFrame) -> str:
    """`2 groups, such as A = B`, of the images of some duplicate groups."""
    first = group.sort_values(["sha256", "image_id"])
    names = first.loc[first["sha256"] == first["sha256"].iloc[0], "image_id"]
    count = group["sha256"].nunique()
    return f"{count} group{'s' * (count > 1)} of byte-identical images ({' = '.join(names.iloc[:2])})"


def _duplicate_errors(same: pd.DataFrame) -> list[str]:
    lines = []
    if len(group := same[same["classes"] > 1]):
        lines.append(f"{_example(group)} lie in two classes: delete one of each")
    for split in ("train", "val"):
        if len(group := same[same[split] & same["test"]]):
            lines.append(f"{_example(group)} {LEAK} {split} and test: delete one of each{UNLESS_ALLOWED}")
    return lines


def _duplicate_warnings(same: pd.DataFrame) -> list[str]:
    lines = []
    if len(group := same[same["train"] & same["val"]]):
        lines.append(f"{_example(group)} lie in both train and val: validation scores are too good")
    within = same[(same["classes"] == 1) & (same[["train", "val", "test"]].sum(axis=1) == 1)]
    if len(within):
        lines.append(f"{_example(within)} within one class and split: they count more than once")
    return lines


def _patient_overlap(images: pd.DataFrame) -> list[str]:
    tested = images["split"] == "test"
    both = (set(images.loc[rows, "patient_id"].unique()) for rows in (tested, ~tested))
    return sorted(set.intersection(*both))


def _overlap_warning(overlap: list[str]) -> list[str]:
    if not overlap:
        return []
    patients = "patient" if len(overlap) == 1 else "patients"
    return [
        f"leakage: {len(overlap)} {patients} of train or val also in test (such as {overlap[0]}):"
        " test scores are too good, and the intervals of the verdict too narrow"
    ]


def _nobody_warning(images: pd.DataFrame) -> list[str]:
    if not (unknown := without_patient(images["image_id"], images["patient_id"])):
        return []
    verb = "image has" if unknown == 1 else "images have"
    return [f"{unknown} {verb} no patient: each counts as one; data.manifest can name them"]


def _one_patient_warnings(images: pd.DataFrame) -> list[str]:
    """A word that stands for every patient makes one of them."""
    return [
        f"all {len(rows)} images of {split} are of one patient ({rows['patient_id'].iloc[0]}): name the patients in"
        " data.manifest if they are several"
        for split, rows in images.groupby("split")
        if len(rows) > 1 and rows["patient_id"].nunique() == 1
    ]


def _patient_rules(images: pd.DataFrame, listing: pa.Table | None) -> dict[str, int]:
    if listing is None:
        return {}
    listed = listing.select(["image_id", "patient_id", "patient_given", "patient_rule"]).to_pandas()
    both = images.merge(listed, on="image_id", suffixes=("", "_listed"))
    both.loc[both["patient_given"], "patient_rule"] = "the list"
    both.loc[both["patient_id"] != both["patient_id_listed"], "patient_rule"] = "DICOM headers"
    return {str(rule): int(count) for rule, count in both.groupby("patient_rule")["patient_id"].nunique().items()}


def _imbalance_warning(images: pd.DataFrame) -> list[str]:
    rows = images[images["split"] == "train"]
    if label_columns(images.columns):
        return _imbalance_of_findings(rows)
    training = rows["class_name"].value_counts()
    if len(training) < 2 or training.iloc[0] < IMBALANCE * training.iloc[-1]:
        return []
    return [
        f"class imbalance in train: {training.iloc[0]} {training.index[0]} to {training.iloc[-1]} {training.index[-1]};"
        " judge models by AUROC and balanced accuracy, not by accuracy"
    ]


def _imbalance_of_findings(training: pd.DataFrame) -> list[str]:
    """One line on the findings that few films have, or that few are without, of those whose label is known."""
    uneven = []
    for column in label_columns(training.columns):
        counts = [int((training[column] == label).sum()) for label in (1, 0)]
        if max(counts) >= IMBALANCE * min(counts):
            uneven.append((column.removeprefix(LABELS), *counts))
    if not uneven:
        return []
    listed = ", ".join(f"{name} {with_it} with to {without} without it" for name, with_it, without in uneven)
    return [f"imbalance in train: {listed}; judge models by AUROC and balanced accuracy, not by accuracy"]


def _quarantine_warning(rejected: pd.DataFrame, usable: int) -> list[str]:
    if rejected.empty:
        return []
    films = named(list(rejected[["image_id", "reason"]].itertuples(index=False, name=None)))
    return [f"{len(rejected)} of {usable + len(rejected)} images rejected: {films}"]


def named(rejected: Sequence[tuple[str, str]]) -> str:
    """Images that are left out, (id, reason) each, in a line: the first few by name."""
    films = "; ".join(f"{image_id}: {reason}" for image_id, reason in sorted(rejected)[:_NAMED])
    return f"{films}; and {len(rejected) - _NAMED} more" if len(rejected) > _NAMED else films


def too_many_rejected(rejected: pa.Table, total: int, max_bad: float) -> str | None:
    """Why a run stops when more of so many images are unreadable than it allows (a share); None where it does not."""
    if rejected.num_rows <= max_bad * total:
        return None
    first = rejected.slice(0, 1).to_pylist()[0]
    return (
        f"{rejected.num_rows} of {total} images are unreadable, more than data.max_bad = {max_bad:g} allows; "
        f"the first is {first['image_id']}: {first['reason']}"
    )


def _passed_over_warning(passed_over: Mapping[str, int]) -> list[str]:
    if not passed_over:
        return []
    total = sum(passed_over.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(passed_over.items()))
    return [f"{total} {'file was' if total == 1 else 'files were'} passed over: {kinds}"]
