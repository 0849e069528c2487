"""The scripts behind `make dist` and `make test-oldest`, and the README that goes to a package index."""

import importlib.util
import re
import subprocess
import tomllib

import pytest
from helpers.paths import ROOT

from tools import oldest, release

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def build():
    """setup.py as a module; it builds only where it is the program."""
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tree(folder, version="1.2.0", entry="## 1.2.0 - unreleased", tagged=()):
    """A repository of two commits, with tags on the first."""
    git = ["git", "-C", str(folder), "-c", "user.name=me", "-c", "user.email=me@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (folder / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')
    (folder / "CHANGELOG.md").write_text(
        f"# Changelog\n\n{entry}\n\nNew things.\n\n## 1.1.0 - 2026-01-31\n\nOld ones.\n"
    )
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "first"], check=True)
    for tag in tagged:
        subprocess.run([*git, "tag", tag], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "second"], check=True)
    return folder


def test_project_and_changelog_are_of_one_version():
    # after a release its tag is taken until the version is raised, which is no fault of the tree
    assert [line for line in release.problems(ROOT) if not line.startswith("the tag ")] == []


@pytest.mark.parametrize("entry", ["## 1.2.0 - unreleased", "## 1.2.0 - 2026-02-28"])
def test_a_tree_of_one_version_can_be_released(tmp_path, entry):
    assert release.problems(tree(tmp_path, entry=entry, tagged=["v1.1.0"])) == []


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"version": "1.3.0"}, "CHANGELOG.md: the top entry is of 1.2.0, but pyproject.toml says version 1.3.0"),
        ({"entry": "## Next"}, "CHANGELOG.md: the top entry must read"),
        ({"entry": "## 1.2.0 - soon"}, "CHANGELOG.md: the top entry must read"),
        ({"tagged": ["v1.2.0"]}, "the tag v1.2.0 is taken by another commit: raise project.version"),
    ],
)
def test_what_is_in_the_way_of_a_release_is_one_line(tmp_path, values, line):
    (found,) = release.problems(tree(tmp_path, **values))
    assert found.startswith(line)


def test_the_tag_of_the_release_itself_is_not_in_the_way(tmp_path):
    tree(tmp_path)
    subprocess.run(["git", "-C", str(tmp_path), "tag", "v1.2.0"], check=True)
    assert release.problems(tmp_path) == []


def test_the_oldest_versions_are_the_declared_lower_bounds():
    lines = list(oldest.constraints(PROJECT))
    assert len(lines) == len(set(lines))
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", line) for line in lines)
    declared = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dicom"]
    for text in declared:
        name, _, bound = text.partition(">=")
        assert f"{name.split('[')[0]}=={bound}" in lines


def test_a_dependency_without_a_lower_bound_is_named():
    project = {"name": "mine", "dependencies": ["numpy"], "optional-dependencies": {"lint": ["ruff"]}}
    with pytest.raises(ValueError, match=r"numpy says no oldest version; write numpy>=VERSION"):
        list(oldest.constraints(project))


README = """![A film](docs/images/film.png)

[Paper](https://arxiv.org/abs/1810.03292), [the method](docs/method.md#share), [below](#more), [licence](LICENSE).
"""


def test_without_an_address_links_into_the_repository_become_their_text(build):
    assert build.for_an_index(README, None, "1.2.0") == (
        "*A film*\n\n[Paper](https://arxiv.org/abs/1810.03292), the method, [below](#more), licence.\n"
    )


def test_with_an_address_they_lead_to_the_files_of_this_version(build):
    text = build.for_an_index(README, "https://example.org/us/pneumo-batch", "1.2.0")
    assert "![A film](https://example.org/us/pneumo-batch/raw/v1.2.0/docs/images/film.png)" in text
    assert "[the method](https://example.org/us/pneumo-batch/blob/v1.2.0/docs/method.md#share)" in text
    assert "[licence](https://example.org/us/pneumo-batch/blob/v1.2.0/LICENSE)" in text
    assert "[below](#more)" in text
