"""The tables of a run: its images, their maps and scores, and what was concluded from them."""

import functools
import operator
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.attribution.options import column_suffix
from pneumo_batch.core.similarity import per_image
from pneumo_batch.errors import RunError, did_you_mean
from pneumo_batch.rundir.integrity import reading
from pneumo_batch.rundir.layout import (
    CASCADE_SUMMARY,
    CASCADES,
    DERIVED,
    LOCALISATION,
    MANIFEST,
    MAPS,
    PASSES,
    QUARANTINE,
    REGIONS,
    SCALES,
    SCORES,
    SUMMARY,
    TABLES,
)
from pneumo_batch.rundir.reader.directory import RunDirectory

_LITTLE = {"batch_readahead": 1, "fragment_readahead": 1}  # of a file at once


class RunTables(RunDirectory):
    """Tables as pandas has them; where they may be large, also as Arrow's or in parts."""

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
