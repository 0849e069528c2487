"""Columns that tell the class, and films that two splits show."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pneumo_batch.core.data import leaks
from pneumo_batch.core.data.likeness import Copy


def films(names, **columns):
    empty = {name: [None] * len(names) for name in ("view", "sex", "site")}
    return pd.DataFrame({"class_name": names, "age": np.nan, **empty, **columns})


def lines(names, **columns):
    return list(leaks.column_warnings(films(names, **columns)))


def test_a_view_that_tells_the_class_by_hand():
    """18 of 20 AP films are ill, 4 of 20 PA films: ill above healthy in 18 x 16 pairs, level in 18 x 2 + 4 x 16."""
    names = ["ILL"] * 18 + ["WELL"] * 2 + ["ILL"] * 4 + ["WELL"] * 16
    auroc = (18 * 16 + (18 * 2 + 4 * 16) / 2) / (22 * 18)
    assert lines(names, view=["AP"] * 20 + ["PA"] * 20) == [
        f"view leaks the label: it alone tells ILL from the rest with AUROC {auroc:.2f} (90% of 20 AP, 20% of 20 PA);"
        " train.random_within can keep that in the permuted labels"
    ]


def test_a_column_that_tells_little_or_by_accident_is_not_named():
    assert lines(["ILL", "WELL"] * 20, sex=["F", "F", "M", "M"] * 10) == []
    assert lines(["ILL", "ILL", "WELL", "WELL"], sex=["F", "F", "M", "M"]) == []  # four films
    assert lines(["ILL", "WELL"] * 20, site=["north"] * 40) == []


def test_films_of_which_a_column_tells_nothing_are_a_value_of_it():
    (line,) = lines(["ILL"] * 20 + ["WELL"] * 20, site=["north"] * 20 + [None] * 20)
    assert "AUROC 1.00 (100% of 20 north, 0% of 20 not told)" in line


def test_age_tells_a_class():
    (line,) = lines(["ILL"] * 30 + ["WELL"] * 30, age=[*range(1, 31), *range(25, 55)])
    expected = roc_auc_score([0] * 30 + [1] * 30, [*range(1, 31), *range(25, 55)])
    assert line == f"age leaks the label: it alone tells ILL from the rest with AUROC {expected:.2f}"
    assert lines(["ILL", "WELL"] * 30, age=range(60)) == []


@pytest.mark.parametrize("seed", range(5))
def test_the_auroc_of_a_column_is_that_of_its_shares(seed):
    rng = np.random.default_rng(seed)
    site, ill = rng.choice(list("abcdef"), 200), rng.integers(0, 3, 200)
    counts = pd.crosstab(site, ill)
    score = pd.Series(ill == 1).groupby(site).mean()[site]
    assert leaks._auroc(counts, 1) == pytest.approx(roc_auc_score(ill == 1, score))


def test_copies_of_test_films_are_errors_and_of_validation_films_warnings():
    found = {("train", "test"): [Copy("test/a", "train/b", 4)], ("train", "val"): [Copy("val/a", "train/a", 2)] * 2}
    assert leaks.copy_errors(found) == [
        "1 pair of films that differ in size or encoding only (test/a = train/b) lie in both train and test: delete one"
        " of each, or set data.allow_leaks"
    ]
    assert leaks.copy_warnings(found) == [
        "2 pairs of films that differ in size or encoding only (val/a = train/a) lie in both train and val: validation"
        " scores are too good"
    ]
