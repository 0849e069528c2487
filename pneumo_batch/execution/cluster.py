"""The Ray cluster a run works on: joined or started here, and what it has."""

import contextlib
import errno
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from pneumo_batch import terminal
from pneumo_batch.errors import JobError, root_cause
from pneumo_batch.execution import places, quiet
from pneumo_batch.job import schema
from pneumo_batch.rundir import locations
from pneumo_batch.rundir.layout import RECORD
from pneumo_batch.rundir.reader import Run

# Read by Ray when it is imported or starts its workers.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon a finished training is noticed
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # the hook would start every worker anew under uv
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Of a task that the memory monitor killed, each after a longer wait, five minutes in all; Ray's default has no end.
    "RAY_task_oom_retries": "10",
}
# One process less of those beside workers that train together, on a machine that no cloud takes back.
_LOCAL_ENVIRONMENT = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}
# Reading and writing tasks of Ray Data need CPUs beside a pool that takes them all: without these it hangs silently.
SPARE_CPUS = 2
_OBJECT_STORE_SHARE = 0.25
_START_SECONDS = 300.0
_TOO_LATE = "Ray did not start here in time: the machine may be busy; run the command again"
_TOO_LITTLE_MEMORY = "too little memory: lower data.image_size, cluster.trainings or cluster.actors, or end other work"
_TOO_LITTLE_GPU_MEMORY = (
    "too little GPU memory: let fewer share a GPU (raise cluster.gpus_per_training and cluster.gpus_per_actor), or "
    "lower train.batch_size"
)
T = TypeVar("T")
_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # cgroup v2: microseconds of CPU time in a period, or "max"


@dataclass(frozen=True)
class Node:
    """What one machine offers to computing: logical CPUs (spare ones left out), GPUs, bytes of memory."""

    cpus: int
    gpus: float
    memory: float

    def room(self, cpus: float, gpus: float, memory: float) -> int:
        """How many workers that need so much of each fit here; 0 means that it is not asked for."""
        needs = ((self.cpus, cpus), (self.gpus, gpus), (self.memory, memory))
        return int(min(round(has / need, 6) for has, need in needs if need))


@dataclass(frozen=True)
class Resources:
    """What the cluster offers, machine by machine: a worker has to fit on one of them, or Ray waits for ever."""

    nodes: tuple[Node, ...]

    @property
    def cpus(self) -> int:
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        return sum(node.gpus for node in self.nodes)

    @property
    def memory(self) -> float:
        return sum(node.memory for node in self.nodes)

    def room(self, cpus: float = 0, gpus: float = 0, memory: float = 0) -> int:
        """How many workers that need so much of each fit side by side."""
        return sum(node.room(cpus, gpus, memory) for node in self.nodes)

    def cpus_each(self, workers: int, gpus: float = 0, memory: float = 0) -> int:
        """The most CPUs that each of so many workers can have for all to fit side by side; 1 where they do not."""
        most = max(node.cpus for node in self.nodes)
        return next((cpus for cpus in range(most, 1, -1) if self.room(cpus, gpus, memory) >= workers), 1)


@contextlib.contextmanager
def session(cluster: schema.Cluster) -> Iterator[Resources]:
    """Join the job's cluster, or start one here for as long as the block runs.

    An interruption leaves Ray connected for the process to end with: threads that wait for a training are still there,
    and the first of them to ask anything of a Ray that was shut down would end the process its own way.
    Raises JobError when nothing answers at the address, OSError when memory did not do for a task.
    """
    local = cluster.address == "local"
    for name, value in {**_ENVIRONMENT, **(_LOCAL_ENVIRONMENT if local else {})}.items():
        os.environ.setdefault(name, value)
    import ray

    with contextlib.nullcontext() if ray.is_initialized() else _connection(cluster.address):
        _quiet()
        with told_memory():
            yield resources(local)


def starts_here(cluster: schema.Cluster) -> bool:
    """Whether `session` will start Ray on this machine; in a notebook it may run already, here or elsewhere."""
    import ray

    return cluster.address == "local" and not ray.is_initialized()


def here() -> Resources:
    """At most what Ray will offer once it has been started here; asking wakes no GPU."""
    import torch

    return Resources((Node(usable_cpus(), torch.cuda.device_count(), psutil.virtual_memory().total),))


@contextlib.contextmanager
def told_memory() -> Iterator[None]:
    """Raise OSError, in a line that says what to lower, where memory of a machine or of a GPU did not do for a task."""
    import ray

    try:
        yield
    except ray.exceptions.OutOfMemoryError as error:
        raise OSError(errno.ENOMEM, f"{_TOO_LITTLE_MEMORY}: {str(error).splitlines()[0]}") from error
    except ray.exceptions.RayError as error:
        cause = root_cause(error)
        if type(cause).__qualname__ != "OutOfMemoryError":  # torch's, which only what uses a GPU imports
            raise
        raise OSError(errno.ENOMEM, f"{_TOO_LITTLE_GPU_MEMORY}: {str(cause).splitlines()[0]}") from error


