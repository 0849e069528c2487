"""A whole run from a notebook."""

from collections.abc import Mapping
from pathlib import Path

from pneumo_batch import pipeline
from pneumo_batch.errors import DamagedError, DataError, JobError, RunError, root_cause
from pneumo_batch.job import jobfile
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.layout import STAGES
from pneumo_batch.rundir.reader import Run


def run(
    job: str | Path | Mapping[str, object],
    *,
    run_dir: str | Path | None = None,
    address: str | None = None,
    until: str = STAGES[-1],
    **overrides: object,
) -> Run:
    """Do what `pneumo-batch run` does and return the run: an unfinished one is resumed, a complete one left as it is.

    `job` is a job file, the name of a shipped one ("demo"), or its tables as a dictionary. Overrides are tables and
    fields of the job; in a table only the fields that are named change:

    >>> run("demo", run_dir="runs/small", data={"image_size": 64}, attribution={"limit": 32})  # doctest: +SKIP
    Run('runs/small')

    `run_dir`, `address` (of a Ray cluster to join) and `until` (the last stage to do) are the command's options.
    Progress goes to stderr, in bars or lines, as it does there.

    Raises JobError, DataError, RunError or DamagedError (pneumo_batch.errors) for what the user has to change, with one
    line, and RunBusyError while another process holds the run. The same call continues an interrupted run.
    """
    if until not in STAGES:
        raise JobError(f"until: no stage {until!r}; there are: {', '.join(STAGES)}")
    changes: dict[str, object] = dict(overrides)
    if address is not None:
        changes = jobfile.merged({"cluster": {}, **changes}, {"cluster": {"address": address}})
    resolved = _resolved(job, changes)
    try:
        outcome = pipeline.execute(resolved, None if run_dir is None else str(run_dir), until)
    except Exception as error:
        cause = root_cause(error)
        if cause is error or not isinstance(cause, JobError | DataError | RunError | DamagedError):
            raise
        raise type(cause)(str(cause).splitlines()[0]) from error  # Ray adds lines of its own
    return Run(outcome.run.path)


def _resolved(job: str | Path | Mapping[str, object], changes: Mapping[str, object]) -> Job:
    if isinstance(job, Mapping):
        return jobfile.parse(jobfile.merged(job, changes), source="job")
    return jobfile.load(job, sections=changes)
