"""What a machine offers to a run."""

import os

import pytest

from pneumo_batch.stages import cluster


@pytest.mark.parametrize(
    ("content", "expected"),
    [("max 100000\n", 64), ("400000 100000\n", 4), ("50000 100000\n", 1), ("9900000 100000\n", 64), (None, 64)],
    ids=["no limit", "four", "half a CPU", "more than there are", "no cgroup v2"],
)
def test_a_containers_limit_counts_and_not_the_machine(tmp_path, monkeypatch, content, expected):
    limit = tmp_path / "cpu.max"
    if content is not None:
        limit.write_text(content)
    monkeypatch.setattr(cluster, "_CPU_LIMIT", limit)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert cluster.usable_cpus() == expected
