"""A run directory: the name of everything in it, its record and lock, and the API that reads it. No Ray."""

import contextlib
import functools
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
import pandas as pd
import pyarrow as pa
import tomli_w

from pneumo_batch import config, jobfile, lease, provenance, terminal
from pneumo_batch.core import tables
from pneumo_batch.storage import Store, reason

if TYPE_CHECKING:
    import torch

FORMAT = 1
RECORD = "run.json"
JOB = "job.toml"
EVENTS = "events.jsonl"
VERDICT = "verdict.json"
MANIFEST = "manifest"
QUARANTINE = "quarantine.parquet"
MAPS = "maps"
SCORES = "scores"
CASCADES = "cascades"
CASCADE_SUMMARY = "cascade_summary.parquet"
DERIVED = "derived"
SUMMARY = "summary.parquet"
SCALES = "scales.parquet"
REPORT = "report/index.html"
STAGING = "staging"  # tables in the making: outside the folders that readers open
PASSES = "history.parquet"
METRICS = "metrics.prom"
_OF_PASS = re.compile(r"/p(\d{4,})-[^/]*$")
_SETTLED = ("train", "cascade")  # by the first pass: later ones keep its models
PHANTOM = "phantom"  # the generated images of a phantom run


class RunError(ValueError):
    """A run directory that cannot be used as asked; the message is one line that names it."""


class RunBusyError(RunError):
    """Another process holds the run."""


