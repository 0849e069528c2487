"""Films in processes of their own: results in order, and whoever ends a process is found."""

import functools
import itertools
import os
import subprocess
import sys

import psutil
import pyarrow as pa
import pytest
from helpers import film_killers
from helpers.paths import HELPERS

from pneumo_batch.execution import local_pool

DIED, STUCK = "the process that worked on it died, 3 times", "no result within 2 s"


def films(*odd, total=150):
    """A table of films, with odd ones in between."""
    ids = [f"{number:03}" for number in range(total)]
    for number, name in zip(itertools.count(total // 3, 5), odd, strict=False):
        ids[number] += name
    return pa.table({"image_id": ids, "more": ["x" * 1000] * total})


def judged(table, work=film_killers.names, cpus=2):
    blocks = local_pool.each_block(table, work, cpus=cpus, seconds=2.0)
    assert not [child for child in psutil.Process().children() if "local_pool" in " ".join(child.cmdline())]
    return list(itertools.chain(*blocks))


@pytest.mark.parametrize("cpus", [1, 3])
def test_all_films_come_back_in_order(cpus):
    table = films()
    assert judged(table, cpus=cpus) == [(name, None) for name in table["image_id"].to_pylist()]


def test_films_that_kill_or_never_end_are_left_out_with_the_reason_and_no_others():
    table = films("dies", "hangs", "dies")
    reasons = {"dies": DIED, "hangs": STUCK}
    assert judged(table) == [(name, reasons.get(name[3:])) for name in table["image_id"].to_pylist()]


def test_a_process_that_is_killed_from_outside_costs_no_film(tmp_path):
    found = judged(films("dies"), functools.partial(film_killers.names, once=tmp_path / "happened"))
    assert {reason for _, reason in found} == {None}
    assert len(found) == 150


SCRIPT = """
import pyarrow as pa
from helpers import film_killers
from pneumo_batch.execution import local_pool
blocks = local_pool.each_block(pa.table({"image_id": ["a", "b-dies"]}), film_killers.names, cpus=1)
print(sum(blocks, []))
"""


@pytest.mark.parametrize("is_file", [True, False])
def test_a_script_need_not_be_made_for_it(is_file, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    line = [sys.executable, *([str(tmp_path / "script.py")] if is_file else [])]
    path = os.pathsep.join([str(HELPERS.parent), str(HELPERS.parent.parent)])
    script = subprocess.run(
        line, input=SCRIPT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert (script.stdout, script.stderr) == (f"[('a', None), ('b-dies', '{DIED}')]\n", "")


def test_an_error_of_the_work_is_raised_as_it_is():
    with pytest.raises(OSError, match="No space left") as found:
        judged(films("fails"))
    assert (found.value.errno, found.value.filename) == (28, "there")


def test_processes_that_cannot_begin_are_no_fault_of_a_film():
    with pytest.raises(ChildProcessError, match="end before the first one"):
        judged(films(), film_killers.Unreadable())
