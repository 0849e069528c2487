"""What produced a run: versions and commit, and when."""

import contextlib
import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TypedDict

_VERSIONED = (
    "pneumo-batch",
    "torch",
    "torchvision",
    "ray",
    "captum",
    "numpy",
    "scipy",
    "scikit-image",
    "pyarrow",
    "pandas",
    "pillow",
)
_EXTRAS = ("pydicom", "python-gdcm")


_COMMIT = "PNEUMO_BATCH_COMMIT"  # of a package that was sent to a cluster, where there is no repository


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of what results depend on, read without importing any of it; of extras, those that are installed."""
    found = {"python": platform.python_version(), **{name: metadata.version(name) for name in _VERSIONED}}
    for name in _EXTRAS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


class Commit(TypedDict):
    """Of the source tree; None where the package was installed without one."""

    commit: str | None
    dirty: bool | None


def source_commit() -> Commit:
    if _COMMIT in os.environ:
        commit, _, dirty = os.environ[_COMMIT].partition("+")
        return {"commit": commit, "dirty": bool(dirty)}
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    git = ["git", "-C", str(root)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)  # noqa: S603
        status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": head.stdout.strip(), "dirty": bool(status.stdout.strip())}


def as_environment() -> dict[str, str]:
    """Variables that tell a copy of this package where it comes from; none where that is not known."""
    found = source_commit()
    return {_COMMIT: found["commit"] + ("+dirty" if found["dirty"] else "")} if found["commit"] else {}
