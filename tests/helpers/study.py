"""What docs/study.md has to say: its tables, made anew of the small tables that were kept of each run."""

import csv
import functools
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd
from helpers.paths import DOCS

from pneumo_batch.core.statistics.outcomes import OUTCOMES
from pneumo_batch.core.statistics.wording import method_name

TABLES = DOCS / "study"
PARTS = ("methods", "dose", "patients", "networks", "task", "notebooks")
STAGES = ("index", "train", "attribute", "compare", "cascade", "conclude", "report")
# As the notebooks print them, of the 234 + 390 films of the published test split.
NOTEBOOKS = {"accuracy": 0.880, "precision": 0.871, "recall": 0.949, "f1": 0.908}
PRIMARY, PIXELS, SIGNED, SIGNED_PIXELS = (
    f"{view}/{scale}/spearman" for view in ("magnitude", "signed") for scale in ("region", "pixel")
)
_WORDS = {PRIMARY: "magnitude", SIGNED: "signed"}
_DOSES = {"p0": "0 %", "p25": "25 %", "p50": "50 %", "p75": "75 %", "random": "100 %"}
_ANSWERS = (("grad_cam", PRIMARY), ("integrated_gradients", PRIMARY), ("integrated_gradients", SIGNED))


def rounded(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def interval(quantity: dict, digits: int = 2) -> str:
    value, low, high = (rounded(quantity[key], digits) for key in ("value", "ci_low", "ci_high"))
    return f"{value} ({low} to {high})"


def span(values: Iterable[float], digits: int) -> str:
    """From the least to the greatest, or the one value that all are."""
    ordered = sorted(values)
    ends = [rounded(end, digits) for end in (ordered[0], ordered[-1])]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


@functools.cache
def verdict(part: str) -> dict:
    return json.loads(gzip.decompress((TABLES / part / "verdict.json.gz").read_bytes()))


@functools.cache
def record(part: str) -> dict:
    return json.loads((TABLES / part / "run.json").read_text())


@functools.cache
def models(part: str) -> pd.DataFrame:
    # else the arm of a run that has the true one alone is read as a truth value
    return pd.read_csv(TABLES / part / "models.csv", dtype={"arm": str, "labels": str})


def cell(part: str, method: str, key: str, arm: str = "random") -> dict:
    found = verdict(part)
    methods = found["arms"][arm]["methods"] if "arms" in found else found["methods"]
    return methods[method]["cells"][key]


def by_share() -> list[str]:
    """The ten methods, from the greatest label share to the least."""
    return sorted(verdict("methods")["methods"], key=lambda name: -cell("methods", name, PRIMARY)["share"]["value"])


def contrast(found: dict) -> list[str]:
    """h, k, L, p, everywhere and the verdict."""
    return [
        *(rounded(found[key]["value"], 3) for key in ("headroom", "remainder")),
        interval(found["share"]),
        rounded(found["permutation"]["image_specific"]["p"], 3),
        interval(found["everywhere"]),
        found["verdict"],
    ]


def ten_methods() -> list[list[str]]:
    return [[method_name(name), *contrast(cell("methods", name, PRIMARY))] for name in by_share()]


def views_and_scales() -> list[list[str]]:
    def short(found: dict) -> str:
        share, headroom = rounded(found["share"]["value"], 2), rounded(found["headroom"]["value"], 3)
        return f"{share} of {headroom}, {found['verdict']}"

    keys = (PRIMARY, PIXELS, SIGNED, SIGNED_PIXELS)
    return [[method_name(name), *(short(cell("methods", name, key)) for key in keys)] for name in by_share()]


def every_reading() -> list[list[str]]:
    """How many of the readings of a method, by view, scale and metric, have each verdict."""
    found = {
        name: Counter(one["verdict"] for one in verdict("methods")["methods"][name]["cells"].values())
        for name in by_share()
    }
    return [[method_name(name), *(str(counts[outcome]) for outcome in OUTCOMES)] for name, counts in found.items()]


def trained() -> list[list[str]]:
    return [
        _trained(part, arm, rows)
        for part in PARTS
        for arm, rows in models(part).groupby("arm", sort=False)
        if _own(part, arm)
    ]


def _own(part: str, arm: str) -> bool:
    """Whether no earlier part has this arm: three of them repeat models of the first."""
    return arm not in ("true", "random") or part in ("methods", "networks", "notebooks")


def _trained(part: str, arm: str, rows: pd.DataFrame) -> list[str]:
    (network,) = rows["network"].unique()
    of_a_column = rows["labels"].str.startswith("column:").all()
    kept = "-" if of_a_column else span(rows["label_agreement"], 2)
    on_test = rows["own_test_auroc" if of_a_column else "test_auroc"]
    aurocs = [span(values, 3) for values in (rows["accuracy_on_given_labels"], rows["val_auroc"], on_test)]
    epochs = [span(rows[name], 0) for name in ("epochs", "chosen_epoch")]
    return [part, arm, network, str(len(rows)), kept, *epochs, *aurocs]


def _answers(part: str, arm: str) -> list[str]:
    found = [cell(part, method, key, arm) for method, key in _ANSWERS]
    return [f"{interval(one['share'])} {one['verdict']}" for one in found]


def doses() -> list[list[str]]:
    table = models("dose").set_index("arm")
    kept = {arm: (table.loc[arm, "label_agreement"], table.loc[arm, "test_auroc"]) for arm in _DOSES}
    return [
        [said, span(kept[arm][0], 2), span(kept[arm][1], 3), *_answers("dose", arm)] for arm, said in _DOSES.items()
    ]


def signed_grad_cam() -> list[list[str]]:
    return [
        [count, _WORDS[key], interval(found["headroom"], 3), interval(found["share"]), found["verdict"]]
        for part, count in (("methods", "5"), ("dose", "3"))
        for key in (PRIMARY, SIGNED)
        for found in [cell(part, "grad_cam", key)]
    ]


def arms(part: str, said: dict[str, str], maps: Sequence[tuple[str, str]]) -> list[list[str]]:
    return [
        [words, f"{method_name(method)}, {_WORDS[key]}", *contrast(cell(part, method, key, arm))]
        for arm, words in said.items()
        for method, key in maps
    ]


def by_patient() -> list[list[str]]:
    return arms("patients", {"random": "by image", "by_patient": "by patient"}, _ANSWERS)


def another_task() -> list[list[str]]:
    return arms("task", {"random": "permuted labels", "subtype": "bacteria or virus"}, _ANSWERS)


def networks() -> list[list[str]]:
    maps = [(method, key) for method in verdict("networks")["methods"] for key in (PRIMARY, SIGNED)]
    return arms("networks", {"random": "ResNet-18, permuted labels", "cnn5": "cnn5, true labels"}, maps)


@functools.cache
def depths(view: str, part: str = "methods") -> pd.DataFrame:
    """Rows by method and depth, of regions and Spearman, of the cascade."""
    table = pd.read_parquet(TABLES / part / "cascade_summary.parquet")
    kept = table.query("scale == 'region' and metric == 'spearman' and mode == 'cascade' and view == @view")
    return kept.set_index(["method", "depth"])


def _bounds(row: pd.Series, value: str, low: str, high: str) -> str:
    return interval({"value": row[value], "ci_low": row[low], "ci_high": row[high]})


def cascade() -> list[list[str]]:
    rows = []
    for name in by_share():
        of, last = depths("magnitude").loc[name], depths("magnitude").loc[(name, 7)]
        steps = [rounded(of.loc[depth, "mean"], 2) for depth in range(1, 7)]
        ends = [_bounds(last, "mean", "ci_low", "ci_high"), _bounds(last, "rise", "rise_low", "rise_high")]
        signed = rounded(depths("signed").loc[(name, 7), "mean"], 2)
        share = rounded(cell("methods", name, PRIMARY)["share"]["value"], 2)
        rows.append([method_name(name), *steps, ends[0], signed, ends[1], share])
    return rows


def smoothed() -> list[list[str]]:
    """All layers new: the similarity of maps, and that of maps averaged over noisy inputs, in the run that has it."""
    rows = []
    for name in by_share():
        if name in depths("magnitude", "noisy").index:
            both = [depths(view, "noisy").loc[(name, 7)] for view in ("magnitude", "signed")]
            columns = (("mean", "ci_low", "ci_high"), ("smooth_mean", "smooth_low", "smooth_high"))
            rows.append([method_name(name), *(_bounds(last, *of) for last in both for of in columns)])
    return rows


def headline() -> list[list[str]]:
    table = models("notebooks").set_index("model")
    columns = [f"test_{name}" for name in NOTEBOOKS]
    said = [rounded(value, 3) for value in NOTEBOOKS.values()]
    rows = [["the notebooks", "-", *said, "-", "0.97 to 0.99"]]
    for name, one in table.iterrows():
        last = [one["test_auroc"], one["accuracy_on_given_labels"]]
        rows.append([str(name), rounded(one["threshold"], 2), *(rounded(x, 3) for x in [*one[columns], *last])])
    means = table[[*columns, "test_auroc", "accuracy_on_given_labels"]].mean()
    return [*rows, ["mean of the five", "-", *(rounded(value, 3) for value in means)]]


@functools.cache
def corners(model: str) -> list[tuple[int, int]]:
    """False and true positives along the ROC curve of a model on test."""
    with (TABLES / "notebooks" / "roc.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == model]
    return [(int(row["false_positives"]), int(row["true_positives"])) for row in rows]


def same_false_alarms() -> list[list[str]]:
    """At most as many false alarms as the notebooks have; and the best accuracy of any threshold."""
    normal, pneumonia = 234, 390
    hits = round(NOTEBOOKS["recall"] * pneumonia)
    alarms = round(hits / NOTEBOOKS["precision"]) - hits
    rows = [["the notebooks", str(alarms), str(hits), "-"]]
    for name in models("notebooks")["model"]:
        found = max(true for false, true in corners(name) if false <= alarms)
        best = max(true + normal - false for false, true in corners(name)) / (normal + pneumonia)
        rows.append([name, str(alarms), str(found), rounded(best, 3)])
    return rows


def seconds() -> list[list[str]]:
    rows = []
    for part in PARTS:
        taken = [record(part)["stages"][stage]["seconds"] for stage in STAGES]
        rows.append([part, *(rounded(value, 0) for value in [*taken, sum(taken)])])
    return rows


# The tables of each section of the page, in their order.
SECTIONS = {
    "The models": [trained],
    "(a) Ten methods": [ten_methods, views_and_scales, every_reading],
    "(b) Dose and response": [doses, signed_grad_cam],
    "(c) Permuted by image and by patient": [by_patient],
    "(d) Two networks": [networks],
    "(e) The cascade": [cascade, smoothed],
    "(f) Another task": [another_task],
    "(g) The notebooks' headline": [headline, same_false_alarms],
    "What it took": [seconds],
}
