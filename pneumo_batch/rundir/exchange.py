"""A folder in the place of another: at once on a local disk, elsewhere file by file and so that `Store.has` can tell.

What is to become part of a table is made ready first, so that `recover` can end what a crash left half done: on a local
disk a whole folder, of which two renames remain, elsewhere a list of the files to move.
"""

import json
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
        _move_file(store, path, store.path(target) + path.removeprefix(store.path(source)))
    store.remove(source)


def extend(store: Store, table: str, source: str, prefix: str, replaced: Mapping[str, bytes]) -> None:
    """Make the files below `source` part of a table, and put others in place of some that it has.

    Their names get `prefix`. On a local disk the new table takes the place of the old one as a folder; elsewhere
    `Store.has` says no while files move. `recover` ends what a crash left undone.
    """
    arriving = {name: f"{table}/{prefix}{name.rpartition('/')[2]}" for name in store.files(source)}
    store.renamed(arriving)
    if store.is_local:
        _make_ready(store, table, source, arriving, replaced)
    else:
        _list_ready(store, source, arriving, replaced)
    recover(store, table, source)


def _make_ready(
    store: Store, table: str, source: str, arriving: Mapping[str, str], replaced: Mapping[str, bytes]
) -> None:
    begun = Path(store.path(f"{source}.begun"))
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir(parents=True)
    for name in set(store.files(table)) - set(replaced) - set(arriving.values()):
        _link(Path(store.path(name)), begun / Path(name).name)
    for name, target in arriving.items():
        _link(Path(store.path(name)), begun / Path(target).name)
    for name, content in replaced.items():
        store.write_bytes(f"{source}.begun/{Path(name).name}", content)
    begun.rename(store.path(f"{source}.ready"))


def _list_ready(store: Store, source: str, arriving: Mapping[str, str], replaced: Mapping[str, bytes]) -> None:
    moves = dict(arriving)
    for position, (name, content) in enumerate(replaced.items()):
        fresh = f"{source}.new/{position}"
        store.write_bytes(fresh, content)
        store.renamed({fresh: name})
        moves[fresh] = name
    store.write_bytes(f"{source}.ready", json.dumps(moves).encode())


def recover(store: Store, table: str, source: str) -> None:
    """Put what `extend` has made ready into the table. Does nothing where nothing is ready."""
    if store.is_local:
        _take_folder(store, table, source)
    elif store.exists(f"{source}.ready"):
        _take_listed(store, table, source)


def _take_folder(store: Store, table: str, source: str) -> None:
    ready, old = Path(store.path(f"{source}.ready")), Path(store.path(f"{source}.old"))
    if not ready.exists():
        return
    place = Path(store.path(table))
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    ready.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    store.remove(source)


def _take_listed(store: Store, table: str, source: str) -> None:
    """May be begun again at any place: a move that was cut off between its copy and its deletion copies the same."""
    store.remove(f"{table}/{WHOLE}")
    for name, target in json.loads(store.read_bytes(f"{source}.ready")).items():
        if store.exists(name):
            _move_file(store, store.path(name), store.path(target))
    store.write_bytes(f"{table}/{WHOLE}", b"")
    for name in (source, f"{source}.new", f"{source}.ready"):
        store.remove(name)


def _move_file(store: Store, source: str, target: str) -> None:
    if not store.is_object_store:
        store.fs.create_dir(target.rpartition("/")[0], recursive=True)
    store.fs.move(source, target)


def _link(source: Path, target: Path) -> None:
    """The same file under another name, a copy where the disk has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
