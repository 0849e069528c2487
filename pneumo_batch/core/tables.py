"""Arrow schemas of every table of a run, in one place: others script against these names and types.

Of a job with several findings, manifest and predictions have a column of labels a finding too (`with_labels`).
"""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

MANIFEST = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # POSIX path relative to the data root
        pa.field("split", pa.string(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("subtype", pa.string()),  # bacteria, virus or null
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("mode", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("gray_low", pa.int16()),  # percentiles 1 and 99 of the gray values, 0 to 255
        pa.field("gray_high", pa.int16()),
        pa.field("cells", pa.binary(64)),  # means of 8 x 8 cells of the film, one byte each, row by row
        pa.field("hash", pa.binary(32)),  # of what the film shows (core/data/likeness.py)
        # as a list or a published set tells them; null where it does not
        pa.field("view", pa.string()),
        pa.field("sex", pa.string()),
        pa.field("age", pa.float32()),  # years
        pa.field("site", pa.string()),
    ]
)
LOOKS = ("gray_low", "gray_high", "cells", "hash")  # of the manifest: a third of its bytes, for the audit alone

QUARANTINE = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("split", pa.string()),
        pa.field("class_name", pa.string()),
        pa.field("stage", pa.string(), nullable=False),  # index or attribute
        pa.field("reason", pa.string(), nullable=False),
    ]
)

REGIONS = pa.schema(  # where a film shows a finding: a row each box or mask
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("finding", pa.string(), nullable=False),
        pa.field("reader", pa.string()),  # who outlined it, where the set tells
        pa.field("shape", pa.string(), nullable=False),  # box or mask
        pa.field("x", pa.float64()),  # of a box, in pixels of the image from its left and upper edge
        pa.field("y", pa.float64()),
        pa.field("width", pa.float64()),
        pa.field("height", pa.float64()),
        pa.field("mask", pa.binary()),  # PNG of one bit a pixel, of the image or a larger copy of it
    ]
)

HISTORY = pa.schema(
    [
        pa.field("variant", pa.string(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),  # from 1
        pa.field("learning_rate", pa.float64()),
        pa.field("train_loss", pa.float64()),
        pa.field("train_accuracy", pa.float64()),  # running, in training mode, on the labels the variant was given
        pa.field("memorised", pa.float64()),  # balanced, in eval mode; null in epochs where it was not measured
        pa.field("val_loss", pa.float64()),
        pa.field("val_accuracy", pa.float64()),
        pa.field("val_auroc", pa.float64()),
        pa.field("seconds", pa.float64()),
    ]
)

PREDICTIONS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),  # the true one
        pa.field("logits", pa.list_(pa.float32()), nullable=False),  # one for two classes, else one per class
    ]
)

_DICTIONARY = pa.dictionary(pa.int16(), pa.string())

SCORES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("method", _DICTIONARY, nullable=False),
        pa.field("view", _DICTIONARY, nullable=False),
        pa.field("scale", _DICTIONARY, nullable=False),
        pa.field("metric", _DICTIONARY, nullable=False),
        pa.field("kind", _DICTIONARY, nullable=False),
        pa.field("variant_a", _DICTIONARY, nullable=False),
        pa.field("variant_b", _DICTIONARY, nullable=False),
        pa.field("score", pa.float32(), nullable=False),  # NaN if undefined
        pa.field("degenerate", pa.bool_(), nullable=False),
    ]
)

