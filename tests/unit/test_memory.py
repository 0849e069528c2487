"""What was freed between two stages is no longer held when the next one begins."""

import ctypes
import subprocess
import sys

import pytest

SCRIPT = """
from pathlib import Path

import pyarrow as pa

from pneumo_batch import memory


def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


before = held()
texts = [bytes(2000) for _ in range(50_000)]  # too small to be mapped one by one, too large for Python's own arenas
table = pa.table({"id": [f"{number:0100}" for number in range(500_000)]})
full, last = held(), texts[-1]  # which keeps the heap from shrinking by itself
del texts, table
memory.give_back()
print(before, full, held())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_what_was_freed_goes_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    before, full, after = map(float, done.stdout.split())
    assert full - before > 140  # MiB: 95 of texts, 48 of the table
    assert after - before < 40
