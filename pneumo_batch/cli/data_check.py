"""`data check` looks at a folder of images. It changes nothing."""

import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from pneumo_batch import terminal
from pneumo_batch.core.data import audit as auditing
from pneumo_batch.core.data import audit_lines, manifest
from pneumo_batch.core.data.audit import Audit
from pneumo_batch.core.data.formats.account import Account
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import DataError
from pneumo_batch.execution import cluster, local_pool
from pneumo_batch.job.schema import Data
from pneumo_batch.rundir.locations import open_roots
from pneumo_batch.stages import listing, regions


def audit(data: Data) -> Audit:
    """Open every image of a data set and report what is wrong with it. Raises DataError when there is none."""
    images = open_roots(data.root)
    if gone := images.missing():
        if Path(gone[0]).is_file():
            raise DataError(
                f"{gone[0]}: a file, not a folder; for a list of images: data check ROOT --manifest {gone[0]}"
            )
        raise DataError(f"{gone[0]}: no such folder")
    found = listing.of_data(data, images)
    rows, rejected = _inspected(found.listing, images)
    audited = auditing.audit(rows, rejected, found.listing, passed_over=found.passed_over, account=found.account)
    outlined = regions.of_images(data, images, found, rows)
    unfit = [outlined.unfit] if outlined.unfit else []
    too_many = audit_lines.too_many_rejected(rejected, found.listing.num_rows, data.max_bad)
    stops = [f"a run with these images stops: {too_many}"] if too_many else []
    return dataclasses.replace(
        audited,
        regions=list(outlined.lines),
        errors=[*audited.errors, *stops],
        warnings=[*audited.warnings, *unfit, *_missing_splits(found.listing)],
    )


def _missing_splits(listing: pa.Table) -> list[str]:
    """A job may do with less, such as one that brings its models."""
    there = listing["split"].unique().to_pylist()
    missing = [split for split in ("train", "test") if split not in there]
    return [f"no images in {' and '.join(missing)}: the default job needs train and test"] if missing else []


def _inspected(listing: pa.Table, images: Roots) -> tuple[pa.Table, pa.Table]:
    """As `manifest.inspect_batch`, in processes of their own: a film that ends one of them is rejected."""
    inspect = functools.partial(manifest.inspect_batch, roots=images)
    parts = local_pool.each_block(listing, inspect, cpus=cluster.usable_cpus())
    rows, rejected = (pa.concat_tables(tables) for tables in zip(*parts, strict=True))
    return rows, rejected


def show(found: Audit, root: str) -> None:
    """The audit as tables and lines on stdout, what is wrong last."""
    console = terminal.console()
    console.print(f"{root}: {found.images} images, {sum(found.quarantined.values())} unreadable")
    for table in _tables(found):
        console.print("", table, sep="\n")
    console.print()
    _show_patients_and_copies(console, found)
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
        console.print("no problems found")


def _tables(found: Audit) -> list[Table]:
    counts = (
        (split, name, subtype, str(images))
        for split, by_class in found.counts.items()
        for name, by_subtype in by_class.items()
        for subtype, images in by_subtype.items()
    )
    findings = (
        (split, name, *map(str, labels.values()))
        for split, by_finding in found.findings.items()
        for name, labels in by_finding.items()
    )
    sizes = (
        (name, quantity, *(f"{value:g}" for value in values.values()))
        for name, by_quantity in found.sizes.items()
        for quantity, values in by_quantity.items()
    )
    modes = ((name, mode, str(images)) for name, by_mode in found.modes.items() for mode, images in by_mode.items())
    tables = [
        _filled(("split", "class", "subtype", "images"), counts),
        _filled(("split", "finding", "with", "without", "unknown"), findings),
        _filled(("class", "", "least", "median", "most"), sizes),
        _filled(("class", "mode", "images"), modes),
    ]
    return [table for table in tables if table.row_count]


def _filled(headers: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    table = terminal.table(*headers)
    for row in rows:
        table.add_row(*row)
    return table


def _show_patients_and_copies(console: Console, found: Audit) -> None:
    patients = ", ".join(f"{split} {count}" for split, count in found.patients.items())
    rules = ", ".join(f"{rule} {count}" for rule, count in found.patient_rules.items())
    duplicates = ", ".join(f"{name} {count}" for name, count in found.duplicates.items())
    console.print(f"patients: {patients}; in test and also in train or val: {found.patient_overlap}")
    console.print(f"patients identified by: {rules}")
    console.print(f"byte-identical: {duplicates}")
    for splits, films in found.copies.items():
        console.print(f"the same film in another size or encoding: {films} of {splits}")


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
