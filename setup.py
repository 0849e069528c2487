"""What pyproject.toml cannot say: jobs/ is shipped inside the package, and an index shows the README alone."""

import re
import tomllib
from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOT = Path(__file__).resolve().parent
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)")


def for_an_index(text: str, source: str | None, version: str) -> str:
    """The README with links that hold on a package index, where a relative one leads nowhere.

    With the address of the repository (`project.urls.Source`) they lead to the files of this version there. Without one
    a link becomes its text, and a picture the words that describe it.
    """

    def replaced(link: re.Match[str]) -> str:
        picture, label, path = link.groups()
        if source:
            return f"{picture}[{label}]({source}/{'raw' if picture else 'blob'}/v{version}/{path})"
        return f"*{label}*" if picture else label

    return _LINK.sub(replaced, text)


def _readme() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return for_an_index(text, project.get("urls", {}).get("Source"), project["version"])


if __name__ == "__main__":
    setup(
        packages=[*find_namespace_packages(include=["pneumo_batch*"]), "pneumo_batch.jobs"],
        package_dir={"pneumo_batch.jobs": "jobs"},
        long_description=_readme(),
        long_description_content_type="text/markdown",
    )
