"""What a film costs once all maps are scored: conclude and report of a run of many films, by step.

    python tests/bench/bench_films.py                  # 100 000 films
    python tests/bench/bench_films.py 20000 FOLDER     # the run stays below FOLDER, for another look

The run is written here: tables of the right size and shape with values drawn at random, maps of 32 px, films that are
a few files under many names. Three models of true and three of random labels, two methods, two metrics, and a third of
the films with a box. Prints a table and asserts nothing.
"""

import contextlib
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from bench_rows import Meter
from PIL import Image

from pneumo_batch import report
from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.models import evaluation
from pneumo_batch.core.similarity import options, pairs
from pneumo_batch.core.variants import Variant
from pneumo_batch.job import jobfile
from pneumo_batch.rundir.writer import RunWriter
from pneumo_batch.stages import conclude

FILMS = 100_000
SIZE = 32
CLASSES = ("NORMAL", "PNEUMONIA")
METHODS = {"integrated_gradients": (SIZE, SIZE), "grad_cam": (4, 4)}
METRICS = ("spearman", "pearson")
SPLITS = {"test": 1.0, "train": 0.25, "val": 0.05}  # films by those of test
_FILES = 64  # different films
_SCORED = 64  # films of a file of scores, as compare writes them
_MAPS = 256  # films of a file of maps


def write_run(folder: Path, films: int) -> RunWriter:
    """A run that has been scored."""
    rng = np.random.default_rng(0)
    values = {
        "name": "films",
        "data": {"root": str(folder / "films"), "image_size": SIZE},
        "train": {"true_seeds": [0, 1, 2], "random_seeds": [100, 101, 102]},
        "attribution": {"methods": list(METHODS)},
        "compare": {"metrics": list(METRICS)},
    }
    run = RunWriter(folder / "run")
    run.open(jobfile.parse(values, "bench"), "f" * 64)
    manifest = _manifest(films, rng)
    _link_films(folder / "films", manifest["image_id"].to_pylist(), rng)
    run.store.write_table("manifest/part-0.parquet", manifest)
    run.store.write_table("quarantine.parquet", tables.QUARANTINE.empty_table())
    run.store.write_table("regions.parquet", _regions(manifest))
    for variant in run.job.trained:
        _write_model(run, variant, manifest, rng)
    test = manifest.filter(pa.compute.equal(manifest["split"], "test"))
    test = test.take(pairs.hash_order(test["image_id"].to_pylist(), 0))
    _write_maps(run, test, rng)
    _write_scores(run, test, rng)
    return run


def _manifest(films: int, rng: np.random.Generator) -> pa.Table:
    splits = np.repeat(list(SPLITS), [int(films * share) for share in SPLITS.values()])
    count = len(splits)
    labels = np.arange(count) % 3 // 2
    look_C = rng.integers(60, 190, 64)
    numbered = zip(splits, labels, range(count), strict=True)
    columns = {
        "image_id": [f"{split}/{CLASSES[label]}/{number:08}.png" for split, label, number in numbered],
        "split": splits,
        "class_name": np.array(CLASSES)[labels],
        "label": labels,
        "patient_id": [f"p{number // 4:08}" for number in range(count)],  # four films each
        "width": np.full(count, 64),
        "height": rng.integers(56, 64, count),
        "mode": ["L"] * count,
        "bytes": np.full(count, 4000),
        "sha256": [rng.bytes(32).hex() for _ in range(count)],
        "gray_low": rng.integers(0, 20, count),
        "gray_high": rng.integers(200, 255, count),
        "cells": [(look_C + rng.integers(-60, 60, 64)).astype(np.uint8).tobytes() for _ in range(count)],
        "hash": [rng.bytes(32) for _ in range(count)],
    }
    return _table(columns, tables.MANIFEST, count).sort_by("image_id")


def _table(columns: dict, schema: pa.Schema, count: int) -> pa.Table:
    """Columns that are not given are null."""
    known = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in schema
    ]
    return pa.table(known, schema=schema)


def _link_films(folder: Path, ids: list[str], rng: np.random.Generator) -> None:
    (folder / "files").mkdir(parents=True)
    for number in range(_FILES):
        Image.fromarray(rng.integers(0, 255, (60, 64), dtype=np.uint8)).save(folder / f"files/{number}.png")
    for name in sorted({image_id.rpartition("/")[0] for image_id in ids}):
        (folder / name).mkdir(parents=True)
    for number, image_id in enumerate(ids):
        (folder / image_id).hardlink_to(folder / f"files/{number % _FILES}.png")


