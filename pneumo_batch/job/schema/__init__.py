"""What a job file may say: one TOML file describes one run, a module here each part of it.

Every field is declared with `result` (it changes results, so it is part of the fingerprint) or `neutral` (it does not).
"""

from pneumo_batch.job.schema.arms import ArmSpec
from pneumo_batch.job.schema.attribution import Attribution
from pneumo_batch.job.schema.cluster import Cluster
from pneumo_batch.job.schema.comparison import Cascade, Compare
from pneumo_batch.job.schema.data import FINDINGS_ONLY, NO_REGIONS, PHANTOM, Data, Phantom
from pneumo_batch.job.schema.fields import Section
from pneumo_batch.job.schema.job import Job
from pneumo_batch.job.schema.models import Train, VariantSpec

# Raised when the same job on the same data gives other numbers than before: old runs are then not resumed.
RESULTS_VERSION = 5

__all__ = [
    "FINDINGS_ONLY",
    "NO_REGIONS",
    "PHANTOM",
    "RESULTS_VERSION",
    "ArmSpec",
    "Attribution",
    "Cascade",
    "Cluster",
    "Compare",
    "Data",
    "Job",
    "Phantom",
    "Section",
    "Train",
    "VariantSpec",
]
