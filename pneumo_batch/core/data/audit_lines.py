"""The lines of an audit: what would spoil a result, or weaken it, told of the facts in a line each.

`same` are the images that share their bytes with another, with the number of classes and the splits of their group.
"""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import pyarrow as pa

from pneumo_batch.core.data.leaks import LEAK, UNLESS_ALLOWED
from pneumo_batch.core.table_columns import label_columns
from pneumo_batch.core.tables import LABELS

# From here on a plain accuracy misleads, and the report says so.
IMBALANCE = 2.0
_NAMED = 5  # rejected images, in one line
_NOTHING_FOUND = {"normal", "nofinding", "healthy", "negative", "control"}  # names of classes, without spaces and case


def missing_classes(images: pd.DataFrame) -> list[str]:
    """Rejected images can leave a split without a class that its folder had."""
    if images.empty:
        return ["no usable image"]
    names = set(images["class_name"])
    return [
        f"{split} has no usable image of class {name}"
        for split, found in images.groupby("split")["class_name"]
        for name in sorted(names - set(found))
    ]


def positive_warning(images: pd.DataFrame) -> list[str]:
    """Classes are sorted by name where none are given: of Effusion and NORMAL the logit is of NORMAL."""
    labels = images[["class_name", "label"]].drop_duplicates().sort_values("label")
    names = labels["class_name"].tolist()
    if labels["label"].tolist() != [0, 1] or not _says_nothing_found(names[1]) or _says_nothing_found(names[0]):
        return []
    return [
        f"the positive class is {names[1]}, the second of {', '.join(names)}: where {names[0]} is what models look for,"
        f' set data.classes = ["{names[1]}", "{names[0]}"]'
    ]


def _says_nothing_found(name: str) -> bool:
    return "".join(letter for letter in name.casefold() if letter.isalnum()) in _NOTHING_FOUND


def duplicate_errors(same: pd.DataFrame) -> list[str]:
    lines = []
    if len(group := same[same["classes"] > 1]):
        lines.append(f"{_example(group)} lie in two classes: delete one of each")
    for split in ("train", "val"):
        if len(group := same[same[split] & same["test"]]):
            lines.append(f"{_example(group)} {LEAK} {split} and test: delete one of each{UNLESS_ALLOWED}")
    return lines


def duplicate_warnings(same: pd.DataFrame) -> list[str]:
    lines = []
    if len(group := same[same["train"] & same["val"]]):
        lines.append(f"{_example(group)} lie in both train and val: validation scores are too good")
    within = same[(same["classes"] == 1) & (same[["train", "val", "test"]].sum(axis=1) == 1)]
    if len(within):
        lines.append(f"{_example(within)} within one class and split: they count more than once")
    return lines


def _example(group: pd.DataFrame) -> str:
    """`2 groups, such as A = B`, of the images of some duplicate groups."""
    first = group.sort_values(["sha256", "image_id"])
    names = first.loc[first["sha256"] == first["sha256"].iloc[0], "image_id"]
    count = group["sha256"].nunique()
    return f"{count} group{'s' * (count > 1)} of byte-identical images ({' = '.join(names.iloc[:2])})"


def overlap_warning(overlap: list[str]) -> list[str]:
    if not overlap:
        return []
    patients = "patient" if len(overlap) == 1 else "patients"
    return [
        f"leakage: {len(overlap)} {patients} of train or val also in test (such as {overlap[0]}):"
        " test scores are too good, and the intervals of the verdict too narrow"
    ]


def nobody_warning(unknown: int) -> list[str]:
    if not unknown:
        return []
    verb = "image has" if unknown == 1 else "images have"
    return [f"{unknown} {verb} no patient: each counts as one; name the patients in data.manifest"]


def one_patient_warnings(images: pd.DataFrame) -> list[str]:
    """A word that stands for every patient makes one of them."""
    return [
        f"all {len(ids)} images of {split} are of one patient ({ids.iloc[0]}): name the patients in"
        " data.manifest if they are several"
        for split, ids in images.groupby("split")["patient_id"]
        if len(ids) > 1 and (ids == ids.iloc[0]).all()
    ]


def imbalance_warning(images: pd.DataFrame) -> list[str]:
    names = label_columns(images.columns)
    rows = images.loc[images["split"] == "train", names or ["class_name"]]
    if names:
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


def quarantine_warning(rejected: pd.DataFrame, usable: int) -> list[str]:
    if rejected.empty:
        return []
    films = named(list(rejected[["image_id", "reason"]].itertuples(index=False, name=None)))
    return [f"{len(rejected)} of {usable + len(rejected)} images rejected: {films}"]


def passed_over_warning(passed_over: Mapping[str, int]) -> list[str]:
    if not passed_over:
        return []
    total = sum(passed_over.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(passed_over.items()))
    return [f"{total} {'file was' if total == 1 else 'files were'} passed over: {kinds}"]


def named(rejected: Sequence[tuple[str, str]]) -> str:
    """Images that are left out, (id, reason) each, in a line: the first few by name."""
    films = "; ".join(f"{image_id}: {reason}" for image_id, reason in sorted(rejected)[:_NAMED])
    return f"{films}; and {len(rejected) - _NAMED} more" if len(rejected) > _NAMED else films


def too_many_rejected(rejected: pa.Table, total: int, max_bad: float) -> str | None:
    """Why a run stops when more of so many images are unreadable than it allows (a share); None where it does not."""
    if rejected.num_rows <= max_bad * total:
        return None
    first = rejected.slice(0, 1).to_pylist()[0]
    are, them = ("is", "it") if rejected.num_rows == 1 else ("are", "them")
    return (
        f"{rejected.num_rows} of {total} images {are} unreadable, more than data.max_bad = {max_bad:g} allows; "
        f"the first is {first['image_id']}: {first['reason']}; repair or remove {them}, or "
        f"{allowing(rejected.num_rows, total)}"
    )


def allowing(bad: int, total: int) -> str:
    """What lets a run go on with so many images that cannot be used."""
    return f"run with --set data.max_bad={math.ceil(100 * bad / total) / 100:g}"