def _regions(manifest: pa.Table) -> pa.Table:
    """A box on every film with the finding."""
    ids = manifest.filter(pa.compute.equal(manifest["label"], 1))["image_id"].to_pylist()
    count = len(ids)
    columns = {"image_id": ids, "finding": [CLASSES[1]] * count, "shape": ["box"] * count}
    columns |= {"x": np.arange(count) % 20 + 0.0, "y": np.arange(count) % 15 + 0.0}
    columns |= {"width": np.full(count, 20.0), "height": np.full(count, 15.0)}
    return _table(columns, tables.REGIONS, count)


def _write_model(run: RunWriter, variant: Variant, manifest: pa.Table, rng: np.random.Generator) -> None:
    arm, logits, labels = run.job.arms[variant.kind], {}, {}
    for split in SPLITS:
        labels[split] = manifest.filter(pa.compute.equal(manifest["split"], split))["label"].to_numpy()
        skill = 2.0 if variant.is_true else 0.0
        noise = rng.standard_normal((len(labels[split]), 1)) + skill * (2 * labels[split][:, None] - 1)
        logits[split] = noise.astype(np.float32)
    record = {
        "name": variant.name,
        "kind": variant.kind,
        "seed": variant.seed,
        "arm": arm.as_record(),
        "network": "cnn5",
        "classes": list(CLASSES),
        "outputs": 1,
        "preprocess": {"size": SIZE, "channels": 1, "pad": "black", "mean": 0.5, "std": 0.25},
        **evaluation.measure(logits, labels),
        "epochs": 2,
        "chosen_epoch": 2,
        "memorised": 1.0 if arm.is_permuted else None,
        "label_agreement": 1.0 if variant.is_true else 0.5,
    }
    run.store.write_json(f"models/{variant.name}/model.json", record)
    run.store.write_table(f"models/{variant.name}/predictions.parquet", evaluation.predictions(manifest, logits))


def _write_maps(run: RunWriter, images: pa.Table, rng: np.random.Generator) -> None:
    """The same maps in every file: what is read is measured, not what is seen."""
    schema = tables.maps_schema(METHODS, [variant.name for variant in run.job.trained], [])
    drawn = {
        field.name: rng.standard_normal((_MAPS, *getattr(field.type, "shape", ()))).astype(np.float32)
        for field in schema
        if field.name not in images.column_names
    }
    for number, start in enumerate(range(0, images.num_rows, _MAPS)):
        part = images.slice(start, _MAPS)
        found = {name: values[: part.num_rows] for name, values in drawn.items()}
        columns = [
            part[field.name].combine_chunks()
            if field.name not in found
            else (pa.array if found[field.name].ndim == 1 else table_columns.tensor_column)(found[field.name])
            for field in schema
        ]
        run.store.write_table(f"maps/part-{number:06}.parquet", pa.Table.from_arrays(columns, schema=schema))


def _write_scores(run: RunWriter, images: pa.Table, rng: np.random.Generator) -> None:
    """Maps on one film are alike where both models are true, those of Integrated Gradients whatever models are."""
    plan = [(kind, *pair) for kind, found in pairs.plan(run.job.trained).items() for pair in found]
    rows = [
        (*cell, *pair) for cell in itertools.product(METHODS, options.VIEWS, options.SCALES, METRICS) for pair in plan
    ]
    names = ("method", "view", "scale", "metric", "kind", "variant_a", "variant_b")
    alike_R = np.array([row[4] == "true_true" or (pairs.is_within(row[4]) and "gradients" in row[0]) for row in rows])
    encoded = {
        name: pa.array(texts).dictionary_encode().cast(tables.SCORES.field(name).type)
        for name, texts in zip(names, zip(*rows, strict=True), strict=True)
    }
    for number, start in enumerate(range(0, images.num_rows, _SCORED)):
        part = images.slice(start, _SCORED)
        scores = rng.uniform(-0.2, 0.3, (part.num_rows, len(rows))) + 0.6 * alike_R
        film_of, row_of = np.divmod(np.arange(scores.size), len(rows))
        columns = {name: part[name].combine_chunks().take(film_of) for name in ("image_id", "label", "patient_id")}
        columns |= {name: values.take(row_of) for name, values in encoded.items()}
        columns |= {"score": scores.astype(np.float32).ravel(), "degenerate": np.zeros(scores.size, bool)}
        run.store.write_table(f"scores/part-{number:06}.parquet", pa.table(columns, schema=tables.SCORES))


def main(films: int = FILMS, place: str = "") -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(place or stack.enter_context(tempfile.TemporaryDirectory()))
        run = RunWriter(folder / "run") if (folder / "run").exists() else write_run(folder, films)
        meter = Meter(films)
        with meter.step("conclude"):
            conclude.execute(run.job, run, None)
        run.stage("conclude", status="complete", seconds=1.0, counts={})
        with meter.step("report"):
            counts = report.build(run)
        print(f"\npage {counts['bytes'] / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:3])
