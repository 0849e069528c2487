"""What can be learnt of a data set before training on it: its composition, and what would spoil a result."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch import memory
from pneumo_batch.core.data import audit_lines, leaks, looks, patients
from pneumo_batch.core.data.formats.account import Account
from pneumo_batch.core.table_columns import label_columns
from pneumo_batch.core.tables import LABELS, MANIFEST

_SIZES = ["width", "height", "aspect"]
# What films look like stays in Arrow's memory: an object of Python for every value takes twice as much again. Parts of
# the rows are taken of the columns that are looked at, for a part is a copy.
_IN_ARROW = {kind: pd.ArrowDtype(kind) for kind in (MANIFEST.field(name).type for name in ("cells", "hash"))}


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
    images = manifest.to_pandas(types_mapper=_IN_ARROW.get)
    images["aspect"] = images["width"] / images["height"]
    duplicates = _duplicates(images, manifest["sha256"])
    memory.give_back()  # else what each of these holds for a moment comes on top of what the next one does
    copies = leaks.copies(images)
    memory.give_back()
    odd = list(looks.warnings(images))
    memory.give_back()
    overlap = _patient_overlap(manifest)
    rejected = quarantine.to_pandas()
    errors = [
        *audit_lines.missing_classes(images),
        *audit_lines.duplicate_errors(duplicates),
        *leaks.copy_errors(copies),
    ]
    warnings = [
        *audit_lines.positive_warning(images),
        *audit_lines.duplicate_warnings(duplicates),
        *leaks.copy_warnings(copies),
        *audit_lines.overlap_warning(overlap),
        *audit_lines.nobody_warning(without_patient(images["image_id"], images["patient_id"])),
        *audit_lines.one_patient_warnings(images),
        *leaks.label_warnings(images),
        *audit_lines.imbalance_warning(images),
        *odd,
        *audit_lines.quarantine_warning(rejected, len(images)),
        *audit_lines.passed_over_warning(passed_over or {}),
    ]
    return Audit(
        errors=errors,
        warnings=warnings,
        images=len(images),
        counts=_counts(images),
        sizes={str(name): _extent(rows) for name, rows in images.groupby("class_name")[_SIZES]},
        modes={str(name): _tally(modes) for name, modes in images.groupby("class_name")["mode"]},
        duplicates={"groups": duplicates["sha256"].nunique(), "images": len(duplicates)},
        copies={" and ".join(splits): len(films) for splits, films in copies.items()},
        patients=_patients(manifest),
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
        str(split): {str(name): _tally(types.fillna("-")) for name, types in part.groupby("class_name")["subtype"]}
        for split, part in images.groupby("split")[["class_name", "subtype"]]
    }


def _findings(images: pd.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    names = label_columns(images.columns)
    if not names:
        return {}
    return {
        str(split): {name.removeprefix(LABELS): _labels(part[name]) for name in names}
        for split, part in images.groupby("split")[names]
    }


def _labels(labels: pd.Series) -> dict[str, int]:
    present, absent = int((labels == 1).sum()), int((labels == 0).sum())
    return {"with": present, "without": absent, "unknown": len(labels) - present - absent}


def _tally(values: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts().sort_index().items()}


def _extent(images: pd.DataFrame) -> dict[str, dict[str, float]]:
    columns = images[_SIZES].agg(["min", "median", "max"])
    return {str(name): {str(k): float(v) for k, v in column.items()} for name, column in columns.items()}


def _duplicates(images: pd.DataFrame, digests: pa.ChunkedArray) -> pd.DataFrame:
    """The images that share their bytes with another, with the number of classes and the splits of their group."""
    codes_N = digests.combine_chunks().dictionary_encode().indices.to_numpy()  # pandas makes an object of each
    same = images[np.bincount(codes_N)[codes_N] > 1].copy()
    labels = ["class_name", *label_columns(same.columns)]  # of several findings; one that is not known contradicts none
    same["classes"] = same.groupby("sha256")[labels].transform("nunique").max(axis=1)
    for split in ("train", "val", "test"):
        same[split] = (same["split"] == split).groupby(same["sha256"]).transform("any")
    return same


def _patient_overlap(manifest: pa.Table) -> list[str]:
    is_tested = pc.equal(manifest["split"], "test")
    tested, others = (pc.unique(manifest["patient_id"].filter(chosen)) for chosen in (is_tested, pc.invert(is_tested)))
    return sorted(tested.filter(pc.is_in(tested, others)).to_pylist())


def _patients(manifest: pa.Table) -> dict[str, int]:
    counts = manifest.group_by("split").aggregate([("patient_id", "count_distinct")]).sort_by("split")
    return dict(zip(counts["split"].to_pylist(), counts["patient_id_count_distinct"].to_pylist(), strict=True))


def _patient_rules(images: pd.DataFrame, listing: pa.Table | None) -> dict[str, int]:
    if listing is None:
        return {}
    listed = listing.select(["image_id", "patient_id", "patient_given", "patient_rule"]).to_pandas()
    both = images.merge(listed, on="image_id", suffixes=("", "_listed"))
    both.loc[both["patient_given"], "patient_rule"] = "the list"
    both.loc[both["patient_id"] != both["patient_id_listed"], "patient_rule"] = "DICOM headers"
    return {str(rule): int(count) for rule, count in both.groupby("patient_rule")["patient_id"].nunique().items()}