class Run:
    """A run directory, local or a URI.

    Reading needs no Ray:

    >>> run = Run("runs/demo-1a2b3c4d5e6f")
    >>> ids, maps_NHW = run.maps("grad_cam", "true_0")
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fspath(path)
        self.store = Store(path)
        self._events: list[str] = []  # of this process, where files cannot be appended to
        self._session = uuid.uuid4().hex[:8]

    def __repr__(self) -> str:
        return f"Run({self.path!r})"

    # ------------------------------------------------------------------------------------------------------- reading

    @property
    def record(self) -> dict[str, Any]:
        """The content of run.json. Raises RunError when this is no run directory."""
        try:
            record = self.store.read_json(RECORD)
        except FileNotFoundError as error:
            raise RunError(f"{self.path}: no run here (no {RECORD})") from error
        except OSError as error:
            raise RunError(f"{self.path}: cannot be read: {reason(error)}") from error
        except json.JSONDecodeError as error:
            raise RunError(f"{self.path}/{RECORD}: not JSON: {error}") from error
        if record.get("format", 0) > FORMAT:
            raise RunError(f"{self.path}: written by a newer pneumo-batch (format {record['format']}); upgrade")
        return record

    @property
    def verdict(self) -> dict[str, Any]:
        """The content of verdict.json. Raises RunError before the run has concluded."""
        return self.store.read_json(self._need(VERDICT, "conclude"))

    @functools.cached_property
    def job(self) -> config.Job:
        """The resolved job of the run."""
        import tomllib

        text = self.store.read_bytes(self._need(JOB, "index")).decode()
        return jobfile.parse(tomllib.loads(text), source=f"{self.path}/{JOB}")

    def manifest(self) -> pd.DataFrame:
        """One row per image, sorted by `image_id`."""
        return self.manifest_table().to_pandas()

    def manifest_table(self) -> pa.Table:
        return self.store.read_table(self._need(MANIFEST, "index"), schema=tables.MANIFEST).sort_by("image_id")

    def quarantine(self) -> pd.DataFrame:
        """One row per rejected image with the reason."""
        return self.store.read_table(self._need(QUARANTINE, "index"), schema=tables.QUARANTINE).to_pandas()

    def maps(self, method: str, variant: str) -> tuple[list[str], np.ndarray]:
        """Image ids, sorted, and their maps (N, H, W) float32, signed and raw.

        Raises KeyError for a method or variant the run does not have.
        """
        return self._sorted_maps(MAPS, f"{method}__{variant}")

    def derived_maps(self, method: str, name: str) -> tuple[list[str], np.ndarray]:
        """As `maps`, of a network derived without training, such as "cascade_3_0": mode, depth and seed.

        They are there where the job says `attribution.store_derived`.
        """
        return self._sorted_maps(DERIVED, f"{method}__{name}")

    def _sorted_maps(self, folder: str, column: str) -> tuple[list[str], np.ndarray]:
        table = self.maps_table([column], folder)
        order = np.argsort(np.asarray(table["image_id"].to_pylist(), dtype=object), kind="stable")
        ids = table["image_id"].to_pylist()
        return [ids[i] for i in order], tables.tensor_array(table[column])[order]

    def maps_table(
        self, columns: Sequence[str], folder: str = MAPS, *, image_ids: Sequence[str] | None = None
    ) -> pa.Table:
        """Columns of the maps table and the identity columns, in file order; of some images only, if named."""
        self._need(folder, "attribute" if folder == MAPS else "cascade")
        dataset = pa.dataset.dataset(
            [self.store.path(name) for name in self.store.files(folder, ".parquet")],
            filesystem=self.store.fs,
            format="parquet",
        )
        missing = [name for name in columns if name not in dataset.schema.names]
        if missing:
            known = [name for name in dataset.schema.names if "__" in name]
            raise KeyError(f"{self.path}: no column {missing[0]!r} in {folder}; there are: {', '.join(known)}")
        wanted = None if image_ids is None else pa.dataset.field("image_id").isin(list(image_ids))
        return dataset.to_table(columns=[field.name for field in tables.IDENTITY] + list(columns), filter=wanted)

    def scores(self) -> pd.DataFrame:
        """One row per similarity of two maps."""
        return self.store.read_table(self._need(SCORES, "compare"), schema=tables.SCORES).to_pandas()

    def cascades(self) -> pd.DataFrame:
        """One row per similarity of a map to that of a network derived without training."""
        return self.store.read_table(self._need(CASCADES, "cascade"), schema=tables.CASCADES).to_pandas()

    def cascade_summary(self) -> pd.DataFrame:
        """The curves of parameter randomization: mean similarity to the original at every depth."""
        name = self._need(CASCADE_SUMMARY, "cascade")
        return self.store.read_table(name, schema=tables.CASCADE_SUMMARY).to_pandas()

    def summary(self) -> pd.DataFrame:
        """Aggregated scores with bootstrap intervals."""
        return self.store.read_table(self._need(SUMMARY, "conclude"), schema=tables.SUMMARY).to_pandas()

    def passes(self) -> pd.DataFrame:
        """One row per method and finished pass over the data: similarity, accuracy, degenerate maps, verdict."""
        return self.store.read_table(self._need(PASSES, "conclude"), schema=tables.PASSES).to_pandas()

    def scales(self) -> pd.DataFrame:
        """At which number of cells two true models agree on an image, on a sample of images."""
        return self.store.read_table(self._need(SCALES, "conclude"), schema=tables.SCALES).to_pandas()

    def history(self, variant: str) -> pd.DataFrame:
        """One row per training epoch; raises RunError for a variant that was brought along."""
        return self.store.read_table(self._need(f"models/{variant}/history.parquet", "train")).to_pandas()

    def variants(self) -> list[str]:
        """Names of the models that are there, in the order of the maps columns."""
        selector = pa.fs.FileSelector(self.store.path("models"), allow_not_found=True)
        names = [info.base_name for info in self.store.fs.get_file_info(selector)]
        present = [name for name in names if self.store.exists(f"models/{name}/model.json")]
        return sorted(present, key=lambda name: (self.model_record(name)["kind"] != "true", name))

    def model_record(self, variant: str) -> dict[str, Any]:
        """The content of model.json."""
        return self.store.read_json(self._need(f"models/{variant}/model.json", "train"))

    def model(self, variant: str) -> "torch.nn.Module":
        """The trained network in eval mode on the CPU."""
        from pneumo_batch.core import checkpoints

        model = self.untrained(variant)
        checkpoints.load_state(model, self.store.read_bytes(f"models/{variant}/model.safetensors"))
        return model.eval()

    def untrained(self, variant: str) -> "torch.nn.Module":
        """The network of a variant with fresh weights, from torch's current random state."""
        from pneumo_batch.core import networks

        record = self.model_record(variant)
        return networks.build(
            record["network"],
            image_size=record["preprocess"]["size"],
            channels=record["preprocess"]["channels"],
            outputs=record["outputs"],
        )

    def inputs(self, ids: Sequence[str], variant: str | None = None) -> "torch.Tensor":
        """The exact network inputs (N, C, H, W) float32 of images, read from the data root.

        `variant` matters only where variants were brought with preprocessing of their own (default: the first).
        """
        import torch

        preprocess = self.preprocess(variant)
        images = self.images
        return torch.cat([preprocess.inputs(preprocess.pixels(images.read_bytes(i))[None]) for i in ids])

    def baseline(self, variant: str | None = None) -> "torch.Tensor":
        """The Integrated Gradients baseline (1, C, H, W) float32. Raises ValueError where it depends on the image."""
        from pneumo_batch.core import attribution

        name = self.job.attribution.integrated_gradients.baseline
        return attribution.baseline_input(name, self.preprocess(variant))

    def preprocess(self, variant: str | None = None) -> Any:
        """How images become the network inputs of a variant (default: the first)."""
        from pneumo_batch.core.images import Preprocess

        return Preprocess.from_dict(self.model_record(variant or self.variants()[0])["preprocess"])

    @property
    def images(self) -> Store:
        """The folder the manifest's image ids are relative to."""
        return Store(self.store.path(PHANTOM)) if self.job.is_phantom else Store(self.job.data.root)

    def _need(self, name: str, stage: str) -> str:
        if not self.store.has(name):
            self.record  # noqa: B018 - says so if this is no run at all
            raise RunError(f"{self.path}: no {name} yet; the stage {stage!r} writes it")
        return name

    # ------------------------------------------------------------------------------------------------------- writing

    @classmethod
    def create(cls, path: str | os.PathLike[str], job: config.Job, fingerprint: str) -> "Run":
        """Open a run directory for writing, new or to be resumed. Call it under `lock`.

        Raises RunError when the directory holds the run of another job or something that is no run.
        """
        run = cls(path)
        if run.store.exists(RECORD):
            if run.record["fingerprint"] != fingerprint:
                raise RunError(
                    f"{run.path}: holds the run of another job (fingerprint {run.record['fingerprint'][:12]}, this one "
                    f"is {fingerprint[:12]}); choose another --run-dir"
                )
            run._keep(job)
            return run
        run._keep(job)
        run.write_record(
            {
                "format": FORMAT,
                "name": job.name,
                "status": "running",
                "fingerprint": fingerprint,
                "created": provenance.now(),
                "stages": {},
                "counts": {},
                "versions": provenance.versions(),
                **provenance.source_commit(),
                "error": None,
            }
        )
        return run

    def _keep(self, job: config.Job) -> None:
        """Write the job. One that resumes a run may differ in what changes no result: where the images lie now."""
        content = tomli_w.dumps(job.model_dump(mode="json", exclude_none=True)).encode()
        if not self.store.exists(JOB) or self.store.read_bytes(JOB) != content:
            self.store.write_bytes(JOB, content)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run; raises RunBusyError at once when another process does.

        On a local disk the operating system releases the lock with the process, so that no crash leaves a stale one;
        elsewhere a killed holder's lease ends after a minute (see `lease`).
        """
        if not self.store.is_local:
            with self._lease():
                yield
            return
        Path(self.store.root).mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.store.path(".lock"), blocking=False)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise RunBusyError(f"{self.path}: another process holds this run; try again later") from error
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _lease(self) -> Iterator[None]:
        held = lease.Lease(self.store)
        try:
            held.acquire()
        except lease.HeldError as error:
            raise RunBusyError(f"{self.path}: {error} holds this run; try again later") from error
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {reason(error)}") from error
        try:
            yield
        finally:
            held.release()

    def is_held(self) -> bool:
        """Whether a process works on this run now."""
        if not self.store.is_local:
            return lease.is_held(self.store)
        try:
            with self.lock():
                return False
        except RunBusyError:
            return True

    def write_record(self, record: dict[str, Any]) -> None:
        self.store.write_json(RECORD, {**record, "updated": provenance.now()})

    def update_record(self, **fields: Any) -> None:
        self.write_record({**self.record, **fields})

    def stage(self, name: str, **fields: Any) -> None:
        """Note how far a stage is: `status`, and when it is complete `seconds` and `counts`."""
        record = self.record
        stages = {**record["stages"], name: fields}
        counts = dict(record["counts"])
        for wanted in ("images", "quarantined", "attributed"):
            found = [stage["counts"][wanted] for stage in stages.values() if wanted in stage.get("counts", {})]
            if found and wanted != "quarantined":
                counts[wanted] = found[0]
        counts["quarantined"] = sum(stage.get("counts", {}).get("quarantined", 0) for stage in stages.values())
        self.write_record({**record, "stages": stages, "counts": counts})
        self.event("stage", stage=name, **fields)

    def fail(self, error: BaseException) -> None:
        """Note what ended the run early. The message is kept, not the traceback: records hold no paths of ours."""
        message = str(error).strip().splitlines()
        self.update_record(
            status="failed", error={"type": type(error).__name__, "message": message[0] if message else ""}
        )
        self.event("failed", error=type(error).__name__, message=message[0] if message else "")

    def complete(self) -> None:
        """The last write of a run."""
        self.store.remove(STAGING)
        self.event("complete")
        self.update_record(status="complete", error=None)

    def event(self, kind: str, **fields: Any) -> None:
        """One line of events.jsonl."""
        line = json.dumps({"time": provenance.now(), "event": kind, **fields}, default=str) + "\n"
        if terminal.logs_json():
            terminal.say(kind, event=kind, **fields)
        if self.store.is_local:
            with Path(self.store.path(EVENTS)).open("a", encoding="utf-8") as file:
                file.write(line)
            return
        self._events.append(line)
        self.store.write_bytes(f"events/{self._session}.jsonl", "".join(self._events).encode())

    @property
    def number(self) -> int:
        """Of the pass over the data, from 1; later ones only where `data.grows`."""
        return self.record.get("pass", 1)

    def begin_pass(self) -> None:
        """Everything but what the first pass settled is to be done for images that joined the data."""
        record = self.record
        stages = {name: stage for name, stage in record["stages"].items() if name in _SETTLED}
        self.write_record({**record, "status": "running", "pass": self.number + 1, "stages": stages})
        self.event("pass", number=self.number)

    def files_of_pass(self, table: str, *, earlier: bool = False) -> list[str]:
        """The files that this pass has given a table, or those of the passes before it."""
        number, found = self.number, self.store.files(table, ".parquet")
        passes = [int(match[1]) if (match := _OF_PASS.search(name)) else 1 for name in found]
        return [name for name, one in zip(found, passes, strict=True) if (one < number if earlier else one == number)]

    def is_committed(self, table: str) -> bool:
        """Whether what this pass gives a table is in it."""
        return self.store.has(table) and (self.number == 1 or bool(self.files_of_pass(table)))

    def commit_table(self, name: str, replaced: Mapping[str, pa.Table] | None = None) -> None:
        """Make what was written under `staging/` part of a table; `replaced` puts others in place of files of it."""
        prefix = f"p{self.number:04}-" if self.number > 1 else ""
        self.store.extend(name, f"{STAGING}/{name}", prefix, replaced or {})

    def recover(self) -> None:
        """End what a crash left undone."""
        for name in (MANIFEST, MAPS, SCORES, CASCADES, DERIVED):
            self.store.recover(name, f"{STAGING}/{name}")
