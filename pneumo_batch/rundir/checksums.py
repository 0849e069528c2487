"""`SHA256SUMS`: the digest of every file of a run under the stage that wrote it, as `sha256sum -c SHA256SUMS` reads it.

While a file is replaced it has two lines, so that a crash leaves none without its own. The last line is the digest of
those before it. A model comes with a list of its own, which the process writes that made it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from pneumo_batch.errors import DamagedError
from pneumo_batch.rundir import exchange, integrity
from pneumo_batch.rundir.integrity import sha256
from pneumo_batch.rundir.layout import BACKUP, JOB, METRICS, MODELS, OWNERS, RECORD, STAGING, SUMS, TABLES
from pneumo_batch.rundir.storage import WHOLE, Store

Sections = dict[str, dict[str, tuple[str, ...]]]  # by stage, then name: its digest, or two while it is replaced
Expected = dict[str, tuple[str, tuple[str, ...]]]  # by name: the stage of a committed file, and what it may be
_CHANGING = (RECORD, SUMS, METRICS, "events", f"{STAGING}/", f"{BACKUP}/", ".")
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_STAGE, _END = "# stage ", "# end "


def listing(sections: Sections) -> bytes:
    """The content of SHA256SUMS."""
    lines = []
    for stage, files in sections.items():
        lines.append(f"{_STAGE}{stage}")
        lines += [f"{digest}  {name}" for name, digests in sorted(files.items()) for digest in digests]
    text = "".join(f"{line}\n" for line in lines)
    return f"{text}{_END}{sha256(text.encode())}\n".encode()


def parse(data: bytes) -> Sections:
    """What `listing` was given. Raises DamagedError."""
    with integrity.reading(SUMS):
        text, _, digest = data.decode().rpartition(_END)
    if sha256(text.encode()) != digest.strip():
        raise DamagedError(f"{SUMS}: damaged: not what was written")
    sections: Sections = {}
    files: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        if line.startswith(_STAGE):
            files = sections.setdefault(line.removeprefix(_STAGE), {})
        elif found := _LINE.fullmatch(line):
            files[found[2]] = (*files.get(found[2], ()), found[1])
    return sections


def write_model(store: Store, variant: str, files: Mapping[str, bytes]) -> None:
    """Put a model and its own list into `models/`, at once or with `model.json` at last."""
    folder = f"{STAGING}/{MODELS}/{variant}"
    listed = listing({"train": {name: (sha256(data),) for name, data in files.items()}})
    for name, data in {**files, SUMS: listed}.items():
        store.write_bytes(f"{folder}/{name}", data)
    exchange.move(store, folder, f"{MODELS}/{variant}", last="model.json")


class Checksums:
    """The digests of a run's files."""

    def __init__(self, store: Store):
        self.store = store

    @property
    def exist(self) -> bool:
        """Whether the run has any: those of older versions have none."""
        return self.store.exists_twice(SUMS)

    def read(self) -> Sections:
        """What is listed, from the copy where the list itself is damaged or gone. Raises DamagedError."""
        return self.store.read_twice(SUMS, parse) if self.exist else {}

    def write(self, sections: Sections) -> None:
        self.store.write_twice(SUMS, listing(sections))

    def begin(self) -> None:
        """Of a run that has none: list what it holds, as it is now."""
        self.write({})
        for one in OWNERS:
            if one.folders:
                self.seal(one.stage)

    def drop(self, stages: Iterable[str]) -> None:
        """Forget the files of stages that are done again."""
        if self.exist:
            self.write({stage: files for stage, files in self.read().items() if stage not in stages})

    def seal(self, stage: str) -> None:
        """List what a stage has left: from the bytes that were in hand where this process wrote it or a name tells."""
        written = self.store.take_digests()
        if not self.exist:
            return
        sections = self.read()
        owner = {name: one for one, files in sections.items() for name in files}
        for name, digest in written.items():
            if not name.startswith(_CHANGING):
                sections.setdefault(owner.get(name, stage), {})[name] = (digest,)
        left = [name for folder in _folders(stage) for name in self._files(folder)]
        fresh = [name for name in left if name not in owner and name not in written]
        told = {name: digest for name, digest in self._told(fresh).items() if digest}
        told |= self.store.digests([name for name in fresh if name not in told])
        sections.setdefault(stage, {}).update({name: (told[name],) for name in fresh if name in told})
        self.write(sections)

    def _files(self, folder: str) -> list[str]:
        """What is in a folder, and of a table on an object store what tells that it is whole, if it is."""
        mark = [] if self.store.is_local or folder not in TABLES else [f"{folder}/{WHOLE}"]
        return [*self.store.walk(folder), *mark]

    def settle(self) -> None:
        """Of files that a crash has left with two digests, once none is replaced any more: keep the one they have."""
        sections = self.read() if self.exist else {}
        either = {name: two for files in sections.values() for name, two in files.items() if len(two) > 1}
        found = self.store.digests(either)
        if settled := {name: digest for name, digest in found.items() if digest in either[name]}:
            self.write(_changed(sections, settled, keep=False))

    def expected(self) -> Expected:
        """Every committed file: as listed, or as it tells until it is listed."""
        found = {name: (stage, digests) for stage, files in self.read().items() for name, digests in files.items()}
        for one in OWNERS:
            unlisted = [name for folder in one.folders for name in self.store.walk(folder) if name not in found]
            found |= {name: (one.stage, (digest,)) for name, digest in self._told(unlisted).items()}
        return found

    def _told(self, names: Iterable[str]) -> dict[str, str]:
        """What names, and the lists of models among them, tell of files; of a damaged list that it is none."""
        found = {}
        for name in names:
            if digest := integrity.seal(name):
                found[name] = digest
            if name.endswith("/model.json"):
                found |= self.list_of_model(name.rpartition("/")[0])
        return found

    def list_of_model(self, model: str) -> dict[str, str]:
        """What a model's own list says, by name within the run; nothing of older ones, of a damaged list that it is."""
        name = f"{model}/{SUMS}"
        if not self.store.exists(name):
            return {}
        try:
            files = parse(self.store.read_bytes(name))["train"]
        except (DamagedError, KeyError):
            return {name: ""}
        return {f"{model}/{one}": digests[0] for one, digests in files.items()}

    def replace(self, name: str, data: bytes) -> None:
        """Write a file anew that may be listed."""
        with self.replacing({name: sha256(data)}):
            self.store.write_bytes(name, data)

    @contextmanager
    def replacing(self, digests: Mapping[str, str]) -> Iterator[None]:
        """While the block runs, listed files may be what they were or what they become."""
        before = self.read()
        if not any(name in files for files in before.values() for name in digests):
            yield
            return
        self.write(_changed(before, digests, keep=True))
        yield
        self.write(_changed(before, digests, keep=False))


def _changed(sections: Sections, digests: Mapping[str, str], *, keep: bool) -> Sections:
    return {
        stage: {
            name: ((*known, digests[name]) if keep else (digests[name],)) if name in digests else known
            for name, known in files.items()
        }
        for stage, files in sections.items()
    }


def _folders(stage: str) -> tuple[str, ...]:
    """What to look through for the files of a stage, or of the "job"; some have none."""
    return (JOB,) if stage == "job" else next((one.folders for one in OWNERS if one.stage == stage), ())
