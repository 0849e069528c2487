"""Holding a run on an object store, where no lock ends with its holder: by leases that have to be renewed.

A contender puts an object of its own into the lock's folder and then lists the folder; it holds the run if nobody else
is in it. Of two that do so at once, each lists after it has put, so that one at least sees the other: there are never
two holders, as long as the store lists what was put before (S3, GCS and Azure do). The one whose name comes first waits
for the others to give way. No conditional write is needed, which pyarrow does not offer.

A holder renews its object. One that was killed leaves an object that nobody renews; after its life it is removed by the
next contender, once that has watched it stay so: wrong clocks make a wait longer and never a lease shorter. A holder
that was suspended for longer than its life finds its object gone and ends itself; until it does, it may still write.
That is the limit of every lease.
"""

import contextlib
import os
import random
import re
import signal
import socket
import threading
import time
import uuid
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.fs

from pneumo_batch.rundir.storage import Store

BEAT_SECONDS = 10.0
LIFE_BEATS = 6  # renewals that may fail in a row
_WATCH_BEATS = 2.5
_ATTEMPTS = 4  # against contenders that withdraw too
_FOLDER = ".lock"
_CLAIM, _HELD = ".claim", ".held"  # empty objects: what is to be known of a claim is in its name, so one listing tells


class HeldError(Exception):
    """Somebody else holds the lease; the message says who."""


@dataclass(frozen=True)
class Claim:
    """What the listing says of a claim."""

    name: str
    held: bool
    renewed: float  # when, by the store's clock

    @property
    def owner(self) -> str:
        _, pid, _, host = self.name.split("~")
        return f"process {pid} on {host}"

    @property
    def beat(self) -> float:
        return float(self.name.split("~")[2])

    @property
    def is_aged(self) -> bool:
        return time.time() - self.renewed > LIFE_BEATS * self.beat


class Lease:
    """One process's claim to a store."""

    def __init__(self, store: Store, beat: float = BEAT_SECONDS):
        self.store, self.beat = store, beat
        host = re.sub(r"[^\w.-]", "_", socket.gethostname())
        self.name = f"{uuid.uuid4().hex}~{os.getpid()}~{beat:g}~{host}"
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Raises HeldError when somebody else holds it, OSError when the store cannot be written."""
        for attempt in range(_ATTEMPTS):
            self._put(_CLAIM)
            others = self._others()
            if not others:
                self._put(_HELD)
                self._thread = threading.Thread(target=self._renew, daemon=True)
                self._thread.start()
                return
            _remove(self.store, self.name)
            if any(other.held for other in others) or attempt == _ATTEMPTS - 1:
                break
            time.sleep(random.uniform(0.5, 1) * self.beat / 10)
        raise HeldError(others[0].owner)

    def release(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        with contextlib.suppress(OSError):  # it ends by itself
            _remove(self.store, self.name)

    def _put(self, suffix: str) -> None:
        self.store.write_bytes(f"{_FOLDER}/{self.name}{suffix}", b"")

    def _others(self) -> list[Claim]:
        """The claims that stand in the way of this one. The first by name waits for other contenders to give way."""
        while True:
            others = self._living()
            if not others or any(other.held for other in others) or min(o.name for o in others) < self.name:
                return others
            time.sleep(self.beat / 50)

    def _living(self) -> list[Claim]:
        """The other claims, without those that turn out to be left behind; these are removed."""
        for claim in _left_behind(self.store, [one for one in claims(self.store) if one.name != self.name]):
            _remove(self.store, claim.name)  # its name is its own: nobody else's claim can be hit
        return [claim for claim in claims(self.store) if claim.name != self.name]

    def _renew(self) -> None:
        """End the process when the lease is lost: others may be at work on the run.

        Whoever takes it over removes what says that it is held, which no renewal puts back: one that was suspended
        between its look and its renewal finds out with the next.
        """
        renewed = time.monotonic()
        while not self._stop.wait(self.beat):
            try:
                if not any(claim.held for claim in claims(self.store) if claim.name == self.name):
                    break
                self._put(_CLAIM)
                renewed = time.monotonic()
            except OSError:
                if time.monotonic() - renewed > LIFE_BEATS * self.beat:
                    break
        else:
            return
        self.store.is_lost = True  # first: what ends the process is written to the record, which is another's now
        os.kill(os.getpid(), signal.SIGTERM)


def claims(store: Store) -> list[Claim]:
    """Every claim on a store, aged ones too."""
    selector = pa.fs.FileSelector(store.path(_FOLDER), allow_not_found=True)
    infos = {info.base_name: info for info in store.fs.get_file_info(selector) if info.is_file}
    names = sorted(name.removesuffix(_CLAIM) for name in infos if name.endswith(_CLAIM))
    return [Claim(name, name + _HELD in infos, infos[name + _CLAIM].mtime.timestamp()) for name in names]


def is_held(store: Store) -> bool:
    """Whether a claim is there that is still renewed; takes some beats to tell where none has been for its life."""
    left = {claim.name for claim in _left_behind(store, claims(store))}
    return any(claim.held and claim.name not in left for claim in claims(store))


def _left_behind(store: Store, found: list[Claim]) -> list[Claim]:
    """Those of the claims that are aged and that nobody renews while they are watched: clocks may be wrong."""
    aged = [claim for claim in found if claim.is_aged]
    watched_until = time.monotonic() + _WATCH_BEATS * max((claim.beat for claim in aged), default=0)
    while aged and time.monotonic() < watched_until:
        time.sleep(min(claim.beat for claim in aged) / 2)
        renewed = {claim.name: claim.renewed for claim in claims(store)}
        aged = [claim for claim in aged if renewed.get(claim.name) == claim.renewed]
    return aged


def _remove(store: Store, name: str) -> None:
    for suffix in (_HELD, _CLAIM):
        with contextlib.suppress(FileNotFoundError):
            store.fs.delete_file(store.path(f"{_FOLDER}/{name}{suffix}"))