@contextlib.contextmanager
def _connection(address: str) -> Iterator[None]:
    import ray

    with quiet.filtered():
        with _own_signals(), _deadline(_START_SECONDS):
            _connect(address)
        interrupted = False
        try:
            yield
        except BaseException as error:
            interrupted = not isinstance(error, Exception)
            raise
        finally:
            if not interrupted:
                ray.shutdown()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself and would end the process before the run has noted why."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """End this process when the block takes longer: Ray can wait for its own processes for ever, deaf to signals.

    What a block that hangs had started ends with this process; the record says "running", as after a crash.
    """

    def end() -> None:
        terminal.say(f"pneumo-batch: {_TOO_LATE}", level="error")
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _connect(address: str) -> None:
    import ray

    if address == "local":
        _start()
        return
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, TimeoutError, ValueError) as error:
        raise JobError(f"cluster.address {address!r}: {str(error).splitlines()[0]}") from error


def _start() -> None:
    """Start Ray here; once more where the machine was too busy to start its processes in the time Ray gives them."""
    import ray

    folder = places.temporary_folder()
    if secret := places.token():
        os.environ["RAY_AUTH_TOKEN"] = secret
    for last in (False, True):
        try:
            ray.init(
                address="local",
                _temp_dir=folder,
                num_cpus=usable_cpus() + SPARE_CPUS,
                include_dashboard=False,
                object_store_memory=_object_store_bytes(),
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
            return
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            if last:
                raise TimeoutError(errno.ETIMEDOUT, _TOO_LATE) from error
            ray.shutdown()


def _quiet() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False  # the run shows its own, alike for every stage
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # its own wrapper loses on the way here what a task has found
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors reach us as exceptions: once is enough
    logging.getLogger("ray.train").setLevel(logging.ERROR)


def usable_cpus() -> int:
    """CPUs this process may use: those it may run on, up to the limit of its container."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cpus, _container_cpus(_CPU_LIMIT) or cpus)


def _container_cpus(limit: Path) -> int | None:
    """The limit on CPU time that a pod or container has; a machine with 64 CPUs still shows it all of them."""
    if not limit.exists():
        return None
    quota, period = limit.read_text().split()
    return None if quota == "max" else max(1, int(quota) // int(period))


def _object_store_bytes() -> int:
    memory = psutil.virtual_memory().available
    with contextlib.suppress(OSError):
        memory = min(memory, 4 * psutil.disk_usage("/dev/shm").free)  # noqa: S108 - where Ray keeps it
    return max(int(memory * _OBJECT_STORE_SHARE), 100 * 2**20)


def check_shared(run: Run) -> None:
    """Raise JobError for a node that does not see the run directory: what it writes there would be lost.

    An object store is asked for from every node: credentials of this machine are not those of the cluster's.
    """
    import ray

    if len([node for node in ray.nodes() if node["Alive"]]) < 2 and run.store.is_local:
        return
    blind = [node for node, sees in on_every_node(_sees, locations.absolute(run.path)) if not sees]
    if blind:
        hint = "use shared storage or a URI" if run.store.is_local else "it needs the credentials, too"
        raise JobError(f"{run.path}: not visible from {blind[0]}, a node of the cluster: {hint}")


def on_every_node(ask: Callable[[str], T], given: str) -> list[tuple[str, T]]:
    """What a function answers on each machine of the cluster, beside its name."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]]
    there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    task = ray.remote(num_cpus=0, max_retries=1)(ask)
    answers = ray.get([task.options(scheduling_strategy=one).remote(given) for one in there])
    return list(zip([node["NodeManagerHostname"] for node in nodes], answers, strict=True))


def _sees(path: str) -> bool:
    try:
        return Run(path).store.exists(RECORD)
    except OSError:
        return False


def resources(local: bool) -> Resources:
    """Of the cluster as it is now. Where nothing can compute yet, as before an autoscaler's first worker, one CPU."""
    import ray

    totals = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    spare = SPARE_CPUS if local else 1
    nodes = [
        Node(max(0, int(total.get("CPU", 0)) - spare), total.get("GPU", 0.0), total.get("memory", 0.0))
        for total in totals
    ]
    if not any(node.cpus for node in nodes):
        nodes = [Node(1, sum(node.gpus for node in nodes), sum(node.memory for node in nodes))]
    return Resources(tuple(nodes))
