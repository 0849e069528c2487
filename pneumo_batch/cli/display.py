"""What a person sees of a run in the terminal: the closing summary, the state of one run, a table of many."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from rich.console import Console

from pneumo_batch import terminal
from pneumo_batch.core.statistics import arm_lines, results, wording
from pneumo_batch.core.statistics.outcomes import Outcome, Requirement
from pneumo_batch.core.statistics.results import MethodResult, Results
from pneumo_batch.core.variants import RANDOM, TRUE
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
    return EXIT_DONE if all(_is_met(one, outcome.run) for one in required) else EXIT_NOT_MET


def _is_met(required: Requirement, run: Run) -> bool:
    methods, found = _methods(run), _results(run)
    if required.arm is not None and required.arm != (found.contrast if found else RANDOM):
        if found is None or required.arm not in found.arms:
            return False
        methods = found.arms[required.arm].methods
    return all(
        methods[name].verdict == required.verdict for name in ([required.method] if required.method else methods)
    )


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


def _results(run: Run) -> Results | None:
    """None of a run that was concluded by an earlier rule."""
    return results.read(run.verdict) if run.record["format"] == FORMAT else None


def _show_verdict(console: Console, run: Run) -> None:
    methods, found = _methods(run), _results(run)
    if found:
        contrasted = [one for one in found.variants.values() if one.kind in (TRUE, found.contrast)]
        console.print(wording.headline(methods, len(contrasted)), style="bold")
    if target := run.verdict.get("target"):
        console.print(f"of several findings, {target} is explained")
    for method, one in methods.items():
        console.print(f"{method}: {one.verdict}", style="bold")
        for line in [*one.reasons, one.on_every_film, one.read]:
            if line:
                console.print(f"  {line}")
    for line in [*arm_lines.arm_lines(found), *arm_lines.dose_lines(found)] if found else []:
        console.print(line)


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
