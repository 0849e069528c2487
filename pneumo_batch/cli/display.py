"""What a person sees of a run in the terminal: the closing summary, the state of one run, a table of many."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from rich.console import Console

from pneumo_batch import terminal
from pneumo_batch.core.statistics import pointing_words, results, wording
from pneumo_batch.core.statistics.outcomes import Outcome, Requirement
from pneumo_batch.core.statistics.results import MethodResult
from pneumo_batch.errors import EXIT_DONE, EXIT_NOT_MET, RunError
from pneumo_batch.pipeline import Outcome as Ended
from pneumo_batch.rundir.layout import FORMAT, RECORD, REPORT, STAGES, SUMMARY, VERDICT
from pneumo_batch.rundir.reader import Run


def exit_code(outcome: Ended, required: list[Requirement]) -> int:
    """0, or 4 when a verdict was required and a method has another."""
    if not required:
        return EXIT_DONE
    if not outcome.run.store.exists(VERDICT):
        return EXIT_NOT_MET
    found = {method: one.verdict for method, one in _methods(outcome.run).items()}
    met = all(found[method] == one.verdict for one in required for method in ([one.method] if one.method else found))
    return EXIT_DONE if met else EXIT_NOT_MET


def show(outcome: Ended) -> None:
    """The closing summary of `run`: verdict and where things are on stdout."""
    console = terminal.console()
    run = outcome.run
    record = run.record
    if not outcome.worked:
        console.print("nothing to do: this run is complete" if outcome.complete else "nothing to do up to this stage")
    if run.store.exists(VERDICT):
        _show_verdict(console, run)
    counts = record["counts"]
    if counts:
        console.print("  ".join(f"{name} {value}" for name, value in counts.items()))
    for name, place in (("report", REPORT), ("summary", SUMMARY), ("run", "")):
        if run.store.exists(place):
            console.print(f"{name:<8}{run.path}/{place}".rstrip("/"))


def _methods(run: Run) -> Mapping[str, MethodResult]:
    """The verdicts of a run; of one that was concluded by an earlier rule without numbers, which meant other things."""
    values = run.verdict
    if run.record["format"] == FORMAT:
        return results.read(values).methods
    return {method: MethodResult(one["verdict"], one["reasons"]) for method, one in values["methods"].items()}


def _show_verdict(console: Console, run: Run) -> None:
    methods = _methods(run)
    if run.record["format"] == FORMAT:
        console.print(wording.headline(methods, len(run.verdict["variants"])), style="bold")
    if target := run.verdict.get("target"):
        console.print(f"of several findings, {target} is explained")
    for method, found in methods.items():
        console.print(f"{method}: {found.verdict}", style="bold")
        for line in [*found.reasons, found.on_every_film, found.read]:
            if line:
                console.print(f"  {line}")
    if run.record["format"] == FORMAT and (located := results.read(run.verdict).localisation):
        for line in pointing_words.lines(located):
            console.print(line, markup=False)


def show_status(run: Run) -> None:
    """Stages, counts and error of one run."""
    record = run.record
    console = terminal.console()
    console.print(f"{record['name']}  {state(run)}  fingerprint {record['fingerprint'][:12]}  {record['updated']}")
    for name in STAGES:
        stage = record["stages"].get(name, {"status": "not started"})
        seconds = f"{stage['seconds']:>8.1f} s" if "seconds" in stage else " " * 10
        counts = "  ".join(f"{key} {value}" for key, value in stage.get("counts", {}).items())
        console.print(f"  {name:<10} {stage['status']:<12}{seconds}  {counts}".rstrip())
    if record["error"]:
        console.print(f"error: {record['error']['type']}: {record['error']['message']}")


def state(run: Run) -> str:
    """The status of the record; a run that says it is running while nobody holds it was killed, or told to stop."""
    status = run.record["status"]
    return "unfinished" if status == "running" and not run.is_held() else status


class RunRow(TypedDict):
    """A run in a list of runs; `shares` are None where there is none, as in older runs."""

    run_dir: str
    name: str
    status: str
    updated: str
    counts: dict[str, int]
    verdicts: dict[str, Outcome]
    shares: dict[str, float | None]


def rows(folder: str) -> list[RunRow]:
    """One row per run in a folder. Raises RunError when there is no such folder."""
    place = Path(folder)
    if not place.is_dir():
        raise RunError(f"{folder}: no such folder")
    found: list[RunRow] = []
    for path in sorted(place.iterdir()):
        if (path / RECORD).exists():
            run = Run(path)
            record = run.record
            methods = _methods(run) if run.store.exists(VERDICT) else {}
            found.append(
                {
                    "run_dir": str(path),
                    "name": record["name"],
                    "status": state(run),
                    "updated": record["updated"],
                    "counts": record["counts"],
                    "verdicts": {method: one.verdict for method, one in methods.items()},
                    "shares": {method: one.numbers.share.value for method, one in methods.items()},
                }
            )
    return found


def show_rows(found: list[RunRow], folder: str) -> None:
    console = terminal.console()
    if not found:
        console.print(f"no runs in {folder}")
        return
    table = terminal.table("run", "status", "updated", "attributed", "verdicts")
    for row in found:
        verdicts = ", ".join(
            f"{method}: {verdict}" + ("" if row["shares"][method] is None else f" (L {row['shares'][method]:.2f})")
            for method, verdict in row["verdicts"].items()
        )
        table.add_row(row["run_dir"], row["status"], row["updated"], str(row["counts"].get("attributed", "")), verdicts)
    console.print(table)
