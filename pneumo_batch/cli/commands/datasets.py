"""Image data: write the generated set, download or check one."""

from pathlib import Path

import click

from pneumo_batch.cli.options import json_option, print_json
from pneumo_batch.errors import EXIT_DATA


@click.group()
def data() -> None:
    """Write, download or check image data."""


@data.command()
@click.argument("folder", metavar="DIR")
@click.option("--train", type=click.IntRange(min=8), default=400, show_default=True, help="Training images.")
@click.option("--test", type=click.IntRange(min=4), default=96, show_default=True, help="Test images.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the generator.")
@click.option("--size", type=click.IntRange(32, 4096), default=512, show_default=True, help="Side in pixels.")
def demo(folder: str, train: int, test: int, seed: int, size: int) -> None:
    """Write the generated data set: chest-X-ray-like images, opacities with known masks.

    \b
    Example:
      pneumo-batch data demo phantom --train 400 --test 96
    """
    from pneumo_batch.core.data import phantom
    from pneumo_batch.errors import JobError

    if Path(folder).exists():
        raise JobError(f"{folder}: exists already; choose a new folder")
    phantom.write(Path(folder), train=train, test=test, seed=seed, image_size=size)
    click.echo(folder)


@data.command()
@click.argument("folder", metavar="DIR")
def fetch(folder: str) -> None:
    """Download "Chest X-Ray Images (Pneumonia)" from Kaggle into DIR/chest_xray, and count it.

    \b
    Example:
      pneumo-batch data fetch data
    """
    from pneumo_batch.integrations import kaggle

    click.echo(kaggle.fetch(Path(folder)))


@data.command()
@click.argument("roots", metavar="ROOT...", nargs=-1, required=True)
@click.option("--manifest", metavar="FILE", help="CSV or Parquet file that names the images, as data.manifest.")
@click.option("--format", "form", metavar="NAME", help="How the set is laid out, as data.format: nih, chexpert, ...")
@click.option("--finding", metavar="NAME", help="The finding to tell apart, as data.findings.")
@json_option
def check(roots: tuple[str, ...], manifest: str | None, form: str | None, finding: str | None, as_json: bool) -> int:
    """Audit a data set: counts, sizes, unreadable files, duplicates, leaks. Exit 3 when it has errors.

    Of a published set also what its label files say and which films are not used.

    \b
    Example:
      pneumo-batch data check data/chest_xray
      pneumo-batch data check data/nih --format nih --finding Pneumonia
    """
    from pneumo_batch.cli import doctor
    from pneumo_batch.job import jobfile

    given = {"manifest": manifest, "format": form, "findings": [finding] if finding else None}
    values = {"root": roots[0] if len(roots) == 1 else list(roots)}
    values |= {name: value for name, value in given.items() if value is not None}
    audit = doctor.audit(jobfile.parse({"name": "check", "data": values}, "data check").data)
    if as_json:
        print_json(audit.as_dict())
    else:
        doctor.show(audit, manifest or ", ".join(roots))
    return EXIT_DATA if audit.errors else 0
