"""A folder in the place of another: at once on a local disk, elsewhere file by file and so that `Store.has` can tell.

On a local disk a table is made ready beside the old one first, so that `recover` can end what a crash left between two
renames.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow.fs

from pneumo_batch.rundir.storage import WHOLE, Store


def move(store: Store, source: str, target: str, last: str = "") -> None:
    """Rename a folder, replacing what is there. At once on a local disk; elsewhere file by file, `last` at last."""
    if store.is_local:
        store.remove(target)
        Path(store.path(target)).parent.mkdir(parents=True, exist_ok=True)
        Path(store.path(source)).rename(store.path(target))
        return
    selector = pyarrow.fs.FileSelector(store.path(source), recursive=True, allow_not_found=True)
    paths = sorted(info.path for info in store.fs.get_file_info(selector) if info.is_file)
    for path in sorted(paths, key=lambda path: path.endswith(f"/{last}")):
        store.fs.move(path, store.path(target) + path.removeprefix(store.path(source)))
    store.remove(source)


def extend(store: Store, table: str, source: str, prefix: str, replaced: Mapping[str, bytes]) -> None:
    """Make the files below `source` part of a table, and put others in place of some that it has.

    Their names get `prefix`. On a local disk the new table takes the place of the old one as a folder, and
    `recover` ends what a crash left undone. Elsewhere `Store.has` says no while files move; call this again after a
    crash.
    """
    arriving = {name: f"{table}/{prefix}{name.rpartition('/')[2]}" for name in store.files(source)}
    store.renamed(arriving)
    if not store.is_local:
        store.remove(f"{table}/{WHOLE}")
        for name, content in replaced.items():
            store.write_bytes(name, content)
        for name, target in arriving.items():
            store.fs.move(store.path(name), store.path(target))
        store.write_bytes(f"{table}/{WHOLE}", b"")
        store.remove(source)
        return
    begun, ready = (Path(store.path(f"{source}.{word}")) for word in ("begun", "ready"))
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir(parents=True)
    for name in set(store.files(table)) - set(replaced) - set(arriving.values()):
        _link(Path(store.path(name)), begun / Path(name).name)
    for name, target in arriving.items():
        _link(Path(store.path(name)), begun / Path(target).name)
    for name, content in replaced.items():
        (begun / Path(name).name).write_bytes(content)
    begun.rename(ready)
    recover(store, table, source)


def recover(store: Store, table: str, source: str) -> None:
    """Put the table that `extend` has made ready in the place of the old one. Does nothing without one."""
    ready, old = Path(store.path(f"{source}.ready")), Path(store.path(f"{source}.old"))
    if not store.is_local or not ready.exists():
        return
    place = Path(store.path(table))
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    ready.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    store.remove(source)


def _link(source: Path, target: Path) -> None:
    """The same file under another name, a copy where the disk has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
