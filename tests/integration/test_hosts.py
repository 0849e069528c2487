"""Two hosts with addresses of their own: network namespaces on one bridge, where this machine permits them."""

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest
from helpers.command import wait_for

from pneumo_batch.rundir.reader import Run

from .test_nodes import JOB, SPY, noted

HEAD, WORKER = "10.213.7.1", "10.213.7.2"


def ip(*arguments):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def hosts():
    """Names of two namespaces, with addresses on one bridge and no way out."""
    tag = uuid.uuid4().hex[:6]
    names, bridge = (f"pb{tag}a", f"pb{tag}b"), f"pb{tag}"
    if not shutil.which("ip") or ip("netns", "add", names[0]).returncode:
        pytest.skip("this machine does not permit network namespaces")
    try:
        ip("netns", "add", names[1])
        steps = [("link", "add", bridge, "type", "bridge"), ("link", "set", bridge, "up")]
        for name, address in zip(names, (HEAD, WORKER), strict=True):
            end = f"{name}v"
            steps += [("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)]
            steps += [("link", "set", end, "master", bridge), ("link", "set", end, "up")]
            steps += [("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")]
            steps += [("-n", name, "link", "set", one, "up") for one in ("eth0", "lo")]
        for step in steps:
            if (result := ip(*step)).returncode:
                pytest.skip(f"this machine does not permit it: ip {' '.join(step)}: {result.stderr.strip()}")
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)
        ip("link", "del", bridge)


def inside(name, *arguments):
    return ["ip", "netns", "exec", name, *arguments]


@pytest.mark.slow
def test_a_run_on_two_hosts_uses_both(hosts, tmp_path):
    (tmp_path / "spy.py").write_text(SPY)
    (tmp_path / "job.toml").write_text(JOB)
    place = tempfile.mkdtemp(prefix="pb", dir="/tmp")
    environment = {**os.environ, "SPY": str(tmp_path), "RAY_AUTH_MODE": "disabled"}
    # Both hosts have this machine's /etc/hosts, where its name is 127.0.0.1: Gloo would wait for itself there.
    environment["GLOO_SOCKET_IFNAME"] = "eth0"
    environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    ray = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus=3", "--disable-usage-stats"]
    ray += ["--object-store-memory=120000000"]
    head = ["--head", f"--node-ip-address={HEAD}", "--port=6379", "--include-dashboard=false", f"--temp-dir={place}"]
    worker = [f"--node-ip-address={WORKER}", f"--address={HEAD}:6379"]
    log = (Path(place) / "log").open("w")
    started = []
    try:
        for name, arguments in zip(hosts, (head, worker), strict=True):
            started += [subprocess.Popen(inside(name, *ray, *arguments), env=environment, stdout=log, stderr=log)]
            count = len(started)
            wait_for(lambda name=name, count=count: alive(hosts[0], environment) == count, started[-1])
        arguments = ["run", str(tmp_path / "job.toml"), "--run-dir", str(tmp_path / "run"), "--address", f"{HEAD}:6379"]
        command = inside(hosts[0], sys.executable, "-m", "pneumo_batch.cli", *arguments)
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        assert Run(tmp_path / "run").record["counts"]["attributed"] == 24
        assert len(set(noted(tmp_path, "gradient"))) == 2
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=60)
        log.close()
        shutil.rmtree(place, ignore_errors=True)


def alive(name, environment) -> int:
    """Nodes that the head knows of."""
    code = "import ray, logging; "
    code += f"ray.init('{HEAD}:6379', log_to_driver=False, logging_level=logging.ERROR); "
    code += "print(sum(node['Alive'] for node in ray.nodes()))"
    result = subprocess.run(
        inside(name, sys.executable, "-c", code), env=environment, capture_output=True, text=True, check=False
    )
    return int(result.stdout or 0)
