"""What a row of a listing costs until it is a row of the manifest: processor and memory by step, without images.

    python tests/bench/bench_rows.py                  # 1 000 000 rows
    python tests/bench/bench_rows.py 100000 FOLDER list   # of folders, nih and list; the files listed stay below FOLDER

The files that are listed are empty and never opened; what opening them tells (size, hash, gray values) is drawn at
random, in the tables that the tasks of the stage index give back. Prints a table and asserts nothing.
"""

import contextlib
import csv
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pneumo_batch.core import table_columns
from pneumo_batch.core.data import audit, splits
from pneumo_batch.core.data.manifest import Inventory
from pneumo_batch.job import jobfile, schema
from pneumo_batch.rundir.locations import open_roots
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import incremental, index, newcomers, survey
from pneumo_batch.stages.stage import Survey

ROWS = 1_000_000
FILMS_OF_A_PATIENT = 30
CLASSES = ("NORMAL", "PNEUMONIA")
NIH = {"NORMAL": "No Finding", "PNEUMONIA": "Pneumonia"}
_PART = 256  # rows that a task of the stage index gives back


class Meter:
    """Prints a row of the table for each step: seconds of processor, and the largest memory while it ran."""

    def __init__(self, rows: int):
        self.rows = rows
        print(f"{rows} rows\n\n| step | s of processor | us a row | peak MB | MB after it |")
        print("| --- | --- | --- | --- | --- |", flush=True)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        _forget_peak()
        began = time.process_time()
        yield
        seconds = time.process_time() - began
        peak, now = _status("VmHWM"), _status("VmRSS")
        print(f"| {name} | {seconds:.1f} | {1e6 * seconds / self.rows:.1f} | {peak:.0f} | {now:.0f} |", flush=True)


def _forget_peak() -> None:
    """Linux begins to look for the largest memory anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


# ---------------------------------------------------------------------------------------------------- what is listed


def write_listing(folder: Path, rows: int) -> None:
    """Empty files as folders of classes, as NIH ChestX-ray14 names them, a list of them and NIH's label file."""
    root = folder / "films"
    for split in ("train", "test"):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
    with (folder / "list.csv").open("w") as listed, (root / "Data_Entry_2017.csv").open("w") as entries:
        by_list, by_set = csv.writer(listed), csv.writer(entries)
        by_list.writerow(["path", "label", "split", "patient_id", "view", "sex", "age", "site"])
        by_set.writerow(
            ["Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender", "View Position"]
        )
        for number in range(rows):
            patient, film = divmod(number, FILMS_OF_A_PATIENT)
            split, name = ("test" if patient % 8 == 0 else "train"), CLASSES[number % 3 == 0]
            file, age = f"{patient:08}_{film:03}.png", 20 + patient % 60
            path = f"{split}/{name}/{file}"
            os.close(os.open(root / path, os.O_CREAT | os.O_WRONLY))
            by_list.writerow([path, name, split, patient, ("PA", "AP")[number % 2], "MF"[patient % 2], age, "one"])
            by_set.writerow([file, NIH[name], patient, age, "MF"[patient % 2], ("PA", "AP")[number % 2]])


def jobs(folder: Path) -> dict[str, schema.Job]:
    """The same films as folders, as a published set and as a list."""
    root = str(folder / "films")
    data = {
        "folders": {"root": root},
        "nih": {"root": root, "format": "nih", "findings": ["Pneumonia"]},
        "list": {"root": root, "manifest": str(folder / "list.csv")},
    }
    return {name: jobfile.parse({"name": "bench", "data": values}, "bench") for name, values in data.items()}


def opened(listing: pa.Table) -> Iterator[pa.Table]:
    """What the tasks of the stage index give back of a listing, part by part, with facts drawn at random."""
    rng = np.random.default_rng(0)
    look_C = rng.integers(60, 190, 64)
    found = table_columns.labelled_as(index.INSPECTED, listing)
    for start in range(0, listing.num_rows, _PART):
        part = listing.slice(start, _PART)
        yield pa.table([_column(field, part, look_C, rng) for field in found], schema=found)


def _column(field: pa.Field, part: pa.Table, look_C: np.ndarray, rng: np.random.Generator) -> pa.Array:
    count = part.num_rows
    drawn = {
        "width": lambda: rng.integers(900, 3000, count),
        "height": lambda: rng.integers(900, 3000, count),
        "mode": lambda: ["L"] * count,
        "sha256": lambda: [rng.bytes(32).hex() for _ in range(count)],
        "gray_low": lambda: rng.integers(0, 20, count),
        "gray_high": lambda: rng.integers(200, 255, count),
        "cells": lambda: [(look_C + rng.integers(-60, 60, 64)).astype(np.uint8).tobytes() for _ in range(count)],
        "hash": lambda: [rng.bytes(32) for _ in range(count)],
    }
    if field.name in drawn:
        return pa.array(drawn[field.name](), field.type)
    return part[field.name].combine_chunks() if field.name in part.column_names else pa.nulls(count, field.type)


# -------------------------------------------------------------------------------------------------------- the steps


def measure(folder: Path, meter: Meter, formats: Sequence[str]) -> None:
    for name, job in jobs(folder).items():
        if name not in formats:
            continue
        with meter.step(f"survey: list and fingerprint, {name}"):
            found = survey.survey(job)
        with meter.step(f"index: list, {name}"):
            inventory = index.discover(job, open_roots(job.data.root))
    _index(folder, job, found, inventory, meter)


def _index(folder: Path, job: schema.Job, found: Survey, inventory: Inventory, meter: Meter) -> None:
    run = RunWriter(tempfile.mkdtemp(dir=folder))
    run.open(job, found.fingerprint)
    with meter.step("(the facts, drawn)"):
        parts = list(opened(inventory.listing))
    with meter.step("index: put together what was opened"):
        rows, rejected = index.gathered(parts, inventory.listing)
    del parts
    with meter.step("index: carve validation"):
        rows = splits.carve_validation(rows, job.data.val_fraction, job.data.split_seed)
    with meter.step("index: audit"):
        audit.audit(rows, rejected, passed_over=inventory.passed_over)
    with meter.step("index: write the manifest"):
        index.write_manifest(run, rows)
        run.store.write_table("quarantine.parquet", rejected)
        run.commit_table("manifest")
        run.stage("index", status="complete", seconds=1.0, counts={"images": rows.num_rows})
    size = sum(run.store.size(name) for name in run.store.files("manifest"))
    print(f"| (files of the manifest: {len(run.store.files('manifest'))}, {size / 1e6:.0f} MB) | | | | |")
    del rows
    _read(job, run, inventory, meter)


def _read(job: schema.Job, run: RunWriter, inventory: Inventory, meter: Meter) -> None:
    with meter.step("index: count against the listing"):
        index.verify(job, run)
    with meter.step("every later stage: read the manifest"):
        known = run.manifest_table()
    with meter.step("a pass over growing data: what joined"):
        found = newcomers.find(inventory.listing, known, job, run.images)
        list(incremental._warnings(inventory.listing, known, incremental._rejected(run), found.moved, job))
    del known
    with meter.step("Run.manifest(), pandas"):
        Run(run.path).manifest()


def main(rows: int = ROWS, place: str = "", *formats: str) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(place or stack.enter_context(tempfile.TemporaryDirectory()))
        if not (folder / "list.csv").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_listing(folder, rows)
        measure(folder, Meter(rows), formats or list(jobs(folder)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