SUMMARY = pa.schema(
    [
        pa.field("class_name", pa.string(), nullable=False),  # "all", or one class
        pa.field("method", pa.string(), nullable=False),
        pa.field("view", pa.string(), nullable=False),
        pa.field("scale", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("images", pa.int64(), nullable=False),
        pa.field("pairs", pa.int64(), nullable=False),
        pa.field("degenerate", pa.int64(), nullable=False),
        pa.field("mean", pa.float64()),
        pa.field("std", pa.float64()),
        pa.field("median", pa.float64()),
        pa.field("ci_low", pa.float64()),
        pa.field("ci_high", pa.float64()),
    ]
)

# Similarity of the maps of a variant to those it has with layers re-initialised (core/randomization/cascade.py).
CASCADES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("method", _DICTIONARY, nullable=False),
        pa.field("view", _DICTIONARY, nullable=False),
        pa.field("scale", _DICTIONARY, nullable=False),
        pa.field("metric", _DICTIONARY, nullable=False),
        pa.field("variant", _DICTIONARY, nullable=False),  # the original
        pa.field("mode", _DICTIONARY, nullable=False),  # cascade: the top `depth` layers; independent: that one alone
        pa.field("layer", _DICTIONARY, nullable=False),  # the deepest one re-initialised; empty at depth 0
        pa.field("depth", pa.int32(), nullable=False),  # counted from the output; 0 is the original with itself
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),  # NaN if undefined
        pa.field("degenerate", pa.bool_(), nullable=False),
        pa.field("entropy", pa.float32(), nullable=False),  # bits, of the derived network's output for this image
        pa.field("map_entropy", pa.float32()),  # bits, of the histogram of its map in this view; null in older runs
        pa.field("smooth_score", pa.float32()),  # of maps averaged over noisy inputs; null without cascade.noisy
    ]
)

CASCADE_SUMMARY = pa.schema(
    [
        *(
            pa.field(name, pa.string(), nullable=False)
            for name in ("variant", "method", "view", "scale", "metric", "mode")
        ),
        pa.field("depth", pa.int32(), nullable=False),
        pa.field("layer", pa.string(), nullable=False),
        pa.field("images", pa.int64(), nullable=False),  # with a defined score
        pa.field("pairs", pa.int64(), nullable=False),
        pa.field("degenerate", pa.int64(), nullable=False),
        pa.field("mean", pa.float64()),
        pa.field("ci_low", pa.float64()),
        pa.field("ci_high", pa.float64()),
        pa.field("entropy", pa.float64()),  # bits, mean
        pa.field("map_entropy", pa.float64()),  # bits, mean
        pa.field("rise", pa.float64()),  # of the map's entropy over the original's, relative: eMPRT at full depth
        pa.field("rise_low", pa.float64()),
        pa.field("rise_high", pa.float64()),
        pa.field("smooth_mean", pa.float64()),  # sMPRT: as mean, of maps averaged over noisy inputs
        pa.field("smooth_low", pa.float64()),
        pa.field("smooth_high", pa.float64()),
    ]
)

SCALES = pa.schema(  # on a sample of images; similarity is Spearman's of the maps pooled to grid x grid cells
    [
        pa.field("method", pa.string(), nullable=False),
        pa.field("view", pa.string(), nullable=False),
        pa.field("grid", pa.int32(), nullable=False),
        pa.field("images", pa.int64(), nullable=False),
        pa.field("mean_tt", pa.float64()),
        pa.field("mean_ttx", pa.float64()),
        pa.field("mean_tn", pa.float64()),
        pa.field("difference_low", pa.float64()),  # 95 % interval of the mean TT - TTx
        pa.field("difference_high", pa.float64()),
    ]
)

LOCALISATION = pa.schema(  # how well a map points at the regions of a film: four rows a map
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("finding", pa.string(), nullable=False),
        pa.field("method", pa.string()),  # null for mean_mask and edge, which no method makes
        pa.field("variant", pa.string(), nullable=False),  # or a baseline: mean_mask, edge, cross_image
        pa.field("measure", pa.string(), nullable=False),  # hit, auprc, iou, positive_share
        pa.field("value", pa.float64(), nullable=False),  # NaN if undefined
    ]
)

