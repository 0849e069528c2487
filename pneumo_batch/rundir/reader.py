"""A run directory and the API that reads it. No Ray."""

import functools
import operator
import os
import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.attribution.options import column_suffix
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.core.models import answers
from pneumo_batch.core.similarity import per_image
from pneumo_batch.errors import DamagedError, RunError, did_you_mean
from pneumo_batch.job import jobfile, schema
from pneumo_batch.rundir import lock
from pneumo_batch.rundir.checksums import Checksums
from pneumo_batch.rundir.integrity import reading, sha256
from pneumo_batch.rundir.layout import (
    CASCADE_SUMMARY,
    CASCADES,
    DERIVED,
    FORMAT,
    JOB,
    LOCALISATION,
    MANIFEST,
    MAPS,
    MODELS,
    PASSES,
    PHANTOM,
    PROGRAM,
    PROGRESS,
    QUARANTINE,
    RECORD,
    REGIONS,
    SCALES,
    SCORES,
    SUMMARY,
    TABLES,
    VERDICT,
)
from pneumo_batch.rundir.locations import absolute, open_roots, reason
from pneumo_batch.rundir.record import ModelRecord, Progress, RunRecord, parse_record
from pneumo_batch.rundir.storage import Store

if TYPE_CHECKING:
    import torch

    from pneumo_batch.core.data.images import Preprocess

_LITTLE = {"batch_readahead": 1, "fragment_readahead": 1}  # of a file at once
_OF_PASS = re.compile(r"/p(\d{4,})-[^/]*$")


