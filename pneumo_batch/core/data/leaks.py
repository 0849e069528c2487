"""What tells a network the label, or the test films, by another way than what is to be learnt: said in a line each."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy  # its statistics are loaded when they are asked for: workers that open films are not to wait for them

from pneumo_batch.core.data import likeness
from pneumo_batch.core.data.likeness import Copy

LEAK = "lie in both"  # an error that data.allow_leaks lets pass has these words, and these at its end
UNLESS_ALLOWED = ", or set data.allow_leaks"
_PAIRS = (("train", "test"), ("val", "test"), ("train", "val"))
# A column alone should hardly tell the class, nor a shape: the maps of a network that uses it point at the padding.
AUROC = 0.7
# With few films any column does: it must also be no accident.
_P = 0.001
_COLUMNS = ("view", "sex", "site")
_SHOWN = 4  # values of a column, in a line
_ADVICE = "train.random_within can keep that in the permuted labels"

Copies = Mapping[tuple[str, str], Sequence[Copy]]


def copies(images: pd.DataFrame) -> Copies:
    """Films that show the same in two splits, by the splits; those of the second are counted. Without empty ones."""
    found = {(split, other): likeness.copies(images, other, split) for split, other in _PAIRS}
    return {splits: films for splits, films in found.items() if films}


def copy_errors(found: Copies) -> list[str]:
    """A test film that was trained on tests nothing, whatever its size."""
    return [
        f"{_example(films)} {LEAK} {split} and {other}: delete one of each{UNLESS_ALLOWED}"
        for (split, other), films in found.items()
        if other == "test"
    ]


def copy_warnings(found: Copies) -> list[str]:
    return [
        f"{_example(films)} {LEAK} {split} and {other}: validation scores are too good"
        for (split, other), films in found.items()
        if other != "test"
    ]


def _example(films: Sequence[Copy]) -> str:
    count, one = len(films), films[0]
    return f"{count} pair{'s' * (count > 1)} of films that differ in size or encoding only ({one.first} = {one.second})"


def label_warnings(images: pd.DataFrame) -> Iterator[str]:
    """One line for each thing that tells a class by itself: mode and shape of an image, view, sex, site and age.

    `images` are rows of a manifest with their `aspect`, width / height.
    """
    yield from _told_by_mode(images)
    yield from _told_by_shape(images)
    yield from column_warnings(images)


def column_warnings(images: pd.DataFrame) -> Iterator[str]:
    """One line for each column that a list or a set tells of, and that tells a class by itself."""
    for column in _COLUMNS:
        if images[column].nunique(dropna=False) > 1 and (line := _told_by_value(images, column)):
            yield line
    if line := _told_by_age(images):
        yield line


def _told_by_mode(images: pd.DataFrame) -> list[str]:
    """A mode that only one class has tells that class without a look at the film; the mode of a few may by accident."""
    shares = images["class_name"].value_counts(normalize=True)
    told = [
        f"all {len(names)} images of mode {mode!r} are {names.iloc[0]}"
        for mode, names in images.groupby("mode")["class_name"]
        if names.nunique() == 1 and shares[names.iloc[0]] ** len(names) < _P
    ]
    if not told:
        return []
    advice = "images are read as one gray channel, so the networks cannot see it"
    return [f"colour mode leaks the label: {', '.join(told)}; {advice}"]


def _told_by_shape(images: pd.DataFrame) -> list[str]:
    """Padding to a square shows how wide a film was."""
    aspects = [aspects for _, aspects in images.groupby("class_name")["aspect"]]
    if len(aspects) != 2:
        return []
    separation, _ = _separation(*aspects)
    if separation < AUROC:
        return []
    return [
        f"image shape leaks the label: width / height alone separates the classes with AUROC {separation:.2f};"
        ' with data.pad = "black" the networks see it in the padding'
    ]


def _told_by_value(images: pd.DataFrame, column: str) -> str | None:
    values = images[column].fillna("not told")
    counts = pd.crosstab(values, images["class_name"])
    if counts.shape[1] < 2 or scipy.stats.chi2_contingency(counts).pvalue >= _P:
        return None
    name, auroc = max(((str(name), _auroc(counts, name)) for name in counts), key=lambda pair: pair[1])
    if auroc < AUROC:
        return None
    films = counts.sum(axis=1).sort_values(ascending=False, kind="stable")
    shares = [
        f"{counts.at[value, name] / films[value]:.0%} of {films[value]} {value}" for value in films.index[:_SHOWN]
    ]
    rest = f" and {len(films) - _SHOWN} more" if len(films) > _SHOWN else ""
    return f"{_opening(column, name, auroc)} ({', '.join(shares)}{rest}); {_ADVICE}"


def _opening(column: str, name: str, auroc: float) -> str:
    return f"{column} leaks the label: it alone tells {name} from the rest with AUROC {auroc:.2f}"


def _auroc(counts: pd.DataFrame, name: object) -> float:
    """Of the score that is each value's own share of the class `name`: at least 0.5."""
    inside = counts[name].to_numpy(float)
    outside = counts.sum(axis=1).to_numpy(float) - inside
    order = np.argsort(inside / (inside + outside))
    inside, outside = inside[order], outside[order]
    below = np.cumsum(outside) - outside
    return float((inside * (below + outside / 2)).sum() / (inside.sum() * outside.sum()))


def _told_by_age(images: pd.DataFrame) -> str | None:
    told = images.dropna(subset="age")
    best = (0.0, "")
    for name in sorted(told["class_name"].unique()):
        inside, outside = (told.loc[mask, "age"] for mask in (told["class_name"] == name, told["class_name"] != name))
        if len(inside) and len(outside):
            separation, p = _separation(inside, outside)
            if p < _P:
                best = max(best, (round(separation, 9), name), key=lambda pair: pair[0])
    return _opening("age", best[1], best[0]) if best[0] >= AUROC else None


def _separation(first: pd.Series, second: pd.Series) -> tuple[float, float]:
    """The AUROC by which two samples are told apart, at least 0.5, and p of Mann and Whitney's test."""
    test = scipy.stats.mannwhitneyu(first, second)
    auroc = float(test.statistic) / (len(first) * len(second))
    return max(auroc, 1 - auroc), float(test.pvalue)
