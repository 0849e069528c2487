"""The command as scripts see it, in a process of its own."""

import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pneumo_batch import cli

# What most commands import, which takes longer than what they do: a process that has it is forked for each.
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["torch", "ray.data", "pandas", "scipy.stats", "pneumo_batch.cli"])


def command(*arguments):
    """Its words, for a process that a test starts itself."""
    return [sys.executable, "-m", "pneumo_batch.cli", *map(str, arguments)]


def call(*arguments, cwd=None):
    """What a command that does not start Ray leaves and says, as `subprocess.run` tells it."""
    words = list(map(str, arguments))
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdout", "stderr")]
        process = _FORKED.Process(target=_main, args=(words, cwd or Path.cwd(), dict(os.environ), streams))
        process.start()
        process.join()
        said = [stream.read_text(encoding="utf-8") for stream in streams]
    return subprocess.CompletedProcess(words, process.exitcode, *said)


def _main(words, cwd, environment, streams):
    for number, stream in enumerate(streams, start=1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["pneumo-batch", *words]
    cli.main()


def one_line(result):
    """The only line on stderr."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("pneumo-batch: ")
    return lines[0]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(condition, process=None):
    deadline = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it did not get there"
        time.sleep(0.2)