class Run:
    """A run directory, local or a URI.

    Reading needs no Ray:

    >>> run = Run("runs/demo-1a2b3c4d5e6f")
    >>> ids, maps_NHW = run.maps("grad_cam", "true_0")
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fspath(path)
        self.store = Store(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    @property
    def record(self) -> RunRecord:
        """The content of run.json, from its copy where it is damaged. Raises RunError when this is no run directory."""
        try:
            record = self.store.read_twice(RECORD, parse_record)
        except FileNotFoundError as error:
            raise RunError(f"{self.path}: no run here (no {RECORD})") from error
        except OSError as error:
            raise RunError(f"{self.path}: cannot be read: {reason(error)}") from error
        except DamagedError as error:
            raise RunError(f"{self.path}/{error}") from error
        if record.get("format", 0) > FORMAT:
            raise RunError(f"{self.path}: written by a newer pneumo-batch (format {record['format']}); upgrade")
        return record

    def progress(self) -> Progress | None:
        """How far the tasks of the running stage were some seconds ago, or of the one that was ended; else None."""
        try:
            return self.store.read_json(PROGRESS)
        except FileNotFoundError:
            return None

    @property
    def verdict(self) -> dict[str, Any]:
        """The content of verdict.json, which `has_concluded` tells from an earlier one. Raises RunError without one."""
        return self.store.read_json(self._need(VERDICT, "conclude"))

    @property
    def has_concluded(self) -> bool:
        """Whether there is a verdict, and no earlier one: of the pass before, or from before a stage began again."""
        concluded = self.record["stages"].get("conclude", {"status": ""})["status"] == "complete"
        return concluded and self.store.exists(VERDICT)

    def check_concluded(self) -> None:
        """Raises RunError where there is no verdict, or an earlier one that belongs to other tables."""
        self._need(VERDICT, "conclude")
        if not self.has_concluded:
            raise RunError(f"{self.path}: {VERDICT} is an earlier one; the stage 'conclude' has yet to write it anew")

    @functools.cached_property
    def job(self) -> schema.Job:
        """The resolved job of the run."""
        import tomllib

        data = self.store.read_bytes(self._need(JOB, "index"))
        try:
            values = tomllib.loads(data.decode())
        except ValueError as error:
            raise DamagedError(f"{self.path}/{JOB}: damaged: {error}") from error
        if self.record["format"] < FORMAT:
            values.get("compare", {}).pop("margin", None)  # of the first rule; it decides nothing any more
        return jobfile.parse(values, source=f"{self.path}/{JOB}")

    def check_format(self, wanted: str) -> None:
        """Raises RunError where an older version wrote the run and it lacks what a `wanted` thing is made of."""
        found = self.record["format"]
        if found < FORMAT:
            raise RunError(
                f"{self.path}: no {wanted}: an earlier pneumo-batch wrote this run (format {found}), without"
                " random_random_cross scores and label shares; run its job again in another directory"
            )

    def manifest(self) -> pd.DataFrame:
        """One row per image, sorted by `image_id`."""
        return self.manifest_table().to_pandas()

    def manifest_table(self, columns: Sequence[str] | None = None, *, looks: bool = True) -> pa.Table:
        """The same as an Arrow table: the named columns of it, or all, without `looks` but those of `tables.LOOKS`.

        Raises KeyError for an unknown column.
        """
        schema = tables.with_labels(tables.MANIFEST, self.job.data.several)
        every = [name for name in schema.names if looks or name not in tables.LOOKS]
        wanted = every if columns is None else list(columns)
        if unknown := [name for name in wanted if name not in schema.names]:
            raise KeyError(f"{self.path}: no column {unknown[0]!r} in {MANIFEST}; there are: {', '.join(schema.names)}")
        needed = list(dict.fromkeys([*wanted, "image_id"]))  # which rows are sorted by
        rows = self.store.read_table(self._need(MANIFEST, "index"), needed, schema).sort_by("image_id")
        return rows.select(wanted)

    def count(self, table: str) -> int:
        """How many rows a table ("maps", "scores") has, from the metadata of its files. Raises RunError without it."""
        if table not in TABLES or not self.store.has(table):
            raise RunError(f"{self.path}: no table {table!r}")
        with reading(f"{self.path}/{table}"):
            return self.store.dataset(table).count_rows()

    def predictions_table(self, variant: str) -> pa.Table:
        """What a variant says of each image, and the labels: of classes, and of several findings one each."""
        schema = tables.with_labels(tables.PREDICTIONS, self.job.data.several)
        return self.store.read_table(f"models/{variant}/predictions.parquet", schema=schema)

    def quarantine(self) -> pd.DataFrame:
        """One row per rejected image with the reason."""
        return self.store.read_table(self._need(QUARANTINE, "index"), schema=tables.QUARANTINE).to_pandas()

    def regions(self) -> pd.DataFrame:
        """One row per box or mask that shows where a finding is on a film; no rows for a run without any."""
        return self.regions_table().to_pandas()

    def regions_table(self) -> pa.Table:
        if not self.store.exists(REGIONS):  # of an older version
            return tables.REGIONS.empty_table()
        return self.store.read_table(REGIONS, schema=tables.REGIONS)

    def maps(self, method: str, variant: str, target: str | None = None) -> tuple[list[str], np.ndarray]:
        """Image ids, sorted, and their maps (N, H, W) float32, signed and raw; of the first target, or of one by name.

        Raises KeyError for a method, variant or target the run does not have.
        """
        return self._sorted_maps(MAPS, method, variant, column_suffix(target, self.targets))

    def derived_maps(self, method: str, name: str) -> tuple[list[str], np.ndarray]:
        """As `maps`, of a network derived without training, such as "cascade_3_0": mode, depth and seed.

        They are stored only with `attribution.store_derived` in the job.
        """
        return self._sorted_maps(DERIVED, method, name)

    def _sorted_maps(self, folder: str, method: str, name: str, suffix: str = "") -> tuple[list[str], np.ndarray]:
        column = f"{method}__{name}{suffix}"
        try:
            table = self.maps_table([column], folder)
        except KeyError as error:
            raise KeyError(f"{self.path}: {self._no_maps(folder, method, name)}") from error
        order = np.argsort(np.asarray(table["image_id"].to_pylist(), dtype=object), kind="stable")
        ids = table["image_id"].to_pylist()
        return [ids[i] for i in order], table_columns.tensor_array(table[column])[order]

    def _no_maps(self, folder: str, method: str, name: str) -> str:
        """What to say where a method or a network has no maps: those that there are."""
        columns = self.store.dataset(folder).schema.names
        methods = [one for one in self.job.attribution.methods if any(c.startswith(f"{one}__") for c in columns)]
        if method not in methods:
            hint = did_you_mean(method, methods)
            return f"no method {method!r} in {folder}{hint}; there are: {', '.join(methods)}"
        found = [one.removeprefix(f"{method}__") for one in columns if one.startswith(f"{method}__")]
        for target in self.targets[1:]:
            found = [one.removesuffix(column_suffix(target, self.targets)) for one in found]
        names = list(dict.fromkeys(found))
        hint = did_you_mean(name, names)
        return f"no {name!r} of {method} in {folder}{hint}; there are: {', '.join(names)}"

    def maps_table(
        self, columns: Sequence[str], folder: str = MAPS, *, image_ids: Sequence[str] | None = None
    ) -> pa.Table:
        """Columns of the maps table and the identity columns, in file order; of some images only, if named."""
        self._need(folder, "attribute" if folder == MAPS else "cascade")
        dataset = self.store.dataset(folder)
        missing = [name for name in columns if name not in dataset.schema.names]
        if missing:
            known = [name for name in dataset.schema.names if "__" in name]
            raise KeyError(f"{self.path}: no column {missing[0]!r} in {folder}; there are: {', '.join(known)}")
        columns = [field.name for field in tables.IDENTITY] + list(columns)
        if image_ids is not None:
            return self.store.read_images(folder, image_ids, columns, dataset.schema)
        with reading(f"{self.path}/{folder}"):
            return dataset.to_table(columns=columns)

    def maps_batches(self, columns: Sequence[str], image_ids: AbstractSet[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Columns of the maps table and `image_id`, of some images, at most so many at once, in file order."""
        wanted = pa.dataset.field("image_id").isin(list(image_ids))
        for name in self.store.files(self._need(MAPS, "attribute"), ".parquet"):
            here = pc.unique(self.store.read_texts(name, "image_id")).to_pylist()
            if not image_ids.isdisjoint(here):
                with reading(f"{self.path}/{name}"):
                    part = self.store.dataset(name)
                    yield from part.to_batches(["image_id", *columns], wanted, batch_size=rows, **_LITTLE)

    @property
    def targets(self) -> list[str]:
        """What is explained: one output most often, or several by name."""
        return self.job.attribution.targets

    @property
    def scores_schema(self) -> pa.Schema:
        """Of the scores that are there: with several targets they say which."""
        stored = self.store.dataset(self._need(SCORES, "compare")).schema
        return tables.scores_schema(self.targets if tables.TARGET in stored.names else ())

    def scores(self, target: str | None = None) -> pd.DataFrame:
        """One row per similarity of two maps.

        With several targets: those of all and between each two, or of one by name. Raises KeyError for an unknown one.
        """
        name = self._need(SCORES, "compare")
        wanted = self._only(target, tables.TARGET, tables.TARGET_B)
        return self.store.read_table(name, schema=self.scores_schema, filter=wanted).to_pandas()

    def scores_batches(self) -> Iterator[pa.RecordBatch]:
        """What `per_image.gather` takes of the scores, in parts."""
        return self.store.read_batches(SCORES, per_image.needed(self.scores_schema))

    def _only(self, target: str | None, *columns: str) -> pc.Expression | None:
        """What keeps the rows of one target, where there are several."""
        if target is not None:
            column_suffix(target, self.targets)  # raises
        if target is None or len(self.targets) < 2:
            return None
        return functools.reduce(operator.and_, (pc.field(name) == target for name in columns))

    def cascades(self) -> pd.DataFrame:
        """One row per similarity of a map to that of a network derived without training."""
        return self.store.read_table(self._need(CASCADES, "cascade"), schema=tables.CASCADES).to_pandas()

    def cascade_summary(self) -> pd.DataFrame:
        """The curves of parameter randomization: mean similarity to the original at every depth."""
        name = self._need(CASCADE_SUMMARY, "cascade")
        return self.store.read_table(name, schema=tables.CASCADE_SUMMARY).to_pandas()

    def summary(self, target: str | None = None) -> pd.DataFrame:
        """Aggregated scores with bootstrap intervals; of all targets, or of one by name. Raises KeyError."""
        return self._of_targets(SUMMARY, tables.SUMMARY, target)

    def _of_targets(self, table: str, schema: pa.Schema, target: str | None = None) -> pd.DataFrame:
        """A table of the stage conclude; it says itself whether its rows are of several."""
        stored = self.store.dataset(self._need(table, "conclude")).schema
        schema = schema.append(stored.field(tables.TARGET)) if tables.TARGET in stored.names else schema
        return self.store.read_table(table, schema=schema, filter=self._only(target, tables.TARGET)).to_pandas()

    def passes(self) -> pd.DataFrame:
        """One row per method and finished pass over the data: similarity, accuracy, degenerate maps, verdict."""
        return self._of_targets(PASSES, tables.PASSES)

    def scales(self, target: str | None = None) -> pd.DataFrame:
        """At which grid sizes two true models agree on an image, on a sample of images. Raises KeyError."""
        return self._of_targets(SCALES, tables.SCALES, target)

    def localisation(self) -> pd.DataFrame:
        """How well each map points at the regions of its film: a row per film, method, variant and measure."""
        return self.store.read_table(self._need(LOCALISATION, "conclude"), schema=tables.LOCALISATION).to_pandas()

    def history(self, variant: str) -> pd.DataFrame:
        """One row per training epoch; raises RunError for a variant that was brought along."""
        return self.store.read_table(self._of_model(variant, "history.parquet")).to_pandas()

    def variants(self) -> list[str]:
        """Names of the models that are there, in the order of the maps columns."""
        selector = pa.fs.FileSelector(self.store.path("models"), allow_not_found=True)
        names = [info.base_name for info in self.store.fs.get_file_info(selector)]
        present = [name for name in names if self.store.exists(f"models/{name}/model.json")]
        return sorted(present, key=lambda name: (self.model_record(name)["kind"] != "true", name))

    def model_record(self, variant: str) -> ModelRecord:
        """The content of model.json. Raises RunError for a variant the run does not have."""
        return self.store.read_json(self._of_model(variant, "model.json"))

    def _of_model(self, variant: str, file: str) -> str:
        name = f"{MODELS}/{variant}/{file}"
        if not self.store.has(name):
            known = [one.name for one in self.job.variants]
            if variant not in known:
                hint = did_you_mean(variant, known)
                raise RunError(f"{self.path}: no variant {variant!r}{hint}; there are: {', '.join(known)}")
        return self._need(name, "train")

    def unanswered(self) -> dict[str, str]:
        """The images for which some variant has no finite output, and why: no predictions table has them."""
        return {
            image_id: answers.no_answer(name, value)
            for name in reversed(self.variants())  # the first that has none is named
            for image_id, value in self.model_record(name).get("unanswered", {}).items()
        }

    def model(self, variant: str) -> "torch.nn.Module":
        """The trained network in eval mode on the CPU. Raises DamagedError for weights that are not those written."""
        from pneumo_batch.core.models import checkpoints

        model = self.untrained(variant)
        checkpoints.load_state(model, self._checked(f"{MODELS}/{variant}", "model.safetensors"))
        return model.eval()

    def _checked(self, model: str, name: str) -> bytes:
        """The content of a file of a model, if it is what the model's list says."""
        data, wanted = self.store.read_bytes(f"{model}/{name}"), Checksums(self.store).list_of_model(model)
        if wanted.get(f"{model}/{name}", sha256(data)) != sha256(data):
            raise DamagedError(f"{self.path}/{model}/{name}: damaged: not what was written")
        return data

    def untrained(self, variant: str) -> "torch.nn.Module":
        """The network of a variant with fresh weights, from torch's current random state (a file has its own)."""
        from pneumo_batch.core.models import networks

        record, preprocess = self.model_record(variant), self.preprocess(variant)
        shape = {"image_size": preprocess.size, "channels": preprocess.channels, "outputs": record["outputs"]}
        if self.store.exists(f"{MODELS}/{variant}/{PROGRAM}"):
            program = self._checked(f"{MODELS}/{variant}", PROGRAM)
            return networks.program(record["network"], program, **shape)
        return networks.build(record["network"], **shape)

    def inputs(self, ids: Sequence[str], variant: str | None = None) -> "torch.Tensor":
        """The exact network inputs (N, C, H, W) float32 of images, read from the data root.

        `variant` matters only where variants were brought with preprocessing of their own (default: the first).
        Raises RunError for an image that is not there.
        """
        import torch

        if isinstance(ids, str):  # else its letters were looked for
            raise TypeError(f"ids: a list of image ids is needed, not one: [{ids!r}]")
        preprocess = self.preprocess(variant)
        return torch.cat([preprocess.inputs(preprocess.pixels(self._file(image_id))[None]) for image_id in ids])

    def _file(self, image_id: str) -> bytes:
        try:
            return self.images.read_bytes(image_id)
        except FileNotFoundError as error:
            places = [f"{self.path}/{PHANTOM}"] if self.job.is_phantom else map(absolute, self.job.data.roots)
            place = ", ".join(places)
            raise RunError(f"{image_id}: no such image in {place}; ids are those of the manifest") from error

    def baseline(self, variant: str | None = None, method: str = "integrated_gradients") -> "torch.Tensor":
        """The Integrated Gradients baseline (1, C, H, W) float32, or that of a setting, "integrated_gradients@mean".

        Raises ValueError where it depends on the image.
        """
        from pneumo_batch.core.attribution import explainer

        options = self.job.attribution.options_by_method().get(method, {})
        name = str(options.get("baseline", self.job.attribution.integrated_gradients.baseline))
        return explainer.baseline_input(name, self.preprocess(variant))

    def preprocess(self, variant: str | None = None) -> "Preprocess":
        """How images become the network inputs of a variant (default: the first)."""
        from pneumo_batch.core.data.images import Preprocess

        return Preprocess.from_dict(self.model_record(variant or self.variants()[0])["preprocess"])

    @functools.cached_property
    def images(self) -> Roots:
        """The folder or folders the manifest's image ids are relative to, seen from where it is first asked for."""
        return self._roots(self.job)

    def _roots(self, job: schema.Job) -> Roots:
        if job.is_phantom:
            return Roots.one(self.store.fs, self.store.path(PHANTOM))
        return open_roots(job.data.root)

    def _need(self, name: str, stage: str) -> str:
        if not self.store.has(name):
            self.record  # noqa: B018 - says so if this is no run at all
            raise RunError(f"{self.path}: no {name} yet; the stage {stage!r} writes it")
        return name

    @property
    def number(self) -> int:
        """Of the pass over the data, from 1; later ones only where `data.grows`."""
        return self.record.get("pass", 1)

    def is_held(self) -> bool:
        """Whether a process works on this run now."""
        return lock.is_held(self.store)

    def files_of_pass(self, table: str, *, earlier: bool = False) -> list[str]:
        """The files that this pass has given a table, or those of the passes before it."""
        number, found = self.number, self.store.files(table, ".parquet")
        passes = [int(match[1]) if (match := _OF_PASS.search(name)) else 1 for name in found]
        return [name for name, one in zip(found, passes, strict=True) if (one < number if earlier else one == number)]
