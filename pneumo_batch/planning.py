"""What a job would do, without doing it: images, variants, maps and bytes of every stage."""

import math
from collections import Counter
from typing import Any

from rich.table import Table

from pneumo_batch import pipeline, terminal
from pneumo_batch.config import Job
from pneumo_batch.core import attribution, comparison, networks
from pneumo_batch.core.images import Preprocess
from pneumo_batch.stages import attribute, index, train
from pneumo_batch.storage import Store

_SCORE_BYTES = 8  # measured: a row of the scores table after compression


def plan(job: Job, run_dir: str | None) -> dict[str, Any]:
    """Numbers of every stage. Raises JobError or DataError as the run itself would."""
    fingerprint = pipeline.fingerprint(job)
    splits, classes = _images(job)
    models = [(variant.name, variant.is_true) for variant in train.planned(job)]
    models += [(spec.name, spec.kind == "true") for spec in job.variant]
    attributed = sum(splits.get(split, 0) for split in job.attribution.splits)
    attributed = min(attributed, job.attribution.limit or attributed)
    shapes = _map_shapes(job, len(classes))
    per_image = sum(4 * math.prod(shape) for shape in shapes.values()) * len(models)
    rows = _score_rows(job, models)
    return {
        "name": job.name,
        "run_dir": run_dir or str(pipeline.default_run_dir(job, fingerprint)),
        "fingerprint": fingerprint,
        "classes": classes,
        "stages": {
            "index": {"images": sum(splits.values()), **splits},
            "train": {
                "variants": [name for name, _ in models],
                "trained": len(train.planned(job)),
                "epochs": {v.name: train.recipe(job, v).epochs for v in train.planned(job)},
            },
            "attribute": {
                "images": attributed,
                "maps": attributed * len(models) * len(shapes),
                "map_shapes": {name: list(shape) for name, shape in shapes.items()},
                "bytes": attributed * per_image,
            },
            "compare": {"scores": attributed * rows, "bytes": attributed * rows * _SCORE_BYTES},
        },
    }


def _images(job: Job) -> tuple[dict[str, int], list[str]]:
    """Images of each split as they lie there (validation is carved from train later), and the classes."""
    if job.is_phantom:
        return {"train": job.phantom.train, "test": job.phantom.test}, ["NORMAL", "PNEUMONIA"]
    listing = index.discover(job, Store(job.data.root))
    return dict(Counter(listing["split"].to_pylist())), train.classes(listing)


def _map_shapes(job: Job, classes: int) -> dict[str, tuple[int, int]]:
    preprocess = Preprocess(size=job.data.image_size, channels=job.data.channels)
    model = networks.build(
        job.network.name,
        image_size=preprocess.size,
        channels=preprocess.channels,
        outputs=1 if classes == 2 else classes,
    )
    return attribution.Explainer(model.eval(), attribute.method_options(job.attribution), preprocess).map_shapes


def _score_rows(job: Job, models: list[tuple[str, bool]]) -> int:
    found = comparison.Comparison(
        variants=tuple(models),
        methods=tuple(job.attribution.methods),
        metrics=tuple(job.compare.metrics),
        region_grid=job.compare.region_grid,
        size=job.data.image_size,
        seed=job.compare.partner_seed,
    )
    return sum(len(found.pairs[cell.kind]) for cell in found.cells)


def show(found: dict[str, Any]) -> None:
    console = terminal.console()
    stages = found["stages"]
    table = Table("stage", "would do", box=None, pad_edge=False)
    splits = ", ".join(f"{name} {count}" for name, count in stages["index"].items() if name != "images")
    table.add_row("index", f"{stages['index']['images']} images ({splits})")
    epochs = ", ".join(f"{name} (up to {count} epochs)" for name, count in stages["train"]["epochs"].items())
    table.add_row("train", f"{stages['train']['trained']} variants: {epochs}" if epochs else "nothing")
    maps = stages["attribute"]
    shapes = ", ".join(f"{name} {h} x {w}" for name, (h, w) in maps["map_shapes"].items())
    table.add_row("attribute", f"{maps['images']} images, {maps['maps']} maps ({shapes}), {_size(maps['bytes'])}")
    table.add_row("compare", f"{stages['compare']['scores']} scores, about {_size(stages['compare']['bytes'])}")
    table.add_row("conclude", "summary and verdict")
    table.add_row("report", "one HTML page")
    console.print(table)
    console.print(f"run directory  {found['run_dir']}")


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
