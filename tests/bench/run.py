"""Every bar of the project as a ratio with its peer, measured in one go on this machine: `make bench`.

Prints a Markdown table and writes `bench/results/<machine>.json`. Nothing here asserts a time. One part again:
`python tests/bench/run.py memory`.
"""

import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench_attribution import bench_integrated_gradients
from bench_gpu import bench_gpu
from bench_pixels import bench_pixels
from bench_similarity import bench_similarity
from bench_stages import bench_attribute, bench_demo, bench_memory, bench_train

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"
PARTS = {
    "similarity": lambda _: bench_similarity(),
    "attribution": lambda _: bench_integrated_gradients(),
    "gpu": lambda _: bench_gpu(),
    "demo": bench_demo,
    "attribute": bench_attribute,
    "train": bench_train,
    "pixels": bench_pixels,
    "memory": bench_memory,
}


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


def main(chosen: list[str]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{machine()}.json"
    rows: dict[str, dict[str, Any]] = {}
    if chosen and path.exists():  # the other parts' figures stay
        rows = {row["name"]: row for row in json.loads(path.read_text())}
    for name in chosen or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            for row in PARTS[name](Path(folder)):
                rows[row["name"]] = row
                path.write_text(json.dumps(list(rows.values()), indent=2) + "\n")  # a failure loses no other figures
                sys.stderr.write(f"{row['name']}: {row['ratio']:.2f} of {row['bar']:g}\n")
    sys.stdout.write(f"{table(list(rows.values()))}\n\n{path}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
