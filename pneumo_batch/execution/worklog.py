"""Who works on which image: so that one which kills its worker, or never ends, is found and left out.

A worker signs a batch in and out. When a batch is signed in that was never signed out, its worker died, and Ray has
given it to another one: that one signs every image in by itself, and leaves out an image that two workers died of. A
worker that sits on one image for too long is killed from outside; its image is left out when the batch comes again.
"""

import time
from collections import Counter
from dataclasses import dataclass

_DEATHS = 2  # one could be the machine's fault


@dataclass(frozen=True)
class Place:
    """A process of the cluster."""

    node_id: str
    pid: int


class Desk:
    """The book that is kept; lives in the actor that workers report progress to."""

    def __init__(self) -> None:
        self._batches: Counter[str] = Counter()  # by image: batches signed in and not out
        self._alone: Counter[str] = Counter()  # by image: signed in by itself and not out
        self._left_out: dict[str, str] = {}
        self._busy: dict[Place, tuple[str, float]] = {}

    def sign_in(self, image_ids: list[str]) -> bool:
        """Begin a batch; True where a worker died of it before."""
        suspicious = any(self._batches[image_id] or image_id in self._left_out for image_id in image_ids)
        self._batches.update(image_ids)
        return suspicious

    def sign_in_alone(self, image_id: str) -> str | None:
        """Begin one image of a suspicious batch, or learn why it is to be left out."""
        if self._alone[image_id] >= _DEATHS:
            self._left_out[image_id] = f"the process that worked on it died, {_DEATHS + 1} times"
        self._alone[image_id] += 1
        return self._left_out.get(image_id)

    def sign_out_alone(self, image_id: str) -> None:
        del self._alone[image_id]

    def sign_out(self, image_ids: list[str], place: Place) -> None:
        """End a batch."""
        self._busy.pop(place, None)
        for image_id in image_ids:
            del self._batches[image_id], self._alone[image_id]

    def turn_to(self, image_id: str, place: Place) -> None:
        """Note what a worker turns to now."""
        self._busy[place] = image_id, time.monotonic()

    def late(self, seconds: float) -> list[tuple[Place, str]]:
        """Who has sat on one image for longer, and on which."""
        now = time.monotonic()
        return [(place, image_id) for place, (image_id, since) in self._busy.items() if now - since > seconds]

    def leave_out(self, image_id: str, place: Place, reason: str) -> None:
        """From now on nobody turns to this image."""
        self._left_out[image_id] = reason
        self._busy.pop(place, None)

    def forget(self, place: Place) -> None:
        """A worker that is no longer there."""
        self._busy.pop(place, None)
