"""Columns of the tables of a run that are more than one value a row or one name: of labels, of targets, of maps."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core import tables


def label_columns(names: Iterable[str]) -> list[str]:
    """Of the names of columns those of labels, one a finding, in the order of the networks' outputs."""
    return [name for name in names if name.startswith(tables.LABELS)]


def findings_of(table: pa.Table) -> list[str]:
    """The findings that a table has a column of labels for, in the order of the networks' outputs."""
    return [name.removeprefix(tables.LABELS) for name in label_columns(table.column_names)]


def labelled_as(schema: pa.Schema, table: pa.Table) -> pa.Schema:
    """A schema and the columns of labels that a table has."""
    return tables.with_labels(schema, findings_of(table))


def labels_of(table: pa.Table) -> np.ndarray:
    """Labels int64: (N,) of classes, or (N, K) of K findings, where `tables.UNKNOWN` stands for what is not known."""
    columns = [table[name].fill_null(tables.UNKNOWN).to_numpy() for name in label_columns(table.column_names)]
    return np.stack(columns, axis=1).astype(np.int64) if columns else table["label"].to_numpy().astype(np.int64)


def codes_of(texts: pa.ChunkedArray) -> np.ndarray:
    """(N,) int64: the place of each text among the different ones, sorted; as `np.unique` has it of objects."""
    encoded = texts.combine_chunks().dictionary_encode()
    places = np.empty(len(encoded.dictionary), np.int64)
    places[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(places))
    return places[encoded.indices.to_numpy()]


def joined_targets(parts: Iterable[tuple[str | None, pa.Table]]) -> pa.Table:
    """The same table of each target one after the other (`tables.with_target`); of one target it is as it was."""
    names, found = zip(*parts, strict=True)
    if len(found) < 2:
        return found[0]
    field = tables.with_target(found[0].schema, names).field(tables.TARGET)
    named = [
        table.append_column(field, pa.array([name] * len(table))) for name, table in zip(names, found, strict=True)
    ]
    return pa.concat_tables(named)


def tensor_column(maps_BHW: np.ndarray) -> pa.FixedShapeTensorArray:
    """Maps (B, H, W) as an Arrow `fixed_shape_tensor` column, without a copy when they are contiguous float32."""
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(maps_BHW, dtype=np.float32))


def tensor_array(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """The inverse of `tensor_column`: (B, H, W) float32; a column of several chunks is copied once."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    arrays = [chunk.to_numpy_ndarray() for chunk in chunks]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
