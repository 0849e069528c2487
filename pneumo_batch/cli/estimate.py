"""What a job would do, without doing it: images, variants, maps and bytes of every stage."""

import math
from typing import Any

from pneumo_batch import pipeline, terminal
from pneumo_batch.core.models import costs
from pneumo_batch.core.randomization import curves
from pneumo_batch.execution import cluster
from pneumo_batch.job.schema import Job
from pneumo_batch.rundir.storage import Store
from pneumo_batch.stages import compare, survey
from pneumo_batch.stages.workers import trainer

_AUTO_STEPS = 100  # docs/performance.md
_INTEGRATED = "integrated_gradients"
_NODE_CORES = 16
_SCORE_BYTES = 3  # measured: a row of the scores table after compression


def plan(job: Job, run_dir: str | None) -> dict[str, Any]:
    """Numbers of every stage. Raises JobError or DataError as the run itself would before it reads an image."""
    found = survey.survey(job)
    splits, attributed = found.images, found.attributed(job)
    models = job.variants
    shapes = survey.check_parts(job, found.classes)
    path = run_dir or str(pipeline.default_run_dir(job, found.fingerprint))
    survey.check_room(job, Store(path), found, shapes)
    compared = compare.comparison_of(job, models)
    rows = sum(len(compared.pairs[cell.kind]) for cell in compared.cells)
    derived = len(survey.derived(job, found.classes))
    cascaded = min(attributed, job.cascade.images)
    per_network = len(curves.cells(compared))
    return {
        "name": job.name,
        "run_dir": path,
        "fingerprint": found.fingerprint,
        "classes": found.classes,
        "positive": found.classes[1] if len(found.classes) == 2 else None,
        "network": job.network.name,
        "estimate": _estimate(job, attributed, len(models)) | _training_estimate(job, splits),
        "stages": {
            "index": {"images": sum(splits.values()), **splits},
            "train": {
                "variants": [variant.name for variant in models],
                "trained": len(job.train.variants),
                "epochs": _epochs(job),
            },
            "attribute": {
                "images": attributed,
                "maps": attributed * len(models) * len(shapes),
                "map_shapes": {name: list(shape) for name, shape in shapes.items()},
                "bytes": attributed * survey.map_bytes(job, shapes),
            },
            "compare": {"scores": attributed * rows, "bytes": attributed * rows * _SCORE_BYTES},
            "cascade": {
                "networks": derived,
                "images": cascaded if derived else 0,
                "scores": cascaded * derived * per_network,
            },
        },
    }


def _estimate(job: Job, images: int, models: int) -> dict[str, Any]:
    """Core-hours of attribution, and on how many nodes of a usual size they would take an hour."""
    wanted = job.attribution.integrated_gradients.steps if _INTEGRATED in job.attribution.methods else 1
    steps = _AUTO_STEPS if wanted == "auto" else wanted
    hours = costs.attribution_hours(images, models, job.data.image_size, steps)
    return {
        "core_hours": round(hours, 3),
        "hours_here": round(hours / cluster.usable_cpus(), 3),
        "nodes_for_an_hour": max(1, math.ceil(hours / _NODE_CORES)),
        "node_cores": _NODE_CORES,
        "measured_with": costs.MEASURED_NETWORK,
    }


def _training_estimate(job: Job, splits: dict[str, int]) -> dict[str, Any]:
    """Core-hours of training if no variant stops early; validation images are carved from those of train."""
    images = splits.get("train", 0) + splits.get("val", 0)
    hours = costs.training_hours(images, sum(_epochs(job).values()), job.data.image_size)
    return {"training_core_hours_at_most": round(hours, 3)}


def _epochs(job: Job) -> dict[str, int]:
    """Epochs of every variant to be trained, at most."""
    return {variant.name: trainer.recipe(job, variant).epochs for variant in job.train.variants}


def show(found: dict[str, Any]) -> None:
    console = terminal.console()
    stages = found["stages"]
    table = terminal.table("stage", "would do")
    splits = ", ".join(f"{name} {count}" for name, count in stages["index"].items() if name != "images")
    table.add_row("index", f"{stages['index']['images']} images ({splits})")
    epochs = ", ".join(f"{name} (up to {count} epochs)" for name, count in stages["train"]["epochs"].items())
    table.add_row("train", f"{stages['train']['trained']} variants: {epochs}" if epochs else "nothing")
    maps = stages["attribute"]
    shapes = ", ".join(f"{name} {h} x {w}" for name, (h, w) in maps["map_shapes"].items())
    table.add_row("attribute", f"{maps['images']} images, {maps['maps']} maps ({shapes}), {_size(maps['bytes'])}")
    table.add_row("compare", f"{stages['compare']['scores']} scores, about {_size(stages['compare']['bytes'])}")
    derived = stages["cascade"]
    counts = f"{derived['images']} images, {derived['networks']} derived networks, {derived['scores']} scores"
    table.add_row("cascade", counts if derived["networks"] else "nothing")
    table.add_row("conclude", "summary and verdict")
    table.add_row("report", "one HTML page")
    console.print(table)
    about = found["estimate"]
    other = "" if found["network"] == about["measured_with"] else f" for {about['measured_with']}, and yours differs"
    count = about["nodes_for_an_hour"]
    nodes = f"in an hour on about {count} node{'s' if count > 1 else ''} of {about['node_cores']} cores"
    hours = f"about {about['core_hours']:.2g} core-hours{other}: about {about['hours_here']:.2g} hours here"
    if epochs:
        console.print(f"training       at most {about['training_core_hours_at_most']:.2g} core-hours{other}")
    console.print(f"attribution    {hours}, {nodes}")
    console.print(f"classes        {_classes(found)}")
    console.print(f"run directory  {found['run_dir']}")


def _classes(found: dict[str, Any]) -> str:
    """The classes in label order, and which of two the logit is of: nothing else shows that they are swapped."""
    listed = ", ".join(f"{label} {name}" for label, name in enumerate(found["classes"]))
    return f"{listed}; the logit is of {found['positive']}" if found["positive"] else listed


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
