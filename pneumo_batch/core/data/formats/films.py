"""The table that every published format becomes, one row a film, and what a job uses of it."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pneumo_batch.core.data.formats.account import Account
from pneumo_batch.core.data.formats.folders import About, ImageFile
from pneumo_batch.core.data.options import (
    OF_SEVERAL,
    SPLITS,
    TEST_FRACTION,
    VAL_FRACTION,
    WITHOUT,
    Negatives,
    Uncertain,
    Unmentioned,
)
from pneumo_batch.errors import DataError, JobError, did_you_mean

FRONTAL = ("PA", "AP", "FRONTAL")
VIEWS = (*FRONTAL, "LATERAL")
_FIELDS = ("film", "patient_id", "view", "sex", "age", "site", "split")
_LABELLED = "labelled"
_NAMED = 20  # findings in an error: PadChest has 193


class Films(NamedTuple):
    """What the label files of a set say. `findings` are columns of labels, as is `no_finding` where the set has one.

    `table` has `film` (as the set calls it), `patient_id`, `view` (PA, AP, LATERAL, or FRONTAL where the set says no
    more), `sex` (M, F), `age` (years), `site`, `split` (train, val, test; null: in none), each null where it is not
    known, `labelled` (False: the set has no labels of the film), and a column of labels each: 1, 0, -1 (uncertain),
    null (not mentioned). `key` tells from the path of an image which film it is. `files` are those that name the
    findings, for errors. `remarks` are what else a reader of the results has to know.
    """

    table: pd.DataFrame
    findings: tuple[str, ...]
    no_finding: str | None
    key: Callable[[str], str]
    files: tuple[str, ...]
    remarks: tuple[str, ...] = ()


class Choice(NamedTuple):
    """What a job takes of a set, as its fields in [data] say; `views` None are the frontal ones."""

    findings: Sequence[str]
    uncertain: Uncertain = "ignore"
    unmentioned: Unmentioned = "negative"
    negatives: Negatives = "all"
    views: Sequence[str] | None = None
    test_fraction: float = TEST_FRACTION
    val_fraction: float = VAL_FRACTION
    seed: int = 0

    @property
    def several(self) -> Sequence[str]:
        """The findings that films have labels of, where these are more than one."""
        return self.findings if len(self.findings) > 1 else ()

    @property
    def classes(self) -> tuple[str, str]:
        """The classes in label order: without, with."""
        return OF_SEVERAL if self.several else (WITHOUT, self.findings[0])


class Selected(NamedTuple):
    """The images to use, sorted, their two classes in label order, and what was left behind."""

    files: list[ImageFile]
    classes: list[str]
    account: Account


def films(labels: pd.DataFrame, labelled: "pd.Series[bool] | bool" = True, **fields: object) -> pd.DataFrame:
    """The table of `Films`: columns by name, null where there are none, and the labels (Int8)."""
    known = pd.DataFrame({name: fields.get(name) for name in _FIELDS}, index=labels.index, dtype=object)
    known["age"] = known["age"].astype(float)
    return pd.concat([known.assign(**{_LABELLED: labelled}), labels.astype("Int8")], axis=1)


def indicators(texts: pd.Series, parse: Callable[[str], Collection[str]], names: Sequence[str]) -> pd.DataFrame:
    """A column of 1 and 0 a name: whether the collection that `parse` makes of a text has it."""
    codes, different = pd.factorize(texts)
    has = np.array([[name in found for name in names] for found in map(parse, different)], np.int8)
    return pd.DataFrame(has.reshape(-1, len(names))[codes], texts.index, list(names))


def select(found: Films, images: Mapping[str, int], choice: Choice) -> Selected:
    """The films that a job uses. Of one finding, `NORMAL` and that finding are the classes.

    Of several, a film has a label each, and is left out where none of them is known; the classes are `NORMAL` (without
    any of them) and `FINDING`. `images` are sizes in bytes by path. Raises JobError for a finding or field that the set
    does not know, and DataError where nothing is left.
    """
    for finding in choice.findings:
        _check_finding(found, finding, choice)
    there, without_row = _joined(found, images)
    if there.empty:
        raise DataError(f"none of the {len(found.table)} films of the label files has an image below data.root")
    labels = _labels(there, choice)
    reasons = _reasons(found, there, labels, choice)
    left_out = {str(why): int(count) for why, count in reasons[reasons != ""].value_counts().sort_index().items()}
    if not (reasons == "").any():
        raise DataError(f"no film is left: {', '.join(f'{count} {why}' for why, count in left_out.items())}")
    used, labels = there[reasons == ""], labels[reasons == ""]
    remarks = _check_labels(used["split"], labels, choice)
    account = _account(found, there, without_row, left_out, remarks)
    return Selected(sorted(_image_files(used, labels, images, choice)), list(choice.classes), account)


def _check_finding(found: Films, finding: str, choice: Choice) -> None:
    """Raise JobError for what the set cannot give."""
    places = " and ".join(found.files)
    if finding == found.no_finding:
        raise JobError(f"data.findings: {finding!r} means in {places} that nothing was found: name a finding")
    if finding not in found.findings:
        raise unknown_finding(finding, places, found.findings)
    if choice.negatives == "no_finding" and found.no_finding is None:
        raise JobError('data.negatives = "no_finding": the label files do not say on which films nothing was found')
    if choice.views is not None and found.table["view"].isna().all():
        raise JobError("data.views: the label files give no film's view; leave data.views out")


def unknown_finding(finding: str, places: str, known: Sequence[str]) -> JobError:
    """What a job is told that names a finding which the label files, `places`, do not have."""
    parts = [part.strip() for part in finding.split(",")]
    apart = "; name each by itself: repeat --finding, or a list" if set(parts) <= set(known) else ""
    hint = apart or did_you_mean(finding, known, most=3)
    listed = ", ".join(known[:_NAMED]) or "none"
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return JobError(f"data.findings: no finding {finding!r} in {places}{hint}; there are: {listed}{more}")


def _joined(found: Films, images: Mapping[str, int]) -> tuple[pd.DataFrame, int]:
    """The rows that have an image, with its path as `image_id`, and how many images have no row."""
    paths: dict[str, str] = {}
    for path in sorted(images):
        if (other := paths.setdefault(found.key(path), path)) != path:
            raise DataError(f"{other} and {path} are the same film by their names: keep one of them below data.root")
    there = found.table.assign(image_id=found.table["film"].map(paths)).dropna(subset="image_id")
    return there, len(images) - len(there)


def _labels(there: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """The labels as a job takes them, a column a finding (Int8): 1, 0, -1 and null, the last two not known."""
    labels = there[list(choice.findings)]
    if choice.uncertain != "ignore":
        labels = labels.replace(-1, int(choice.uncertain == "positive"))
    return labels if choice.unmentioned == "ignore" else labels.fillna(0)


def _reasons(found: Films, there: pd.DataFrame, labels: pd.DataFrame, choice: Choice) -> pd.Series:
    """Why a film is left out: the first reason of several; "" where it is used."""
    views = there["view"]
    wanted = set(FRONTAL if choice.views is None else choice.views)
    if {"PA", "AP"} <= wanted:
        wanted.add("FRONTAL")
    has_views = bool(found.table["view"].notna().any())
    without = ~_shown(labels).any(axis=1)
    nothing_found = there[found.no_finding].eq(1).fillna(False) if found.no_finding else without
    conditions = {
        "without labels": ~there[_LABELLED],
        "in no split of the set": there["split"].isna(),
        "lateral": views.eq("LATERAL") & ("LATERAL" not in wanted),
        "of unknown view": views.isna() & has_views,
        "of a view that data.views leaves out": views.notna() & ~views.isin(wanted),
        **_unknown(labels, choice),
        f"without the finding{'s' if choice.several else ''}, with others": without
        & ~nothing_found
        & (choice.negatives == "no_finding"),
    }
    masks = [np.asarray(mask.fillna(False), bool) for mask in conditions.values()]
    return pd.Series(np.select(masks, list(conditions), default=""), there.index)


def _unknown(labels: pd.DataFrame, choice: Choice) -> dict[str, "pd.Series[bool]"]:
    """Which films have no label that a job can use, by reason."""
    if choice.several:
        return {"without a known label of any of the findings": (labels.isna() | labels.eq(-1)).all(axis=1)}
    label = labels[choice.findings[0]]
    return {f"{label.name} uncertain": label.eq(-1), f"{label.name} not mentioned": label.isna()}


def _shown(labels: pd.DataFrame) -> pd.DataFrame:
    """Which findings a film counts as having; what is not known counts as not there."""
    return labels.eq(1).fillna(False).astype(bool)


def _image_files(
    used: pd.DataFrame, labels: pd.DataFrame, images: Mapping[str, int], choice: Choice
) -> Iterator[ImageFile]:
    folders = np.array(choice.classes)[_shown(labels).any(axis=1).to_numpy().astype(int)].tolist()
    columns = ("image_id", "split", "patient_id", *About._fields)
    films = zip(*(_known(used[name]) for name in columns), folders, strict=True)
    if not choice.several:
        rows: Iterable[tuple[int | None, ...]] = itertools.repeat((), len(used))
    else:
        rows = labels.astype(object).where(labels.notna(), None).itertuples(index=False, name=None)
    same: dict[About, About] = {}  # what is told of many films is kept once
    for (image_id, split, patient, *told, folder), row in zip(films, rows, strict=True):
        about = About(*told)
        yield ImageFile(
            image_id, split, folder, images[image_id], patient, about=same.setdefault(about, about), labels=row
        )


def _known(column: pd.Series) -> list[Any]:
    """The values of a column, None for those that are not known."""
    return column.astype(object).where(column.notna(), None).tolist()


def _check_labels(splits: pd.Series, labels: pd.DataFrame, choice: Choice) -> list[str]:
    """Every split that has films must have them with and without each finding; else raises DataError.

    A remark says so where it does not matter: of several findings in splits that are not trained on, and in a val that
    joins train before validation is carved.
    """
    remarks = []
    joins_train = choice.val_fraction > 0 and splits.eq("train").any()
    for split, missing in _missing(splits, labels):
        if split == "val" and joins_train:
            remarks.append(f"{missing}, as published: its films join train (data.val_fraction)")
        elif choice.several and split != "train":
            remarks.append(f"{missing}: there are no numbers of it")
        else:
            raise DataError(f"{missing}: take another of data.findings, or other films")
    return remarks


def _missing(splits: pd.Series, labels: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """The splits without films of a label, and in words which these are."""
    for split in sorted(splits.unique(), key=SPLITS.index):
        for finding, known in labels[splits == split].items():
            for value, words in ((1, "with"), (0, "without")):
                if not known.eq(value).any():
                    yield split, f"no film {words} {finding} in {split}"


def _account(
    found: Films, there: pd.DataFrame, without_row: int, left_out: Mapping[str, int], remarks: Iterable[str]
) -> Account:
    table = found.table
    labelled = table[table[_LABELLED]]
    names = [*found.findings, *([found.no_finding] if found.no_finding else [])]
    words = {1: "positive", 0: "negative", -1: "uncertain"}
    labels = {
        name: {word: int(labelled[name].eq(value).sum()) for value, word in words.items()}
        | {"unmentioned": int(labelled[name].isna().sum())}
        for name in names
    }
    splits = table.dropna(subset=["patient_id", "split"]).groupby("patient_id")["split"].nunique()
    patients = table["patient_id"].nunique()
    return Account(
        rows=len(table),
        patients=patients or None,
        rows_without_file=len(table) - len(there),
        files_without_row=without_row,
        labels=labels,
        left_out=dict(left_out),
        patients_in_two_splits=int((splits > 1).sum()),
        remarks=(*found.remarks, *remarks),
    )
