"""Ray's worker processes as forks of one that has imported torch and more: importing is half of what a small run costs.

Ray starts this file instead of its own `default_worker.py`, and it hands arguments, environment and output over to a
server, which forks a process that goes on with Ray's file; without a server it goes on itself. Ray is imported after
the fork: its connections, and the random numbers that its ids are made of, would not survive one.
"""

import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_ADDRESS = "FORKED_WORKERS_ADDRESS"  # the variable that names the server's socket
_RAYS_FILE = "FORKED_WORKERS_FILE"  # and the one that names the file whose place this one takes
_IMPORTED = (
    *("click", "fsspec", "google.protobuf", "jsonschema", "psutil", "pyarrow.dataset", "requests", "rich", "yaml"),
    *("pandas", "PIL.Image", "pyarrow.fs", "scipy.ndimage", "scipy.stats", "skimage.metrics", "torch._dynamo"),
    "pneumo_batch.core.attribution.explainer",
    "pneumo_batch.core.models.checkpoints",
    "pneumo_batch.core.models.evaluation",
    "pneumo_batch.core.models.training",
    "pneumo_batch.core.randomization.smoothing",
    "pneumo_batch.core.similarity.several_targets",
    "pneumo_batch.job.jobfile",
    "pneumo_batch.rundir.writer",
)
_ARROWS_ALLOCATOR = "jemalloc_bg_thd\n"  # the thread of another process, which knows how to be forked


def install(patched: "pytest.MonkeyPatch", ends: contextlib.ExitStack) -> None:
    """A Ray cluster that this process starts while `patched` holds forks its workers; the server ends with `ends`.

    Only on Linux: elsewhere libraries start threads that a fork would not have.
    """
    if sys.platform != "linux":
        return
    from ray._private.parameter import RayParams

    folder, complete = ends.enter_context(tempfile.TemporaryDirectory(prefix="pb")), RayParams.update_if_absent

    def update_if_absent(params, **paths):
        if "worker_path" in paths:
            os.environ[_RAYS_FILE] = paths["worker_path"]
            paths["worker_path"] = __file__
            server = _server(os.environ[_ADDRESS])
            ends.callback(server.wait)
            ends.callback(server.kill)
        complete(params, **paths)

    patched.setenv(_ADDRESS, str(Path(folder, "socket")))
    patched.setenv(_RAYS_FILE, "")
    patched.setattr(RayParams, "update_if_absent", update_if_absent)


def _server(address):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)  # whoever asks while it is importing waits
        words = [sys.executable, "-P", __file__, "serve", str(listening.fileno())]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # read when libraries are loaded
        return subprocess.Popen(words, pass_fds=[listening.fileno()], stdin=subprocess.DEVNULL, env=environment)


def _serve(listening) -> None:
    for name in _IMPORTED:
        importlib.import_module(name)
    assert "ray" not in sys.modules
    names = [thread.read_text() for thread in Path("/proc/self/task").glob("*/comm")]
    assert set(names) <= {Path("/proc/self/comm").read_text(), _ARROWS_ALLOCATOR}, (
        f"{names}: a fork has one thread only"
    )
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for workers
    while True:
        asked, outputs = _received(listening)
        if not os.fork():
            listening.close()
            _go_on_as_worker(outputs, **asked)
        for output in outputs:
            os.close(output)


def _received(listening):
    """What a process that Ray has started asks for, and where the output of a worker in its place is to go."""
    connection, _ = listening.accept()
    with connection:
        said, outputs, _, _ = socket.recv_fds(connection, 1 << 16, 2)
        while more := connection.recv(1 << 16):
            said += more
    return json.loads(said), outputs


def _go_on_as_worker(outputs, words, environment, folder) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, output in enumerate(outputs, start=1):
        os.dup2(output, number)
        os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [environment[_RAYS_FILE], *words]
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit()


def _ask() -> None:
    asked = {"words": sys.argv[1:], "environment": dict(os.environ), "folder": str(Path.cwd())}
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(os.environ[_ADDRESS])
        except OSError:  # of a server that found that it cannot be forked, and has said why
            os.execv(sys.executable, [sys.executable, os.environ[_RAYS_FILE], *sys.argv[1:]])
        said = json.dumps(asked).encode()
        connection.sendall(said[socket.send_fds(connection, [said], [1, 2]) :])


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        with socket.socket(fileno=int(sys.argv[2])) as opened:
            _serve(opened)
    else:
        _ask()
