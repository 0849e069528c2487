"""Where things lie, seen from any test."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS, JOBS, HELPERS = ROOT / "docs", ROOT / "jobs", ROOT / "tests" / "helpers"
REAL = ROOT.parent / "shared" / "data"  # published films, which the project does not ship
