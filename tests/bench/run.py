"""Every bar of the project as a ratio with its peer, measured in one go on this machine: `make bench`.

Prints a Markdown table and writes `bench/results/<machine>.json`. Nothing here asserts a time.
"""

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
    rows = [*bench_similarity(), *bench_integrated_gradients()]
    with tempfile.TemporaryDirectory() as folder:
        rows += [*bench_stages(Path(folder)), *bench_demo(Path(folder))]
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{machine()}.json"
    path.write_text(json.dumps(rows, indent=2) + "\n")
    sys.stdout.write(f"{table(rows)}\n\n{path}\n")


if __name__ == "__main__":
    main()
