"""Prints pip constraints that pin each declared dependency to its lower bound, for `make test-oldest`."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
# Tools that look at the project from outside; nothing of it runs on them.
TOOLS = {"bench", "dist", "docs", "lint"}


def constraints(project: dict) -> Iterator[str]:
    """One line `name==version` for each dependency of the project table, of the extras that tests import too.

    Raises ValueError for a dependency without a lower bound.
    """
    extras = [texts for name, texts in project["optional-dependencies"].items() if name not in TOOLS]
    for text in sum(extras, project["dependencies"]):
        wanted = Requirement(text)
        if wanted.name == project["name"]:  # an extra that takes in others
            continue
        bounds = [bound.version for bound in wanted.specifier if bound.operator == ">="]
        if not bounds:
            raise ValueError(f"pyproject.toml: {text} says no oldest version; write {wanted.name}>=VERSION")
        yield f"{wanted.name}=={bounds[0]}"


if __name__ == "__main__":
    print(*constraints(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]), sep="\n")
