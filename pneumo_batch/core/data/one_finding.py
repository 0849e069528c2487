"""Films with several findings, as one of these divides them: what is said by class is said of the finding explained."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core import tables


def classes(finding: str) -> list[str]:
    """Names in label order."""
    return [f"without {finding}", finding]


def divide(manifest: pa.Table, finding: str) -> pa.Table:
    """The rows of a manifest with `label` and `class_name` by one finding; `UNKNOWN` where its label is not known."""
    labels_N = manifest[f"{tables.LABELS}{finding}"].fill_null(tables.UNKNOWN).to_numpy()
    names = [*classes(finding), f"{finding} not known"]  # the last is that of UNKNOWN, -1
    return _labelled(manifest, labels_N, names)


def divide_images(images: pa.Table, manifest: pa.Table, finding: str) -> pa.Table:
    """As `divide`, of a table with the columns `IDENTITY` of some images of the manifest."""
    place = pc.index_in(images["image_id"], value_set=manifest["image_id"].combine_chunks())
    divided = divide(manifest, finding).take(place)
    columns = {name: divided[name] for name in ("class_name", "label")}
    return pa.table([columns.get(name, images[name]) for name in images.column_names], schema=images.schema)


def _labelled(table: pa.Table, labels_N: np.ndarray, names: Sequence[str]) -> pa.Table:
    class_name = pa.array([names[label] for label in labels_N], pa.string())
    found = {"label": pa.array(labels_N.astype(np.int32)), "class_name": class_name}
    return pa.table([found.get(name, table[name]) for name in table.column_names], schema=table.schema)
