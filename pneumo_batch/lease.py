"""Holding a run on an object store, where no lock ends with its holder: by leases that have to be renewed.

A contender puts an object of its own into the lock's folder and then lists the folder; it holds the run if nobody else
is in it. Of two that do so at once, each lists after it has put, so that one at least sees the other and gives way:
there are never two holders, as long as the store lists what was put before (S3, GCS and Azure do). No conditional
write is needed, which pyarrow does not offer.

A holder renews its object. One that was killed leaves an object that nobody renews; after its life it is removed by the
next contender, once that has watched it stay so: wrong clocks make a wait longer and never a lease shorter. A holder
that was suspended for longer than its life finds its object gone and ends itself; until it does, it may still write.
That is the limit of every lease.
"""

import contextlib
import json
import os
import random
import signal
import socket
import threading
import time
import uuid
from typing import Any

import pyarrow as pa
import pyarrow.fs

from pneumo_batch.storage import Store

BEAT_SECONDS = 10.0
LIFE_BEATS = 6  # renewals that may fail in a row
_WATCH_BEATS = 2.5
_ATTEMPTS = 4  # against contenders that withdraw too
_FOLDER = ".lock"


class HeldError(Exception):
    """Somebody else holds the lease; the message says who."""


class Lease:
    """One process's claim to a store."""

    def __init__(self, store: Store, beat: float = BEAT_SECONDS):
        self.store, self.beat = store, beat
        self.name = f"{_FOLDER}/{uuid.uuid4().hex}.json"
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Raises HeldError at once when it is held, OSError when the store cannot be written."""
        for attempt in range(_ATTEMPTS):
            self._put(held=False)
            others = self._living()
            if not others:
                self._put(held=True)
                self._thread = threading.Thread(target=self._renew, daemon=True)
                self._thread.start()
                return
            self.store.remove(self.name)
            if any(other["held"] for other in others) or attempt == _ATTEMPTS - 1:
                raise HeldError(f"process {others[0]['pid']} on {others[0]['host']}")
            time.sleep(random.uniform(0.05, 0.2) * 2**attempt)

    def release(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        with contextlib.suppress(OSError):  # it ends by itself
            self.store.remove(self.name)

    def _put(self, held: bool) -> None:
        owner = {"held": held, "host": socket.gethostname(), "pid": os.getpid(), "beat": self.beat}
        self.store.write_json(self.name, owner)

    def _renew(self) -> None:
        """End the process when the lease is lost: others may be at work on the run."""
        renewed = time.monotonic()
        while not self._stop.wait(self.beat):
            try:
                if not self.store.exists(self.name):
                    break
                self._put(held=True)
                renewed = time.monotonic()
            except OSError:
                if time.monotonic() - renewed > LIFE_BEATS * self.beat:
                    break
        else:
            return
        os.kill(os.getpid(), signal.SIGTERM)

    def _living(self) -> list[dict[str, Any]]:
        """The other claims, without those that turn out to be left behind; these are removed."""
        found = living(self.store, self.name)
        aged = {name: claim for name, claim in found.items() if claim["age"] > LIFE_BEATS * claim["beat"]}
        if aged:
            time.sleep(_WATCH_BEATS * max(claim["beat"] for claim in aged.values()))
            now = living(self.store, self.name)
            for name, claim in aged.items():
                if name in now and now[name]["renewed"] == claim["renewed"]:
                    self.store.remove(name)  # its name is its own: nobody else's claim can be hit
                    del now[name]
            found = now
        return list(found.values())


def living(store: Store, but: str = "") -> dict[str, dict[str, Any]]:
    """Claims on a store by name, each with its age in seconds by this machine's clock."""
    selector = pa.fs.FileSelector(store.path(_FOLDER), allow_not_found=True)
    found = {}
    for info in store.fs.get_file_info(selector):
        name = f"{_FOLDER}/{info.base_name}"
        if not info.is_file or name == but:
            continue
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # withdrawn meanwhile
            renewed = info.mtime.timestamp()
            found[name] = {**store.read_json(name), "renewed": renewed, "age": time.time() - renewed}
    return found


def is_held(store: Store) -> bool:
    """Whether a claim is there that is still renewed."""
    return any(claim["held"] and claim["age"] <= LIFE_BEATS * claim["beat"] for claim in living(store).values())
