"""What a person sees of a run in the terminal: the closing summary, the state of one run, a table of many."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

from pneumo_batch import terminal
from pneumo_batch.cli import answer
from pneumo_batch.cli.options import complain
from pneumo_batch.core.attribution.options import POSITIVE
from pneumo_batch.core.statistics.digits import fixed
from pneumo_batch.core.statistics.outcomes import Outcome, Requirement
from pneumo_batch.core.statistics.results import MethodResult
from pneumo_batch.core.variants import RANDOM
from pneumo_batch.errors import EXIT_DONE, EXIT_NOT_MET, DamagedError, JobError, RunError
from pneumo_batch.pipeline import Outcome as Ended
from pneumo_batch.rundir.layout import BACKUP, RECORD, REPORT, STAGES, SUMMARY, VERDICT
from pneumo_batch.rundir.locations import folder_of_runs
from pneumo_batch.rundir.reader import Run, Snapshot

if TYPE_CHECKING:
    from rich.console import Console

_EARLIER = "the verdict is an earlier one: the stage conclude has yet to run again"


def exit_code(outcome: Ended, required: list[Requirement]) -> int:
    """0, or 4 when a verdict was required and a method has another: a line on stderr says which."""
    found = [(one, _unmet(outcome.run, one)) for one in required]
    for one, others in found:
        if others:
            complain(f"--require {one.text}: {', '.join(others)}", EXIT_NOT_MET)
    return EXIT_NOT_MET if any(others for _, others in found) else EXIT_DONE


def _unmet(run: Run, required: Requirement) -> list[str]:
    """What is otherwise than required."""
    if not run.has_concluded:
        return ["the run has not concluded"]
    found = _of_arm(run, required.arm)
    if not found:
        return [f"the run has no arm {required.arm}"]
    if required.target is not None:
        of_target = found.get(required.target) or (found.get(None) if [required.target] == _targets(run) else None)
        if of_target is None:  # of further arms the first target alone is judged
            on = f" on the arm {required.arm}" if required.arm else ""
            return [f"the run has no verdict{on} for {required.target}"]
        found = {required.target: of_target}
    return [line for about in found.items() for line in _others(required, *about)]


def _of_arm(run: Run, arm: str | None) -> Mapping[str | None, Mapping[str, MethodResult]]:
    """The verdicts of an arm by what is explained, of further arms the first target; none of an arm it has not."""
    found = answer.results_of(run)
    if arm is None or arm == (found.contrast if found else RANDOM):
        return answer.by_target(run, found)
    return {found.target: found.arms[arm].methods} if found and arm in found.arms else {}


def _others(required: Requirement, target: str | None, methods: Mapping[str, MethodResult]) -> list[str]:
    """The methods with another verdict for this target than required, and one that has none."""
    chosen = [required.method] if required.method else list(methods)
    name = f" for {target}" if target and required.target is None else ""
    verdicts = {method: methods[method].verdict if method in methods else "without a verdict" for method in chosen}
    return [f"{method} is {verdict}{name}" for method, verdict in verdicts.items() if verdict != required.verdict]


def show(outcome: Ended) -> None:
    """The closing summary of `run`: verdict and where things are on stdout."""
    console = terminal.console()
    run = outcome.run
    record = run.record
    if not outcome.worked:
        console.print("nothing to do: this run is complete" if outcome.complete else "nothing to do up to this stage")
    if run.has_concluded:
        answer.show(console, run)
    elif run.store.exists(VERDICT):
        console.print(_EARLIER)
    counts = record["counts"]
    if counts:
        console.print("  ".join(f"{name} {value}" for name, value in counts.items()))
    for name, place in (("report", REPORT), ("summary", SUMMARY), ("run", "")):
        if run.store.exists(place):
            console.print(f"{name:<8}{run.path}/{place}".rstrip("/"))


def show_status(run: Run) -> None:
    """Stages, counts and error of one run, what it explains where that has a name, and what it found."""
    record = run.record
    console = terminal.console()
    now = state(run)
    console.print(f"{record['name']}  {now}  fingerprint {record['fingerprint'][:12]}  {record['updated']}")
    if named := _named_targets(run):
        console.print(f"  explains   {', '.join(named)}")
    for name in STAGES:
        stage = record["stages"].get(name, {"status": "not started"})
        status = "unfinished" if stage["status"] == "running" != now else stage["status"]
        seconds = f"{stage['seconds']:>8.1f} s" if "seconds" in stage else " " * 10
        counts = "  ".join(f"{key} {value}" for key, value in stage.get("counts", {}).items())
        console.print(f"  {name:<10} {status:<12}{seconds}  {counts}".rstrip())
        if stage["status"] == "running":
            _show_progress(console, run)
    if record["error"]:
        console.print(f"error: {record['error']['type']}: {record['error']['message']}")
    if run.store.exists(VERDICT):
        if not run.has_concluded:
            console.print(_EARLIER)
        answer.show_briefly(console, run)
    if now in ("unfinished", "failed"):
        console.print("the same command continues it")


def _show_progress(console: "Console", run: Run) -> None:
    """How far each task of the stage that runs was a few seconds ago, or when something ended it."""
    found = run.progress()
    for task, state in found["tasks"].items() if found else ():
        console.print(f"    {task}: {state['done']}/{state['total']}  {state['note']}".rstrip())


def as_dict(run: Run) -> dict[str, object]:
    """The record for `--json`, with verdicts and label shares of a run that has concluded, as in a list of runs.

    Of one that is not complete `progress` is what `Run.progress` says.
    """
    row = _row(run)
    answers = {name: row[name] for name in ("verdicts", "shares", "by_target", "outdated") if row.get(name)}
    progress = run.progress()
    return {"run_dir": run.path, **run.record, **answers, **({"progress": progress} if progress else {})}


def state(run: Run) -> str:
    """The status of the record; a run that says it is running while nobody holds it was killed, or told to stop."""
    status = run.record["status"]
    return "unfinished" if status == "running" and not run.is_held() else status


def _named_targets(run: Run) -> list[str]:
    """What a run explains, where that is not the one logit of two classes; none where the job cannot be read."""
    found = _targets(run)
    return [] if found == [POSITIVE] else found


def _targets(run: Run) -> list[str]:
    try:
        return run.targets
    except (RunError, DamagedError, JobError):
        return []


class RunRow(TypedDict):
    """A run in a list of runs; `shares` are None where there is none, as in older runs.

    Both are of the first of `targets`; with several, `by_target` has the verdicts of all. They are `outdated` where the
    run has yet to conclude again: in a further pass, or after a stage began again.
    """

    run_dir: str
    name: str
    status: str
    updated: str
    counts: dict[str, int]
    verdicts: dict[str, Outcome]
    shares: dict[str, float | None]
    targets: list[str]
    by_target: NotRequired[dict[str, dict[str, Outcome]]]
    outdated: NotRequired[bool]


def rows(folder: str) -> list[RunRow]:
    """One row per run in a folder. Raises RunError when there is no such folder."""
    found: list[RunRow] = []
    for path in sorted(folder_of_runs(folder).iterdir()):
        has_record = any((path / name).exists() for name in (RECORD, f"{BACKUP}/{RECORD}"))
        if has_record and not path.name.startswith("."):  # of a run, the copy of its record
            found.append(_row_or_damaged(path))
    return found


def _row_or_damaged(path: Path) -> RunRow:
    """One damaged run does not end the list of the others."""
    try:
        return _row(Snapshot(path))
    except (RunError, DamagedError) as error:
        terminal.say(f"warning: {error}")
        nothing: RunRow = {
            "run_dir": str(path), "name": path.name, "status": "damaged", "updated": "", "counts": {}, "verdicts": {},
            "shares": {}, "targets": [],
        }  # fmt: skip
        return nothing


def _row(run: Run) -> RunRow:
    record, now = run.record, state(run)  # at once: it may end while its verdict is read
    by_target = answer.by_target(run, answer.results_of(run)) if run.store.exists(VERDICT) else {None: {}}
    methods = next(iter(by_target.values()))
    row: RunRow = {
        "run_dir": run.path,
        "name": record["name"],
        "status": now,
        "updated": record["updated"],
        "counts": record["counts"],
        "verdicts": {method: one.verdict for method, one in methods.items()},
        "shares": {method: one.numbers.share.value for method, one in methods.items()},
        "targets": _named_targets(run),
    }
    if methods and not run.has_concluded:
        row["outdated"] = True
    if len(by_target) > 1:
        row["by_target"] = {
            str(target): {method: one.verdict for method, one in some.items()} for target, some in by_target.items()
        }
    return row


def show_rows(found: list[RunRow], folder: str) -> None:
    console = terminal.console()
    if not found:
        console.print(f"no runs in {folder}")
        return
    named = any(row["targets"] for row in found)
    table = terminal.table("run", "status", "updated", "attributed", *(["explains"] if named else []), "verdicts")
    for row in found:
        attributed, explains = str(row["counts"].get("attributed", "")), ", ".join(row["targets"])
        columns = [row["run_dir"], row["status"], row["updated"], attributed, *([explains] if named else [])]
        table.add_row(*columns, _verdicts(row) + (" (earlier)" if row.get("outdated") else ""))
    console.print(table)


def _verdicts(row: RunRow) -> str:
    """With label shares; of several targets without, a target after the other."""
    if "by_target" in row:
        by_target = row["by_target"].items()
        each = (f"{target}: {', '.join(f'{name} {one}' for name, one in some.items())}" for target, some in by_target)
        return "; ".join(each)
    shares = {method: "" if share is None else f" (L {fixed(share, 2)})" for method, share in row["shares"].items()}
    return ", ".join(f"{method}: {verdict}{shares[method]}" for method, verdict in row["verdicts"].items())