PASSES = pa.schema(  # one row per method and pass over the data; means are those of the primary cell
    [
        pa.field("pass", pa.int32(), nullable=False),  # from 1
        pa.field("time", pa.string(), nullable=False),  # UTC, ISO 8601
        pa.field("method", pa.string(), nullable=False),
        pa.field("images", pa.int64(), nullable=False),  # indexed
        pa.field("attributed", pa.int64(), nullable=False),
        pa.field("mean_tt", pa.float64()),
        pa.field("mean_tn", pa.float64()),
        pa.field("mean_ttx", pa.float64()),  # the floor: true models on different images
        pa.field("mean_tnx", pa.float64()),
        pa.field("headroom", pa.float64()),  # what true models share about a film beyond the floor
        pa.field("share", pa.float64()),  # of it, owed to the labels
        pa.field(
            "share_low", pa.float64()
        ),  # 95 % interval over patients and models; null with fewer than three a kind
        pa.field("share_high", pa.float64()),
        pa.field("accuracy", pa.float64()),  # of the true variants on test, mean
        pa.field("degenerate", pa.float64()),  # share of maps without a similarity, in the primary view
        pa.field("verdict", pa.string(), nullable=False),
    ]
)

# Of a run with several targets (`with_target`): the output that is explained by the row's maps, or by map a; by map b.
TARGET, TARGET_B = "target", "target_b"
LABELS = "label__"  # begins the names of the columns of labels, one a finding
UNKNOWN = -1  # a label that neither loss nor metrics see: uncertain (-1 in the tables) or not mentioned (null)

# What identifies an image in every table derived from the manifest.
IDENTITY = [MANIFEST.field(name) for name in ("image_id", "class_name", "label", "patient_id")]


def with_labels(schema: pa.Schema, findings: Sequence[str]) -> pa.Schema:
    """A schema and a column of labels for each of several findings: 1, 0, -1 (uncertain) or null (not mentioned)."""
    return pa.schema([*schema, *(pa.field(f"{LABELS}{name}", pa.int8()) for name in findings)])


def with_target(schema: pa.Schema, targets: Sequence[str]) -> pa.Schema:
    """A schema and, where targets are several, a column that says which one a row is of; with one it is as it was."""
    return schema.append(pa.field(TARGET, pa.string(), nullable=False)) if len(targets) > 1 else schema


def scores_schema(targets: Sequence[str]) -> pa.Schema:
    """Of the scores table: with several targets it says of which one map a is, and of which map b."""
    if len(targets) < 2:
        return SCORES
    return pa.schema([*SCORES, *(pa.field(name, _DICTIONARY, nullable=False) for name in (TARGET, TARGET_B))])


def maps_schema(
    shapes: Mapping[str, tuple[int, int]],
    variants: Iterable[str],
    deltas: Iterable[str],
    steps: Iterable[str] = (),
    suffixes: Sequence[str] = ("",),
) -> pa.Schema:
    """Schema of the maps table.

    `shapes` gives each method's map shape (height, width); `deltas` names the methods that report a completeness
    delta, `steps` those that choose the number of points themselves. Columns per variant: `logit__<variant>`,
    `<method>__<variant>`, `<method>_delta__<variant>`, `<method>_steps__<variant>`; the same for each target, with its
    suffix (`column_suffix`).
    """
    deltas, steps = set(deltas), set(steps)
    fields = list(IDENTITY)
    for variant in (f"{variant}{suffix}" for variant in variants for suffix in suffixes):
        fields.append(pa.field(f"logit__{variant}", pa.float32(), nullable=False))
        for method, shape in shapes.items():
            fields.append(pa.field(f"{method}__{variant}", pa.fixed_shape_tensor(pa.float32(), shape), nullable=False))
            if method in deltas:
                fields.append(pa.field(f"{method}_delta__{variant}", pa.float32(), nullable=False))
            if method in steps:
                fields.append(pa.field(f"{method}_steps__{variant}", pa.int32(), nullable=False))
    return pa.schema(fields)


def with_map_shapes(schema: pa.Schema, shapes: Mapping[str, tuple[int, int]]) -> pa.Schema:
    """A schema of maps with other shapes for some columns, by name: those of variants of another network."""
    fields = [
        pa.field(field.name, pa.fixed_shape_tensor(pa.float32(), shapes[field.name]), nullable=False)
        if field.name in shapes
        else field
        for field in schema
    ]
    return pa.schema(fields)
