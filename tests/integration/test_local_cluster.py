"""cluster/local: a head and a worker on this machine, a run on both, and an end that touches nothing else."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from helpers.paths import ROOT

SMALL = ("--num-cpus=2", "--object-store-memory=100000000")
TINY = (
    *("phantom.train=16", "phantom.test=6", "phantom.image_size=64", "train.epochs=1", "train.max_epochs=1"),
    *("train.true_seeds=[0]", "train.random_seeds=[100]", "attribution.integrated_gradients.steps=4"),
    *("attribution.rows_per_file=1", "compare.resamples=100"),
)


@pytest.fixture
def place():
    """A short folder, since sockets lie below it, that is the home and the state of what is started."""
    folder = Path(tempfile.mkdtemp(prefix="pb", dir="/tmp"))
    yield folder
    call("stop.sh", place=folder)
    shutil.rmtree(folder)


def call(script, *arguments, place, **more):
    command = script if isinstance(script, list) else [str(ROOT / "cluster" / "local" / script)]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("RAY_AUTH_", "RAY_ADDRESS"))},
        "HOME": str(place),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PNEUMO_BATCH_RAY_DIR": str(place / "ray"),
        "PYTHONPATH": str(ROOT),
        **more,
    }
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, env=environment)


def free_ports(count):
    with_ports = [socket.socket() for _ in range(count)]
    for opened in with_ports:
        opened.bind(("", 0))
    ports = [opened.getsockname()[1] for opened in with_ports]
    for opened in with_ports:
        opened.close()
    return ports


def below(place):
    """Command lines of processes that name the place."""
    lines = (" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if str(place) in line]


def test_wrong_arguments_and_a_missing_token_are_one_line(place):
    result = call("start.sh", "elsewhere", place=place)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "start.sh: 'elsewhere' is no HEAD_IP:PORT; see --help\n"
    result = call("start.sh", "127.0.0.1:6379", place=place)
    assert result.returncode == 1
    wanted = f"copy the head's {place}/.ray/auth_token here, readable by you alone"
    assert result.stderr == f"start.sh: no token: {wanted}\n"
    assert call("stop.sh", place=place).stdout == "stopped 0\n"


@pytest.mark.slow
def test_head_and_worker_start_run_a_job_and_stop(place):
    port, dashboard, client = free_ports(3)
    ports = (f"--port={port}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}")
    head = call("start.sh", *ports, *SMALL, place=place)
    assert head.returncode == 0, head.stderr
    assert (place / ".ray" / "auth_token").stat().st_mode & 0o077 == 0
    said = dict(line.split(maxsplit=1) for line in head.stdout.splitlines())
    assert said["dashboard"] == f"http://127.0.0.1:{dashboard} (this machine only)"
    address = said["head"]
    assert address.endswith(f":{port}")
    again = call("start.sh", *ports, *SMALL, place=place)
    assert again.returncode == 1
    assert "start.sh: Ray did not start; the whole log is " in again.stderr.splitlines()[-1]
    worker = call("start.sh", address, *SMALL, place=place)
    assert worker.stdout.splitlines()[0] == f"joined {address}", worker.stderr
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{dashboard}/api/jobs/")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((address.split(":")[0], dashboard))
    overrides = [part for value in TINY for part in ("--set", value)]
    run_dir = place / "run"
    command = [sys.executable, "-m", "pneumo_batch.cli", "run", str(ROOT / "jobs" / "demo.toml"), "--json", *overrides]
    said_so = {"RAY_AUTH_MODE": "token"}  # as start.sh says
    result = call(command, "--run-dir", str(run_dir), "--address", address, place=place, **said_so)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["record"]["counts"]["attributed"] == 6
    assert len(list(place.glob("ray/*.handle"))) == 2
    assert call("stop.sh", place=place).stdout == "stopped 2\n"
    assert below(place) == []
