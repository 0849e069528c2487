"""Other programs: maps as files, runs in MLflow."""

from pathlib import Path

import click

from pneumo_batch.errors import JobError


@click.command()
@click.argument("run_dir", metavar="RUN")
@click.option("--image", "images", multiple=True, metavar="ID", help="An image id of the run; repeatable.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    help="Without --image: at most N images, chosen by a seeded rule.",
)
@click.option("--method", "methods", multiple=True, help="A method; repeatable (default: all).")
@click.option("--variant", "variants", multiple=True, help="A variant; repeatable (default: all).")
@click.option("--target", "targets", multiple=True, help="One of several targets; repeatable (default: all).")
@click.option(
    "--format", "form", type=click.Choice(["png", "npy", "nifti"]), default="png", help="File format (default: png)."
)
@click.option("--out", "folder", metavar="DIR", required=True, help="Folder to write into.")
def export(run_dir: str, form: str, folder: str, limit: int | None, **names: tuple[str, ...]) -> None:
    """Write maps of chosen images as files: PNG overlays, NumPy arrays or NIfTI.

    \b
    Example:
      pneumo-batch export runs/demo-1a2b3c4d5e6f --limit 8 --method grad_cam --format png --out maps
    """
    from pneumo_batch.integrations import export
    from pneumo_batch.rundir.reader import Run

    if limit and names["images"]:
        raise JobError("--limit chooses images, and so does --image: leave one of them out")
    count = export.export(Run(run_dir), export.Choice(limit=limit, **names), form, Path(folder))
    click.echo(f"{count} files in {folder}; {folder}/{export.INDEX} lists them")


@click.command()
@click.argument("run_dir", metavar="RUN")
@click.option("--experiment", default="pneumo-batch", show_default=True, help="MLflow experiment to log to.")
def track(run_dir: str, experiment: str) -> None:
    """Log a finished run to the MLflow server at MLFLOW_TRACKING_URI and print MLflow's run id.

    \b
    Example:
      MLFLOW_TRACKING_URI=http://localhost:5000 pneumo-batch track runs/demo-1a2b3c4d5e6f
    """
    from pneumo_batch.integrations import mlflow
    from pneumo_batch.rundir.reader import Run

    click.echo(mlflow.track(Run(run_dir), experiment))
