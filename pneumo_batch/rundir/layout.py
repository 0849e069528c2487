"""Names of the files and folders of a run's directory, and which stage owns which."""

from dataclasses import dataclass
from typing import Literal

FORMAT = 2  # 1: no random_random_cross, and verdicts by another rule
RECORD = "run.json"
SUMS = "SHA256SUMS"
BACKUP = ".backup"  # a second copy of the record and of the list of checksums
JOB = "job.toml"
EVENTS = "events.jsonl"
VERDICT = "verdict.json"
MANIFEST = "manifest"
QUARANTINE = "quarantine.parquet"
REGIONS = "regions.parquet"
MODELS = "models"
MAPS = "maps"
SCORES = "scores"
CASCADES = "cascades"
CASCADE_SUMMARY = "cascade_summary.parquet"
DERIVED = "derived"
SUMMARY = "summary.parquet"
SCALES = "scales.parquet"
LOCALISATION = "localisation.parquet"
REPORT = "report/index.html"
STAGING = "staging"  # tables in the making: outside the folders that readers open
PROGRESS = f"{STAGING}/progress.json"  # how far the tasks of the stage are that runs
PROGRAM = "network.pt"  # beside the weights of a variant whose network is a file
PASSES = "history.parquet"
METRICS = "metrics.prom"
PHANTOM = "phantom"  # the generated images of a phantom run


@dataclass(frozen=True)
class Owner:
    """What a stage owns of a run's directory."""

    stage: str
    tables: tuple[str, ...] = ()
    """Made below `staging/`, and part of the run once all of it is there."""
    others: tuple[str, ...] = ()
    """What workers, or an attempt before this one, may have written beside the tables."""
    settled: bool = False
    """By the first pass over growing data; later ones leave it."""
    keeps: Literal["never", "in the first pass", "always"] = "never"
    """Of a table that is damaged, the files that are not: where an image's rows are all in one of them."""

    @property
    def folders(self) -> tuple[str, ...]:
        return (*self.tables, *self.others)


# In their order; what a stage does is in stages/.
OWNERS = (
    Owner("index", tables=(MANIFEST,), others=(QUARANTINE, REGIONS, PHANTOM)),
    Owner("train", others=(MODELS,), settled=True),
    Owner("attribute", tables=(MAPS,), keeps="always"),
    Owner("compare", tables=(SCORES,), keeps="in the first pass"),
    Owner("cascade", tables=(CASCADES, DERIVED), settled=True, keeps="in the first pass"),
    Owner("conclude"),
    Owner("report"),
)
STAGES = tuple(owner.stage for owner in OWNERS)
TABLES = tuple(table for owner in OWNERS for table in owner.tables)


def owner(stage: str) -> Owner:
    """What a stage owns; raises KeyError for one there is not."""
    return {one.stage: one for one in OWNERS}[stage]
