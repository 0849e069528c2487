"""The stages of a run in their order. Skips what is done."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pneumo_batch import checksums, metrics, verification
from pneumo_batch.config import Job
from pneumo_batch.layout import STAGES, VERDICT
from pneumo_batch.ledger import RunError
from pneumo_batch.run import Run

_NEEDS_RAY = ("index", "train", "attribute", "compare", "cascade")


@dataclass(frozen=True)
class Outcome:
    """How a call of `execute` ended."""

    run: Run
    worked: bool  # False: there was nothing to do
    complete: bool

    def as_dict(self) -> dict[str, Any]:
        """For `--json`: the record, where the run is, and the verdict once there is one."""
        record = self.run.record
        verdict = self.run.verdict if self.run.store.exists(VERDICT) else None
        return {"run_dir": self.run.path, "worked": self.worked, "record": record, "verdict": verdict}


def default_run_dir(job: Job, job_fingerprint: str) -> Path:
    return Path("runs") / f"{job.name}-{job_fingerprint[:12]}"


def execute(job: Job, run_dir: str | None = None, until: str = STAGES[-1], *, hash_paths: bool = False) -> Outcome:
    """Bring a run as far as `until`, from wherever it stands; with `hash_paths` no absolute path gets into its records.

    Raises JobError, DataError, RunError for what the user has to change, RunBusyError while another process holds it.
    """
    from pneumo_batch.stages import preflight

    found = preflight.survey(job)
    path = run_dir or str(default_run_dir(job, found.fingerprint))
    with Run(path).lock():
        run = Run.create(path, job, found.fingerprint, hash_paths)
        run.recover()
        _reopen_damaged(job, run)
        worked = _advance(job, run, found, until)
        if job.data.grows and run.record["status"] == "complete":
            from pneumo_batch.stages import growth

            if growth.begin(job, run):
                _reopen_damaged(job, run)  # the new pass builds on those before it
                worked = _advance(job, run, found, until)
        return Outcome(run, worked=worked, complete=run.record["status"] == "complete")


def _advance(job: Job, run: Run, found: Any, until: str) -> bool:
    """Do the stages that are not done; whether there were any."""
    from pneumo_batch.stages import preflight

    todo = [name for name in STAGES[: STAGES.index(until) + 1] if not _is_done(run, name)]
    if todo:
        with _recorded(run):
            if todo[0] in _NEEDS_RAY:
                preflight.check(job, run, found)
            with _cluster(job, run, todo) as resources:
                if resources is not None:
                    preflight.fits(job, found, resources)
                for name in todo:
                    _run_stage(name, job, run, resources)
    if all(_is_done(run, name) for name in STAGES) and run.record["status"] != "complete":
        run.complete()
        metrics.write(run)
    return bool(todo)


def _is_done(run: Run, name: str) -> bool:
    return run.record["stages"].get(name, {}).get("status") == "complete"


@contextlib.contextmanager
def _recorded(run: Run) -> Iterator[None]:
    """Whatever ends the block early is in the record, interruptions included."""
    run.update_record(status="running", error=None)
    try:
        yield
    except BaseException as error:
        run.fail(error)
        with contextlib.suppress(OSError):  # what ended the run is what matters
            metrics.write(run)
        raise


@contextlib.contextmanager
def _cluster(job: Job, run: Run, todo: list[str]) -> Iterator[Any]:
    if not any(name in _NEEDS_RAY for name in todo):
        yield None
        return
    from pneumo_batch.stages import cluster

    with cluster.session(job.cluster) as resources:
        cluster.check_shared(run)
        yield resources


def _run_stage(name: str, job: Job, run: Run, resources: Any) -> None:
    from pneumo_batch.stages import balance

    started = time.monotonic()
    run.stage(name, status="running")
    if name not in checksums.FOLDERS:  # it writes all of its files anew
        run.checksums.drop([name])
    counts = _stage_function(name)(job, run, resources)
    balance.check(name, job, run)
    run.checksums.seal(name)
    run.stage(name, status="complete", seconds=round(time.monotonic() - started, 1), counts=counts)


def _reopen_damaged(job: Job, run: Run) -> None:
    """Of a run to be resumed, let the first stage whose files are not what it wrote begin again, and those after it.

    Of a complete one whose data grow too, where the index is not whole: what joined the data is told from it.
    """
    if run.record["status"] == "complete":
        if job.data.grows and run.checksums.exist:
            verification.reopen(run, verification.verify_stage(run, "index"), grows=True)
        return
    if not run.checksums.exist:
        _reopen_unbalanced(job, run)
        run.checksums.begin()
        return
    verification.discard_staged(run)
    verification.reopen(run, verification.verify(run).findings, grows=job.data.grows)


def _reopen_unbalanced(job: Job, run: Run) -> None:
    """The same for a run of an older version, by what can be known without checksums: whether its files add up."""
    from pneumo_batch.stages import balance

    done = [name for name in STAGES if _is_done(run, name)]
    for position, name in enumerate(done):
        try:
            balance.check(name, job, run)
        except RunError as error:
            run.warn(f"{name} begins again: {error}", stage=name)
            run.reopen(done[position:])
            if name == "train":
                balance.discard_damaged_models(job, run)
            return


def _stage_function(name: str) -> Any:
    # imported when they run: one stage's libraries are not another's start-up time
    import importlib

    module = "pneumo_batch.report" if name == "report" else f"pneumo_batch.stages.{name}"
    return importlib.import_module(module).run
