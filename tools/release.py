"""Checks that this tree can be released: changelog and project have one version, and its tag is free (`make dist`)."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_ENTRY = re.compile(r"^## (\S+) - (unreleased|\d{4}-\d{2}-\d{2})$", re.MULTILINE)


def problems(root: Path) -> list[str]:
    """What is in the way of releasing a source tree, one line each; none when nothing is."""
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    newest = _ENTRY.fullmatch(headings[0]) if headings else None
    found = []
    if newest is None:
        found.append("CHANGELOG.md: the top entry must read '## VERSION - unreleased' or '## VERSION - YYYY-MM-DD'")
    elif newest[1] != version:
        found.append(f"CHANGELOG.md: the top entry is of {newest[1]}, but pyproject.toml says version {version}")
    if _tagged(root, version):
        found.append(f"the tag v{version} is taken by another commit: raise project.version in pyproject.toml")
    return found


def _tagged(root: Path, version: str) -> bool:
    """Whether the version's tag is on another commit than the one checked out."""
    tag = _commit(root, f"refs/tags/v{version}")
    return tag is not None and tag != _commit(root, "HEAD")


def _commit(root: Path, name: str) -> str | None:
    command = ["git", "-C", str(root), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return found.stdout.strip() if found.returncode == 0 else None


if __name__ == "__main__":
    lines = problems(ROOT)
    print(*lines, sep="\n", file=sys.stderr, end="\n" if lines else "")
    sys.exit(bool(lines))
