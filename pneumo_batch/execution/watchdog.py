"""Who works on which image: so that one which kills its worker, or never ends, is found and left out.

A worker says when a batch begins and ends. When one begins that has not ended, its worker died, and Ray has given it to
another one: that one names every image by itself, and leaves out an image that two workers died of. Where a batch takes
long, the image that its worker sits on is read on the worker's machine (turns.py); after too long the worker is killed,
and the image is left out when the batch comes again.
"""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pneumo_batch.errors import RejectedImage
from pneumo_batch.execution import culprits, turns


@dataclass(frozen=True)
class Place:
    """A process of the cluster."""

    node_id: str
    pid: int


class Watching(Protocol):
    """What is said to a watchdog, in whatever process it is kept."""

    def batch_started(self, image_ids: list[str], place: Place) -> bool:
        """True where a worker died of the batch before: its images are to be begun one by one."""

    def image_started_alone(self, image_id: str) -> str | None:
        """Begin one image of such a batch, or learn why it is to be left out."""

    def image_finished_alone(self, image_id: str) -> None: ...

    def batch_finished(self, image_ids: list[str], place: Place) -> None: ...

    def late(self, seconds: float) -> list[tuple[Place, list[str]]]:
        """Who has worked on one batch for longer, and on which."""

    def leave_out(self, image_id: str, place: Place, reason: str) -> None:
        """From now on nobody turns to this image."""

    def forget(self, place: Place) -> None:
        """A worker that is no longer there."""


class Watchdog:
    """`Watching` where it is kept: in the actor that workers report progress to (board.py)."""

    def __init__(self) -> None:
        self._batches: Counter[str] = Counter()  # by image: batches started and not finished
        self._alone: Counter[str] = Counter()  # by image: started by itself and not finished
        self._left_out: dict[str, str] = {}
        self._busy: dict[Place, tuple[list[str], float]] = {}

    def batch_started(self, image_ids: list[str], place: Place) -> bool:
        suspicious = any(self._batches[image_id] or image_id in self._left_out for image_id in image_ids)
        self._batches.update(image_ids)
        self._busy[place] = image_ids, time.monotonic()
        return suspicious

    def image_started_alone(self, image_id: str) -> str | None:
        if self._alone[image_id] >= culprits.DEATHS:
            self._left_out[image_id] = culprits.died(culprits.DEATHS + 1)
        self._alone[image_id] += 1
        return self._left_out.get(image_id)

    def image_finished_alone(self, image_id: str) -> None:
        del self._alone[image_id]

    def batch_finished(self, image_ids: list[str], place: Place) -> None:
        self._busy.pop(place, None)
        for image_id in image_ids:
            del self._batches[image_id], self._alone[image_id]

    def late(self, seconds: float) -> list[tuple[Place, list[str]]]:
        now = time.monotonic()
        return [(place, image_ids) for place, (image_ids, since) in self._busy.items() if now - since > seconds]

    def leave_out(self, image_id: str, place: Place, reason: str) -> None:
        self._left_out[image_id] = reason
        self._busy.pop(place, None)

    def forget(self, place: Place) -> None:
        self._busy.pop(place, None)


# --------------------------------------------------------------------------------------------------------- on a worker


class WatchedBatch:
    """One batch of a worker, which notes at every image that it turns to it."""

    def __init__(self, watchdog: Watching, image_ids: list[str]):
        self._watchdog = watchdog
        self._image_ids = image_ids
        self._numbers = {image_id: number for number, image_id in enumerate(image_ids)}
        self._place = Place(ray.get_runtime_context().get_node_id(), os.getpid())
        self._current: str | None = None
        self._turn = turns.of_this_process()
        self._turn.to(turns.NONE)
        self._suspicious = watchdog.batch_started(image_ids, self._place)

    def begin(self, image_id: str) -> None:
        """Turn to an image, and away from the one before. Raises RejectedImage where it has to be left out."""
        if self._suspicious:
            if self._current:
                self._watchdog.image_finished_alone(self._current)
            reason = self._watchdog.image_started_alone(image_id)
            self._current = image_id
            if reason:
                raise RejectedImage(reason)
        self._turn.to(self._numbers[image_id])

    def finish(self) -> None:
        self._turn.to(turns.NONE)
        self._watchdog.batch_finished(self._image_ids, self._place)


@contextlib.contextmanager
def batch(watchdog: Watching, image_ids: list[str]) -> Iterator[WatchedBatch]:
    """A batch that is being worked on; it is finished too where the block raises, for then no worker died."""
    watched = WatchedBatch(watchdog, image_ids)
    try:
        yield watched
    finally:
        watched.finish()


# -------------------------------------------------------------------------------------------------------- on the driver


@contextlib.contextmanager
def watch(watchdog: Watching, seconds: float) -> Iterator[None]:
    """While the block runs, kill workers that sit on one image for longer than `seconds`; Ray starts new ones."""
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(watchdog, seconds, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(watchdog: Watching, seconds: float, stop: threading.Event) -> None:
    while not stop.wait(min(seconds / 4, 15.0)):
        with contextlib.suppress(ray.exceptions.RayError):
            for place, image_ids in watchdog.late(seconds):
                there = NodeAffinitySchedulingStrategy(place.node_id, soft=False)
                _look_at.options(scheduling_strategy=there).remote(watchdog, place, image_ids, seconds)


@ray.remote(num_cpus=0, max_retries=0)
def _look_at(watchdog: Watching, place: Place, image_ids: list[str], seconds: float) -> None:
    """Kill a worker that hangs on an image; one that is gone already had another reason, and its image stays."""
    if not psutil.pid_exists(place.pid):
        watchdog.forget(place)
        return
    number = turns.stuck(place.pid, seconds)
    if number is None:  # the batch is long, and no image of it
        return
    # first, so that nobody turns to the image again in between
    watchdog.leave_out(image_ids[number], place, f"{culprits.stuck(seconds)} (cluster.stall_seconds)")
    with contextlib.suppress(ProcessLookupError):
        os.kill(place.pid, signal.SIGKILL)
