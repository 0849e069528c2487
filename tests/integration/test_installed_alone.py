"""The source distribution and the wheel: what is in them, and that the wheel works where there is no repository."""

import email
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from helpers.paths import ROOT

SHIPPED = ["chexpert", "demo", "dose", "kaggle", "nightly", "nih", "rigorous", "rsna"]
SHIPPED += ["study-dose", "study-methods", "study-networks", "study-notebooks", "study-patients", "study-task"]


def tracked(*folders):
    """Files that are in the repository, or would be with the next commit."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *folders]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted({name for name in names if (ROOT / name).is_file()})


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Built from a copy: a build leaves files in its folder, and takes up what an earlier one left there."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    folder = tmp_path_factory.mktemp("sdist")
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=source, capture_output=True, check=True)
    (found,) = folder.glob("*.tar.gz")
    return found


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the source distribution, as an index's users do, with what is installed here."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ["--no-build-isolation", "--no-deps", "--no-index", "--no-cache-dir"]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", *offline, "--wheel-dir", str(folder), str(sdist)]
    subprocess.run(command, capture_output=True, check=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def call(wheel, tmp_path_factory):
    """Calls the command of a new environment with the wheel, in an empty folder; the rest is what is installed here."""
    place, empty = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("empty")
    # a source tree on PYTHONPATH would pass for the package
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    venv.create(place, with_pip=False)
    python = str(place / "bin" / "python")
    install = ["install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *install], check=True, env=environment)
    (packages,) = place.glob("lib/python*/site-packages")
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "dependencies.pth").write_text("\n".join(paths))  # added at the end: the wheel goes first
    where = [python, "-c", "import pneumo_batch; print(pneumo_batch.__file__)"]
    found = subprocess.run(where, capture_output=True, text=True, check=True, cwd=empty, env=environment).stdout
    assert Path(found).is_relative_to(packages)

    def called(*arguments):
        command = [str(place / "bin" / "pneumo-batch"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=empty, env=environment)

    return called


def test_the_wheel_has_the_package_its_jobs_and_the_licence_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        about = {name.split(".dist-info/")[1] for name in archive.namelist() if ".dist-info/" in name}
    jobs = {f"pneumo_batch/{name}" for name in tracked("jobs")}
    assert names == {*tracked("pneumo_batch"), *jobs}
    assert "pneumo_batch/py.typed" in names
    assert about == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}


def test_the_source_distribution_has_what_a_reader_needs_and_no_tests_or_runs(sdist):
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    names = {name for name in names if not name.startswith("pneumo_batch.egg-info/")}
    written = {"PKG-INFO", "setup.cfg"}  # by the build
    single = {"LICENSE", "MANIFEST.in", "CITATION.cff", "pyproject.toml", "setup.py"}
    assert names == {*tracked("pneumo_batch", "jobs", "docs", "cluster", ":(glob)*.md"), *single, *written}


def test_the_readme_of_the_package_leads_nowhere_that_is_not_there(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        about = email.message_from_bytes(archive.read(name))
    assert about["Description-Content-Type"] == "text/markdown"
    assert about["License-Expression"] == "Apache-2.0"
    text = about.get_payload()
    assert "# pneumo-batch" in text
    assert "https://arxiv.org/abs/1810.03292" in text
    assert "](docs/" not in text
    assert "](LICENSE)" not in text


def test_shipped_jobs_go_by_name_where_there_is_no_repository(call):
    assert "Can these saliency maps be trusted?" in call("--help").stdout
    for name in SHIPPED:
        shown = call("config", "show", name, "--json")
        assert json.loads(shown.stdout)["name"] == name, shown.stderr
        assert call("config", "init", "--from", name).stdout == (ROOT / f"jobs/{name}.toml").read_text(encoding="utf-8")
    unknown = call("run", "demmo")
    assert unknown.returncode == 2
    assert unknown.stderr.splitlines() == [
        "pneumo-batch: demmo: cannot read the job file: No such file or directory (did you mean demo?); "
        f"shipped jobs go by name: {', '.join(SHIPPED)}"
    ]


def test_the_demonstration_begins_where_there_is_no_repository(call, tmp_path):
    run_dir = tmp_path / "run"
    small = ["--set", "phantom.train=40", "--set", "phantom.test=8"]
    begun = call("run", "demo", "--until", "index", "--run-dir", str(run_dir), *small)
    assert begun.returncode == 0, begun.stderr
    record = json.loads((run_dir / "run.json").read_text())
    assert record["stages"]["index"]["status"] == "complete"
    assert record["counts"]["images"] == 48
    assert record["commit"] is None


@pytest.mark.slow
def test_the_whole_demonstration_where_there_is_no_repository(call, tmp_path):
    run_dir = tmp_path / "run"
    ended = call("run", "demo", "--run-dir", str(run_dir))
    assert ended.returncode == 0, ended.stderr
    assert "grad_cam: sensitive" in ended.stdout
    assert json.loads((run_dir / "run.json").read_text())["status"] == "complete"
    assert (run_dir / "report/index.html").stat().st_size > 100_000
    assert call("verify", str(run_dir)).returncode == 0
