"""Report: the tables of a run -> one page for people."""

from pneumo_batch.errors import DamagedError
from pneumo_batch.execution.cluster import Resources
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.layout import REPORT
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages.stage import Plan, Survey


def plan(_job: Job, _found: Survey, _store: Store) -> Plan:
    return Plan("one HTML page")


def execute(_job: Job, run: RunWriter, _resources: Resources | None) -> dict[str, int]:
    """Write `report/`."""
    from pneumo_batch import report  # draws, which nothing before it does

    return report.build(run)


def verify(_job: Job, run: Run) -> None:
    if not run.store.read_bytes(REPORT).rstrip().endswith(b"</html>"):
        raise DamagedError(f"{REPORT}: damaged: it is cut off")
