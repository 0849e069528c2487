"""Holding a run: by a lock of the operating system on a local disk, by a lease on an object store."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from pneumo_batch.errors import RunBusyError, RunError
from pneumo_batch.rundir import lease
from pneumo_batch.rundir.locations import reason
from pneumo_batch.rundir.storage import Store

_PATIENCE = 0.5  # seconds: who only looks whether a run is held has its lock for less


@contextlib.contextmanager
def hold(store: Store, path: str) -> Iterator[None]:
    """Hold the run that errors call `path`; raises RunBusyError when another process does.

    On a local disk the operating system releases the lock with the process, so that no crash leaves a stale one;
    elsewhere a killed holder's lease ends after a minute (see `lease`).
    """
    with _lock(store, path, _PATIENCE) if store.is_local else _lease(store, path):
        yield


def is_held(store: Store) -> bool:
    """Whether a process works on the run now."""
    if not store.is_local:
        return lease.is_held(store)
    if not Path(store.root).is_dir():
        return False
    try:
        with _lock(store, store.root, 0):
            return False
    except RunBusyError:
        return True


@contextlib.contextmanager
def _lock(store: Store, path: str, patience: float) -> Iterator[None]:
    Path(store.root).mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(store.path(".lock"), timeout=patience)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise RunBusyError(f"{path}: another process holds this run; try again later") from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _lease(store: Store, path: str) -> Iterator[None]:
    held = lease.Lease(store)
    try:
        held.acquire()
    except lease.HeldError as error:
        raise RunBusyError(f"{path}: {error} holds this run; try again later") from error
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {reason(error)}") from error
    try:
        yield
    finally:
        held.release()
