"""Is a run what was written? By the digest of every file that it has committed; and what follows where it is not."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from pneumo_batch.errors import DamagedError, RunBusyError, RunError
from pneumo_batch.rundir import checksums, integrity
from pneumo_batch.rundir.layout import MODELS, RECORD, STAGES, STAGING, SUMS, owner
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.record import parse_record
from pneumo_batch.rundir.writer import RunWriter


@dataclass(frozen=True)
class Finding:
    """A file that is not as it was written, and the stage that wrote it."""

    name: str
    problem: Literal["damaged", "missing", "foreign"]
    stage: str


@dataclass(frozen=True)
class Verification:
    """What was found."""

    files: int  # that were read
    findings: list[Finding]

    def as_dict(self) -> dict[str, object]:
        return {"files": self.files, "findings": [asdict(finding) for finding in self.findings]}


def verify(run: Run) -> Verification:
    """Read every committed file of a run. Raises RunError for one of an older version, which has no checksums."""
    listed = checksums.Checksums(run.store)
    if not listed.exist:
        raise RunError(
            f"{run.path}: has no checksums ({SUMS}): an older pneumo-batch wrote it, nothing can be verified"
        )
    expected = _expected(run)
    changed = _changed(run, expected)
    foreign = [Finding(name, "foreign", stage) for name, stage in _foreign(run, expected)]
    read = len(expected) - sum(finding.problem == "missing" for finding in changed)
    return Verification(read + 2, [*_kept_twice(run), *changed, *foreign])


def verify_stage(run: Run, stage: str) -> list[Finding]:
    """What one stage of a run has written and is damaged or missing. Raises RunError where the list of it is."""
    return _changed(run, {name: one for name, one in _expected(run).items() if one[0] == stage})


def verify_unheld(run: Run) -> Verification:
    """As `verify`, of a run that nobody works on. Raises RunBusyError."""
    if run.record["status"] != "complete" and run.is_held():  # of a complete one even a read-only copy will do
        raise RunBusyError(f"{run.path}: another process holds this run; try again later")
    return verify(run)


def _expected(run: Run) -> checksums.Expected:
    try:
        return checksums.Checksums(run.store).expected()
    except DamagedError as error:
        raise RunError(f"{run.path}/{error}, and so is its copy") from error


def _changed(run: Run, expected: checksums.Expected) -> list[Finding]:
    found, findings = run.store.digests(expected), []
    for name, (stage, digests) in sorted(expected.items()):
        if name not in found:
            findings.append(Finding(name, "missing", stage))
        elif found[name] not in digests:
            findings.append(Finding(name, "damaged", stage))
    return findings


def _kept_twice(run: Run) -> list[Finding]:
    """The record and the list, which no list has, and their copies."""
    problems = {**run.store.check_twice(RECORD, parse_record), **run.store.check_twice(SUMS, checksums.parse)}
    return [Finding(name, problem, "job") for name, problem in problems.items()]


def _foreign(run: Run, expected: checksums.Expected) -> list[tuple[str, str]]:
    """Files in the folders of finished stages that readers would take for theirs."""
    done = [name for name, stage in run.record["stages"].items() if stage["status"] == "complete"]
    left = [(name, one) for one in done for folder in owner(one).folders for name in run.store.walk(folder)]
    return [(name, stage) for name, stage in left if name not in expected]


def reopen(run: RunWriter, findings: Sequence[Finding], *, grows: bool, later: bool = False) -> None:
    """Let the first stage of which a file is damaged or missing begin again, and those after it; say so.

    It does so at once, or `later`, with the next run.

    Where the data have grown since, the images of a damaged manifest are others now, and the models are made anew too.
    Raises RunError for a file that somebody else has put there.
    """
    foreign = [finding.name for finding in findings if finding.problem == "foreign"]
    if foreign:
        raise RunError(f"{run.path}/{foreign[0]}: not written by this run; move it elsewhere")
    lost = [finding for finding in findings if finding.stage in STAGES]
    again = "the next run computes it again" if later else "it is computed again"
    for finding in lost:
        run.warn(f"{finding.name}: {finding.problem}; {again}", stage=finding.stage)
    if lost:
        first = min(STAGES.index(finding.stage) for finding in lost)
        anew = [MODELS] if grows and first == 0 else []
        run.reopen(STAGES[first:], [*(finding.name for finding in lost), *anew])


def discard_staged(run: RunWriter) -> None:
    """Remove files of tables in the making that are not what their names tell."""
    names = [name for name in run.store.walk(STAGING) if integrity.seal(name)]
    found = run.store.digests(names)
    for name in names:
        if found.get(name) != integrity.seal(name):
            run.warn(f"{name}: damaged; it is computed again")
            run.store.remove(name)
