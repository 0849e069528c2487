"""Names of a run's stages, and of the files and folders of its directory."""

STAGES = ("index", "train", "attribute", "compare", "cascade", "conclude", "report")  # in their order
FORMAT = 2  # 1: no random_random_cross, and verdicts by another rule
RECORD = "run.json"
SUMS = "SHA256SUMS"
BACKUP = ".backup"  # a second copy of the record and of the list of checksums
JOB = "job.toml"
EVENTS = "events.jsonl"
VERDICT = "verdict.json"
MANIFEST = "manifest"
QUARANTINE = "quarantine.parquet"
MODELS = "models"
MAPS = "maps"
SCORES = "scores"
CASCADES = "cascades"
CASCADE_SUMMARY = "cascade_summary.parquet"
DERIVED = "derived"
SUMMARY = "summary.parquet"
SCALES = "scales.parquet"
REPORT = "report/index.html"
STAGING = "staging"  # tables in the making: outside the folders that readers open
PROGRAM = "network.pt"  # beside the weights of a variant whose network is a file
PASSES = "history.parquet"
METRICS = "metrics.prom"
SETTLED = ("train", "cascade")  # by the first pass: later ones keep its models
PHANTOM = "phantom"  # the generated images of a phantom run
