"""`doctor` looks at the machine, `data check` at a folder of images. Neither changes anything."""

import dataclasses
import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pneumo_batch import terminal
from pneumo_batch.core.data import audit as auditing
from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.audit import Audit
from pneumo_batch.core.data.formats.account import Account
from pneumo_batch.errors import DataError
from pneumo_batch.job.schema import Data, Job
from pneumo_batch.rundir import provenance
from pneumo_batch.rundir.locations import open_roots
from pneumo_batch.stages import listing, regions

_LEAST_FREE_BYTES = 5e9


def audit(data: Data) -> Audit:
    """Open every image of a data set and report what is wrong with it. Raises DataError when there is none."""
    images = open_roots(data.root)
    if gone := images.missing():
        raise DataError(f"{gone[0]}: no such folder")
    found = listing.of_data(data, images)
    rows, rejected = manifest.inspect_batch(found.listing, images)
    audited = auditing.audit(rows, rejected, found.listing, passed_over=found.passed_over, account=found.account)
    outlined = regions.of_images(data, images, found, rows)
    unfit = [outlined.unfit] if outlined.unfit else []
    return dataclasses.replace(audited, regions=outlined.lines, warnings=[*audited.warnings, *unfit])


def show(found: Audit, root: str) -> None:
    """The audit as tables on stdout."""
    console = terminal.console()
    console.print(f"{root}: {found.images} images, {sum(found.quarantined.values())} unreadable")
    counts = terminal.table("split", "class", "subtype", "images")
    for split, by_class in found.counts.items():
        for name, by_subtype in by_class.items():
            for subtype, images in by_subtype.items():
                counts.add_row(split, name, subtype, str(images))
    sizes = terminal.table("class", "", "least", "median", "most")
    for name, by_quantity in found.sizes.items():
        for quantity, values in by_quantity.items():
            sizes.add_row(name, quantity, *(f"{value:g}" for value in values.values()))
    modes = terminal.table("class", "mode", "images")
    for name, by_mode in found.modes.items():
        for mode, images in by_mode.items():
            modes.add_row(name, mode, str(images))
    patients = ", ".join(f"{split} {count}" for split, count in found.patients.items())
    duplicates = ", ".join(f"{name} {count}" for name, count in found.duplicates.items())
    console.print("", counts, "", sizes, "", modes, "", sep="\n")
    rules = ", ".join(f"{rule} {count}" for rule, count in found.patient_rules.items())
    console.print(f"patients: {patients}; in train or val and in test too: {found.patient_overlap}")
    console.print(f"patients told by: {rules}")
    console.print(f"byte-identical: {duplicates}")
    for splits, films in found.copies.items():
        console.print(f"the same in another size or encoding: {films} of {splits}")
    if found.account:
        _show_account(console, found.account)
    for line in found.regions:
        console.print(f"regions: {line}", markup=False)
    for counted, what in ((found.quarantined, "rejected"), (found.passed_over, "passed over")):
        for kind, images in counted.items():
            console.print(f"{what}: {images} x {kind}", markup=False)
    for line in found.errors:
        console.print(f"error: {line}")
    for line in found.warnings:
        console.print(f"warning: {line}")
    if not found.errors and not found.warnings:
        console.print("nothing to complain about")


def _show_account(console: Console, account: Account) -> None:
    """What the label files say, of all their films, and what of it is not used."""
    labels = terminal.table("finding", "positive", "negative", "uncertain", "unmentioned")
    for finding, counts in account.labels.items():
        if counts["positive"] or counts["uncertain"]:
            labels.add_row(finding, *map(str, counts.values()))
    named = f" of {account.patients} patients" if account.patients else ""
    console.print("", f"label files: {account.rows} films{named}", labels, "", sep="\n")
    for line in account.lines():
        console.print(f"labels: {line}", markup=False)


# --------------------------------------------------------------------------------------------------------------- doctor


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
        return Check("ray", True, f"starts here; RAY_AUTH_MODE {mode}")
    open_cluster = mode != "token"
    warning = "; token authentication is off: whoever reaches the cluster runs code on it" if open_cluster else ""
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
    lacking = "is not writable: a Ray that starts here gets a token of its own"
    found = "is writable" if os.access(home, os.W_OK) else lacking
    return Check("home", True, f"{home} {found}")


def _data(job: Job) -> Check:
    if job.is_phantom:
        return Check("data", True, "generated")
    gone = open_roots(job.data.root).missing()
    found = f"{gone[0]} is not there" if gone else f"{', '.join(job.data.roots)} is there"
    return Check("data", not gone, found)
