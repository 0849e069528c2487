r"""The results of a run as one table, CSV and LaTeX: a row each target, arm, method, view, scale and metric.

Numbers are those of verdict.json, rounded as the page rounds them. The LaTeX needs \usepackage{booktabs,longtable}.
"""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from pneumo_batch.core.statistics.estimates import Estimate
from pneumo_batch.core.statistics.results import CellResult, MethodResult, Primary, Results
from pneumo_batch.core.statistics.wording import method_name
from pneumo_batch.core.variants import TRUE
from pneumo_batch.report import estimates
from pneumo_batch.report.parts import MISSING, Small, number

BOTH, PATIENTS = "patients and models", "patients, for these models"  # what intervals are over


def frame(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """Of each target and arm the methods in their order, of each method the cell first that its verdict is read from.

    `films` and `patients` are those with every similarity. Of too few models intervals are over patients alone. In one
    row that may be so of some quantities only, as of L where h is not above 0 without one of the models: each says what
    its own interval is over, L in `interval_over`.
    """
    return pd.DataFrame([row for one in results.by_target.values() for row in _of_target(one, methods)])


def _of_target(one: Results, methods: Sequence[str]) -> Iterator[dict[str, object]]:
    by_arm: dict[str, Mapping[str, MethodResult]] = {one.contrast: one.methods}
    by_arm |= {name: arm.methods for name, arm in one.arms.items()}
    kinds = [variant.kind for variant in one.variants.values()]
    for arm, found in by_arm.items():
        models = {"true_models": kinds.count(TRUE), "arm_models": kinds.count(arm)}
        for method in methods:
            place = {"target": one.target, "arm": arm, "method": method}
            for key, cell in _primary_first(found[method].cells, one.primary.key):
                chosen = {**vars(Primary(*key.split("/", 2))), "primary": key == one.primary.key}
                yield place | chosen | _numbers(cell) | models


def _primary_first(cells: Mapping[str, CellResult], primary: str) -> list[tuple[str, CellResult]]:
    return sorted(cells.items(), key=lambda item: item[0] != primary)


def _numbers(cell: CellResult) -> dict[str, object]:
    permuted = cell.permutation.image_specific
    quantities = {"h": cell.headroom, "k": cell.remainder, "L": cell.share, "everywhere": cell.everywhere}
    values = {column: value for name, one in quantities.items() for column, value in _estimate(name, one).items()}
    return {
        **values,
        "interval_over": _over(cell.share),
        **{f"{name}_interval_over": _over(one) for name, one in quantities.items() if name != "L"},
        "p": permuted.p if permuted else None,
        "smallest_p": permuted.smallest_p if permuted else None,
        "verdict": cell.verdict,
        "for_these_models": cell.for_these_models,
        "films": cell.images,
        "patients": cell.patients,
    }


def _estimate(name: str, estimate: Estimate) -> dict[str, object]:
    found = estimates.ends(estimate)
    ends = (found.low, found.high) if found else (None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), (estimate.value, *ends), strict=True))


def _over(estimate: Estimate) -> str | None:
    found = estimates.ends(estimate)
    return None if found is None else PATIENTS if found.of_these_models else BOTH


def csv(table: pd.DataFrame) -> bytes:
    """For programs: a point for the decimals, a plain minus, nothing where there is no number.

    What would read 0 and is none has one digit that counts.
    """
    floats = table.select_dtypes("float").columns
    written = table.astype(dict.fromkeys(floats, object))
    for name in floats:
        written[name] = table[name].map(_plain)
    return written.to_csv(index=False, lineterminator="\n").encode()


def _plain(value: float) -> str:
    text = number(value)
    if text == MISSING:
        return ""
    return text.replace("−", "-") if float(text.replace("−", "-")) or not value else f"{value:.1g}"


# ---------------------------------------------------------------------------------------------------------------- LaTeX

