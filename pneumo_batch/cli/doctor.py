"""`doctor` looks at the machine. It changes nothing."""

import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pneumo_batch import terminal
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir import provenance
from pneumo_batch.rundir.locations import open_roots

_LEAST_FREE_BYTES = 5e9


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it will do, and what was found."""

    check: str
    ok: bool
    found: str


def machine(job: Job | None) -> list[Check]:
    """Everything that a run needs of this machine."""
    checks = [_versions(), _cpus(), _gpus(), _ray(job), _disk(), _writable(Path("runs")), _home()]
    if job is not None:
        checks.append(_data(job))
    return checks


def show_machine(checks: list[Check]) -> None:
    console = terminal.console()
    for item in checks:
        console.print("ok  " if item.ok else "fail", style="green" if item.ok else "red", end="")
        console.print(f" {item.check:<10}{item.found}")


def _versions() -> Check:
    return Check("versions", True, ", ".join(f"{name} {number}" for name, number in provenance.versions().items()))


def _cpus() -> Check:
    import psutil

    from pneumo_batch.execution import cluster

    memory = psutil.virtual_memory()
    found = (
        f"{cluster.usable_cpus()} CPUs, {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB memory free"
    )
    return Check("cpus", True, found)


def _gpus() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check("gpus", True, "none; everything runs on CPUs")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Check("gpus", True, ", ".join(names))


def _ray(job: Job | None) -> Check:
    if importlib.util.find_spec("ray") is None:
        return Check("ray", False, "not installed")
    address = job.cluster.address if job else os.environ.get("RAY_ADDRESS", "local")
    mode = os.environ.get("RAY_AUTH_MODE", "not set")
    if address == "local":
        return Check("ray", True, f"starts on this machine; RAY_AUTH_MODE {mode}")
    open_cluster = mode != "token"
    warning = "; token authentication is off: anyone who reaches the cluster can run code on it" if open_cluster else ""
    return Check("ray", True, f"address {address}; RAY_AUTH_MODE {mode}{warning}")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    return Check("disk", free > _LEAST_FREE_BYTES, f"{free / 1e9:.1f} GB free here")


def _writable(folder: Path) -> Check:
    place = folder if folder.is_dir() else Path.cwd()
    try:
        with tempfile.TemporaryFile(dir=place):
            return Check("write", True, f"{place} is writable")
    except OSError as error:
        return Check("write", False, f"{place}: {error.strerror}")


def _home() -> Check:
    """Ray keeps its token there where it can."""
    home = os.path.expanduser("~")  # noqa: PTH111 - which does not fail for a user without a home
    lacking = "is not writable: Ray started here uses a token of its own"
    found = "is writable" if os.access(home, os.W_OK) else lacking
    return Check("home", True, f"{home} {found}")


def _data(job: Job) -> Check:
    if job.is_phantom:
        return Check("data", True, "generated")
    gone = open_roots(job.data.root).missing()
    found = f"{gone[0]} does not exist" if gone else f"{', '.join(job.data.roots)} exists"
    return Check("data", not gone, found)
