"""What workers report to while a stage runs: an actor, and the typed way to it. Light, for every worker imports it."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import ray
from ray.actor import ActorHandle

from pneumo_batch.execution.watchdog import Place, Watchdog

_ANSWER_SECONDS = 30
_POLL_SECONDS = 5
_TELL_SECONDS = 1.0  # a call at every image would cost as much as some images
T = TypeVar("T")
# By connection to Ray, this driver's. The actor ends with its first handle, whoever has found it by a name meanwhile.
_held: dict[str, ActorHandle] = {}


@dataclass(frozen=True)
class TaskState:
    """How much of a task is done, and what is said beside it."""

    done: int = 0
    note: str = ""


class _Kept(Watchdog):
    """Latest state of every task of a stage, and who works on which image. Losing it loses no result."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        super().__init__()
        self._tasks: dict[str, TaskState] = {}

    def add(self, task: str, done: int) -> None:
        before = self._tasks.get(task, TaskState())
        self._tasks[task] = TaskState(before.done + done, before.note)

    def set(self, task: str, done: int, note: str) -> None:
        self._tasks[task] = TaskState(done, note)

    def read(self) -> dict[str, TaskState]:
        return self._tasks


class Board:
    """The way to the actor, for the driver and its workers; a `watchdog.Watching`.

    What nobody waits for is sent off.
    """

    def __init__(self, actor: ActorHandle):
        self._actor = actor

    @classmethod
    def of_driver(cls) -> "Board":
        """The one board of this driver, cleared: a process more for every stage would take a second to start."""
        connection = ray.get_runtime_context().get_worker_id()
        if connection not in _held:
            _held.clear()
            _held[connection] = ray.remote(num_cpus=0, max_restarts=-1)(_Kept).remote()  # type: ignore[assignment]
        board = cls(_held[connection])
        board._actor.clear.remote()
        return board

    def add(self, task: str, done: int) -> None:
        """So much more of a task is done."""
        self._actor.add.remote(task, done)

    def counted(self, task: str, things: Iterable[T]) -> Iterator[T]:
        """The same things; that so many more are done is told once a second, and at the end."""
        untold, last = 0, time.monotonic()
        try:
            for thing in things:
                yield thing
                untold += 1
                if time.monotonic() - last >= _TELL_SECONDS:
                    self.add(task, untold)
                    untold, last = 0, time.monotonic()
        finally:
            if untold:
                self.add(task, untold)

    def set(self, task: str, done: int, note: str = "") -> None:
        """So much of a task is done in all."""
        self._actor.set.remote(task, done, note)

    def read(self) -> dict[str, TaskState]:
        """By task, of those that have begun."""
        return _answer(self._actor.read.remote(), {}, _POLL_SECONDS)

    def batch_started(self, image_ids: list[str], place: Place) -> bool:
        return _answer(self._actor.batch_started.remote(image_ids, place), False)

    def image_started_alone(self, image_id: str) -> str | None:
        return _answer(self._actor.image_started_alone.remote(image_id), None)

    def image_finished_alone(self, image_id: str) -> None:
        self._actor.image_finished_alone.remote(image_id)

    def batch_finished(self, image_ids: list[str], place: Place) -> None:
        self._actor.batch_finished.remote(image_ids, place)

    def late(self, seconds: float) -> list[tuple[Place, list[str]]]:
        return _answer(self._actor.late.remote(seconds), [])

    def leave_out(self, image_id: str, place: Place, reason: str) -> None:
        """Waits until it is known, and raises RayError where it cannot be."""
        ray.get(self._actor.leave_out.remote(image_id, place, reason))

    def forget(self, place: Place) -> None:
        self._actor.forget.remote(place)


def _answer(asked: "ray.ObjectRef[T]", unknown: T, seconds: float = _ANSWER_SECONDS) -> T:
    """`unknown` where the actor is lost, starts again or is too busy: the work is none of that."""
    try:
        return ray.get(asked, timeout=seconds)
    except ray.exceptions.RayError:
        return unknown