_NAMES = {"target": "Target", "arm": "Arm", "method": "Method", "view": "View", "scale": "Scale", "metric": "Metric"}
_NUMBERS = {
    "h": "$h$",
    "k": "$k$",
    "L": r"$L$ (95\,\% interval)",
    "p": "$p$",
    "everywhere": "Everywhere",
    "verdict": "Verdict",
    "films": "Films",
    "patients": "Patients",
    "models": "Models",
}
_RIGHT = ("$h$", "$k$", "$p$", "Everywhere", "Films", "Patients")
# What pandas leaves, and what a classical text font has something else for.
_BEYOND_PANDAS = {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"}
_THESE = r"$^\dagger$"


def latex(table: pd.DataFrame, *, primary: bool = False) -> bytes:
    """All rows as a longtable, or with `primary` a table of those that the verdicts are read from."""
    chosen = table[table["primary"]] if primary else table
    shown = _shown(chosen, [*_named(table, primary=primary)])
    named = [name for name in shown.columns if name in _NAMES.values()]
    style = shown.style.hide(axis="index").format(_beyond_pandas, escape="latex", subset=pd.Index(named))
    text = style.to_latex(
        hrules=True,
        caption=_caption(chosen, primary=primary),
        label="tab:label-share" if primary else "tab:label-share-all",
        column_format="".join("r" if name in _RIGHT else "l" for name in shown.columns),
        environment=None if primary else "longtable",
        position_float="centering" if primary else None,
        position="tbp" if primary else None,
    )
    return f"% \\usepackage{{booktabs,longtable}}\n{_small(text, primary=primary)}".encode()


def _named(table: pd.DataFrame, *, primary: bool) -> Iterator[str]:
    """Columns of names: target and arm where there are several, and what tells cells of a method apart."""
    for name in _NAMES:
        several = table[name].nunique(dropna=False) > 1
        if name == "method" or (several and not (primary and name in ("view", "scale", "metric"))):
            yield name


def _shown(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The cells of the table as text: names as they are, numbers as LaTeX."""
    columns = {_NAMES[name]: table[name].fillna("") for name in names}
    columns["Method"] = table["method"].map(method_name)
    for name in ("h", "k", "everywhere"):
        columns[_NUMBERS[name]] = table[name].map(_tex)
    columns[_NUMBERS["p"]] = table["p"].map(lambda p: _tex(p if pd.isna(p) else Small(p)))
    columns[_NUMBERS["L"]] = table.apply(_share, axis=1)
    columns[_NUMBERS["models"]] = table["true_models"].astype(str) + " + " + table["arm_models"].astype(str)
    for name in ("verdict", "films", "patients"):
        columns[_NUMBERS[name]] = table[name].astype(str)
    return pd.DataFrame(columns)[[*(_NAMES[name] for name in names), *_NUMBERS.values()]]


def _share(row: pd.Series) -> str:
    if pd.isna(row["L_low"]):
        return _tex(row["L"])
    these = _THESE if row["interval_over"] == PATIENTS else ""
    return f"{_tex(row['L'])} ({_tex(row['L_low'])} to {_tex(row['L_high'])}){these}"


def _tex(value: float) -> str:
    """As the page writes it: a minus in mathematics, a dash where there is no number."""
    text = number(value)
    if text == MISSING:
        return "--"
    return text.replace("−", "$-$").replace("<", "$<$")


def _beyond_pandas(text: object) -> str:
    """Of a name that pandas has escaped."""
    return " ".join("".join(_BEYOND_PANDAS.get(sign, sign) for sign in str(text)).split())


def _caption(table: pd.DataFrame, *, primary: bool) -> str:
    first = table[table["primary"]].iloc[0]
    cell = f"{first['view']} view, {first['scale']} scale, {first['metric']}".replace("_", r"\_")
    which = (
        f"in the primary measure ({cell})"
        if primary
        else f"by every measure, of each method the primary one first ({cell})"
    )
    these = (table["interval_over"] == PATIENTS).any()
    note = rf" {_THESE} Over patients alone, for these models." if these else ""
    both = (table["interval_over"] == BOTH).any()
    over = " Intervals are over patients and models." if both else ""
    return (
        f"Data randomization test of saliency maps {which}. $h$: what two models of true labels agree on about a film;"
        " $k$: what is left of it under the models contrasted with them; $L = 1 - k / h$: label share; $p$: exact"
        " permutation over models, of the agreement about a film; everywhere: what changes on every film alike; models:"
        f" true and contrasted.{over}{note}"
    )


def _small(text: str, *, primary: bool) -> str:
    """In the size of footnotes, which a float sets inside and a longtable takes from outside."""
    size = "\\footnotesize\n\\setlength{\\tabcolsep}{3pt}\n"
    return text.replace("\\centering\n", f"\\centering\n{size}", 1) if primary else f"{{{size}{text}}}\n"
