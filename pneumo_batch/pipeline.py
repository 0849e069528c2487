"""The stages of a run in their order. Skips what is done."""

import contextlib
import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pneumo_batch import memory
from pneumo_batch.errors import RunError
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir import layout, locations, prometheus, verification
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages.stage import DAMAGE, Plan, Stage, Survey, UnbalancedError, Work

if TYPE_CHECKING:
    from pneumo_batch.execution.cluster import Resources


def _index() -> Work:
    from pneumo_batch.stages import index

    return index


def _train() -> Work:
    from pneumo_batch.stages import train

    return train


def _attribute() -> Work:
    from pneumo_batch.stages import attribute

    return attribute


def _compare() -> Work:
    from pneumo_batch.stages import compare

    return compare


def _cascade() -> Work:
    from pneumo_batch.stages import cascade

    return cascade


def _conclude() -> Work:
    from pneumo_batch.stages import conclude

    return conclude


def _report() -> Work:
    from pneumo_batch.stages import report

    return report


STAGES = (
    Stage("index", _index),
    Stage("train", _train),
    Stage("attribute", _attribute),
    Stage("compare", _compare),
    Stage("cascade", _cascade),
    Stage("conclude", _conclude, needs_ray=False),
    Stage("report", _report, needs_ray=False),
)


@dataclass(frozen=True)
class Outcome:
    """How a call of `execute` ended."""

    run: Run
    worked: bool  # False: there was nothing to do
    complete: bool

    def as_dict(self) -> dict[str, object]:
        """For `--json`: the record, where the run is, and the verdict once it has concluded."""
        record = self.run.record
        verdict = self.run.verdict if self.run.has_concluded else None
        return {"run_dir": self.run.path, "worked": self.worked, "record": record, "verdict": verdict}


def default_run_dir(job: Job, job_fingerprint: str) -> Path:
    return Path("runs") / f"{job.name}-{job_fingerprint[:12]}"


def execute(job: Job, run_dir: str | None = None, until: str = STAGES[-1].name, *, hash_paths: bool = False) -> Outcome:
    """Bring a run as far as `until`, from wherever it stands; with `hash_paths` no path gets into its records.

    Raises JobError, DataError, RunError for what the user has to change, RunBusyError while another process holds it.
    """
    from pneumo_batch.stages import survey

    found = survey.survey(job)
    job = locations.located(job) if hash_paths else job  # messages name places as the job does: one that can be found
    run = RunWriter(run_dir or str(default_run_dir(job, found.fingerprint)))
    run.refuse_other_folder()
    if is_new := run.is_new:
        plan(job, found, run)  # before there is a directory: what cannot end well leaves none behind
    with run.lock():
        run.open(job, found.fingerprint, hash_paths)
        run.recover()
        _reopen_damaged(job, run)
        worked = _advance(job, run, found, until, planned=is_new)
        if job.data.grows and run.record["status"] == "complete":
            from pneumo_batch.stages import incremental

            if left := incremental.begin(job, found, run):
                _reopen_damaged(job, run)  # the new pass builds on those before it
                worked = _advance(job, run, found, until, left=left)
        return Outcome(run, worked=worked, complete=run.record["status"] == "complete")


def _advance(
    job: Job, run: RunWriter, found: Survey, until: str, *, planned: bool = False, left: Survey | None = None
) -> bool:
    """Do the stages that are not done, after a plan if there was none; whether there were any.

    `left` is what this pass has to explain of what was found, where that is known already.
    """
    wanted = STAGES[: layout.STAGES.index(until) + 1]
    todo = [stage for stage in wanted if not _is_done(run, stage)]
    if todo:
        with _recorded(run):
            if todo[0].needs_ray and not planned:
                from pneumo_batch.stages import incremental

                plan(job, left or incremental.remaining(job, found, run), run)
            with _cluster(job, run, todo, found) as resources:
                for stage in todo:
                    _do(stage, job, run, resources)
    if all(_is_done(run, stage) for stage in STAGES) and run.record["status"] != "complete":
        prometheus.write(run, "complete")  # before it is: a kill in between would leave what was so for good
        run.complete()
    return bool(todo)


def plan(job: Job, found: Survey, run: Run) -> dict[str, Plan]:
    """What each stage would do. Raises JobError for what can be known to go wrong before hours are spent."""
    from pneumo_batch.execution import cluster
    from pneumo_batch.stages import survey

    plans = {stage.name: stage.work().plan(job, found, run.store) for stage in STAGES}
    if cluster.starts_here(job.cluster):  # what another has is known once it is joined
        survey.fits(job, found, cluster.here())
    return plans


def _is_done(run: Run, stage: Stage) -> bool:
    stages = run.record["stages"]
    return stage.name in stages and stages[stage.name]["status"] == "complete"


@contextlib.contextmanager
def _recorded(run: RunWriter) -> Iterator[None]:
    """Whatever ends the block early is in the record, interruptions included."""
    run.update_record(status="running", error=None)
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(OSError):  # what ended the run is what matters, also where it cannot be noted
            run.fail(error)
            prometheus.write(run)
        raise


@contextlib.contextmanager
def _cluster(job: Job, run: Run, todo: list[Stage], found: Survey) -> "Iterator[Resources | None]":
    if not any(stage.needs_ray for stage in todo):
        yield None
        return
    from pneumo_batch.execution import cluster
    from pneumo_batch.stages import survey

    with cluster.session(job.cluster) as resources:
        cluster.check_shared(run)
        survey.fits(job, found, resources)
        yield resources


def _do(stage: Stage, job: Job, run: RunWriter, resources: "Resources | None") -> None:
    started = time.monotonic()
    run.stage(stage.name, status="running")
    if not layout.owner(stage.name).folders:  # it writes all of its files anew
        run.checksums.drop([stage.name])
    counts = stage.work().execute(job, run, resources)
    if stage.needs_ray:
        gc.collect()  # data sets of Ray are reference cycles, and hold what they were made of
    memory.give_back()
    verify(stage, job, run)
    run.checksums.seal(stage.name)
    memory.give_back()
    run.stage(stage.name, status="complete", seconds=round(time.monotonic() - started, 1), counts=counts)


def verify(stage: Stage, job: Job, run: Run) -> None:
    """Raise UnbalancedError when what a finished stage left does not account for every image of the manifest."""
    if run.number > 1 and layout.owner(stage.name).settled:
        return  # by the first pass over the data, for the images it had
    try:
        stage.work().verify(job, run)
    except DAMAGE as error:
        line = str(error).splitlines()[0]
        raise UnbalancedError(f"{run.path}: what the stage {stage.name!r} wrote is incomplete: {line}") from error


def _reopen_damaged(job: Job, run: RunWriter) -> None:
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


def _reopen_unbalanced(job: Job, run: RunWriter) -> None:
    """The same for a run of an older version, by what can be known without checksums: whether its files add up."""
    done = [stage for stage in STAGES if _is_done(run, stage)]
    for position, stage in enumerate(done):
        try:
            verify(stage, job, run)
        except RunError as error:
            run.warn(f"{stage.name} begins again: {error}", stage=stage.name)
            run.reopen([one.name for one in done[position:]])
            if stage.name == "train":
                from pneumo_batch.stages import train

                train.discard_damaged_models(job, run)
            return
