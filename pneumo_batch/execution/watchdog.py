"""Both ends of the desk: workers that sign in and out, and the driver that ends the ones that hang."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pneumo_batch.errors import RejectedImage
from pneumo_batch.execution.worklog import Place

_ANSWER_SECONDS = 30


class Guard:
    """What a worker says of one batch."""

    def __init__(self, board: Any, image_ids: list[str]):
        self._board = board
        self._image_ids = image_ids
        self._place = Place(ray.get_runtime_context().get_node_id(), os.getpid())
        self._current: str | None = None
        self._suspicious = bool(self._ask("sign_in", image_ids))

    def _tell(self, method: str, *arguments: Any) -> Any:
        return self._board.desk.remote(method, *arguments)

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            return ray.get(self._tell(method, *arguments), timeout=_ANSWER_SECONDS)
        except ray.exceptions.RayError:
            return None  # the book is lost or starts again; the work is not

    def begin(self, image_id: str) -> None:
        """Turn to an image, and away from the one before. Raises RejectedImage where it has to be left out."""
        if self._suspicious:
            if self._current:
                self._tell("sign_out_alone", self._current)
            reason = self._ask("sign_in_alone", image_id)
            self._current = image_id
            if reason:
                raise RejectedImage(reason)
        self._tell("turn_to", image_id, self._place)

    def close(self) -> None:
        self._tell("sign_out", self._image_ids, self._place)


@contextlib.contextmanager
def batch(board: Any, image_ids: list[str]) -> Iterator[Guard]:
    """Sign a batch in, and out once it is done; a block that raises is signed out too, for it did not die."""
    guard = Guard(board, image_ids)
    try:
        yield guard
    finally:
        guard.close()


@contextlib.contextmanager
def watch(board: Any, seconds: float) -> Iterator[None]:
    """While the block runs, kill workers that sit on one image for longer than `seconds`; Ray starts new ones."""
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(board, seconds, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(board: Any, seconds: float, stop: threading.Event) -> None:
    while not stop.wait(min(seconds / 4, 15.0)):
        with contextlib.suppress(ray.exceptions.RayError):
            for place, image_id in ray.get(board.desk.remote("late", seconds), timeout=_ANSWER_SECONDS):
                there = NodeAffinitySchedulingStrategy(place.node_id, soft=False)
                _end_worker.options(scheduling_strategy=there).remote(board, place, image_id, seconds)


@ray.remote(num_cpus=0, max_retries=0)
def _end_worker(board: Any, place: Place, image_id: str, seconds: float) -> None:
    """Kill a worker that hangs; one that is gone already had another reason, and its image stays."""
    if not psutil.pid_exists(place.pid):
        board.desk.remote("forget", place)
        return
    # first, so that nobody turns to the image again in between
    ray.get(board.desk.remote("leave_out", image_id, place, f"no result within {seconds:g} s (cluster.stall_seconds)"))
    with contextlib.suppress(ProcessLookupError):
        os.kill(place.pid, signal.SIGKILL)
