"""Every bar of the project as a ratio with its peer, measured in one go on this machine: `make bench`.

Prints a Markdown table and writes `bench/results/<machine>.json`. Nothing here asserts a time.
"""

import functools
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench_attribution import bench_integrated_gradients
from bench_similarity import bench_similarity
from bench_stages import bench_demo, bench_stages

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"


def machine() -> str:
    """The processor and how many of it there are, as a file name."""

    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":")[1] for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    cleaned = "".join(letter if letter.isalnum() else " " for letter in name.replace("(R)", "")).split()
    return "-".join([*cleaned, str(os.cpu_count())]).lower()


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| what | ratio | bar | ours | peer | unit |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        mark = "" if row["met"] else " (not met)"
        numbers = f"{row['ratio']:.2f}{mark} | {row['bar']:g} | {row['ours']:.3g} | {row['peer']:.3g}"
        lines.append(f"| {row['name']} | {numbers} | {row['unit']} |")
    return "\n".join(lines)


def main() -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{machine()}.json"
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        parts = (
            bench_similarity,
            bench_integrated_gradients,
            functools.partial(bench_demo, Path(folder)),
            functools.partial(bench_stages, Path(folder)),
        )
        for part in parts:
            for row in part():
                rows.append(row)
                path.write_text(json.dumps(rows, indent=2) + "\n")  # a part that fails loses no other's figures
                sys.stderr.write(f"{row['name']}: {row['ratio']:.2f} of {row['bar']:g}\n")
    sys.stdout.write(f"{table(rows)}\n\n{path}\n")


if __name__ == "__main__":
    main()
