"""Image data: write the generated set, download or check one."""

from pathlib import Path
from typing import Any

import click

from pneumo_batch.cli.options import json_option, print_json
from pneumo_batch.core.data.options import GENERATED, Generated
from pneumo_batch.errors import EXIT_DATA


@click.group()
def data() -> None:
    """Write, download or check image data."""


_FOLDERS = {"train": 400, "test": 96, "image_size": 512}
_PUBLISHED = {"train": 96, "test": 24, "image_size": 160}


@data.command()
@click.argument("folder", metavar="DIR")
@click.option(
    "--format", "form", type=click.Choice(GENERATED), help="Write it laid out as a published set, or as a list."
)
@click.option("--train", type=click.IntRange(min=8), help="Training images.  [default: 400; with --format 96]")
@click.option("--test", type=click.IntRange(min=4), help="Test images.  [default: 96; with --format 24]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the generator.")
@click.option(
    "--size", "image_size", type=click.IntRange(32, 4096), help="Side in pixels.  [default: 512; with --format 160]"
)
def demo(folder: str, form: Generated | None, seed: int, **asked: int | None) -> None:
    """Write the generated data set: chest-X-ray-like images with opacities whose masks are known.

    With --format the films have several findings (opacity, effusion, pneumothorax, enlarged heart) and the folders,
    file names and label tables of that set, with its quirks: uncertain and blank labels, lateral films, readers who
    disagree, a person in two splits, a missing, a damaged and an unlisted file. A set without published splits gets
    --train plus --test films; siim films are 1024 pixels a side. DIR/truth.json says what every film shows, and where:
    boxes are x, y, width, height, masks are COCO run lengths, both in pixels of the film.

    An opacity is called Infiltration in nih, pneumonia in padchest, opacity in list and Lung Opacity elsewhere; rsna
    labels opacities only, siim pneumothorax only. The other findings of a set are labelled, but no film shows them.

    \b
    Example:
      pneumo-batch data demo phantom --train 400 --test 96
      pneumo-batch data demo nih --format nih
    """
    from pneumo_batch.core.data import phantom
    from pneumo_batch.errors import JobError

    if Path(folder).exists():
        raise JobError(f"{folder}: exists already; choose a new folder")
    named: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if form:
        from pneumo_batch.core.data.phantom import published

        published.write(Path(folder), form, seed=seed, **(_PUBLISHED | named))
    else:
        phantom.write(Path(folder), seed=seed, **(_FOLDERS | named))
    click.echo(folder)


@data.command()
@click.argument("folder", metavar="DIR")
def fetch(folder: str) -> None:
    """Download "Chest X-Ray Images (Pneumonia)" from Kaggle into DIR/chest_xray and check its image counts.

    \b
    Example:
      pneumo-batch data fetch data
    """
    from pneumo_batch.integrations import kaggle

    click.echo(kaggle.fetch(Path(folder)))


@data.command()
@click.argument("roots", metavar="ROOT...", nargs=-1, required=True)
@click.option("--manifest", metavar="FILE", help="CSV or Parquet file that lists the images, as data.manifest.")
@click.option("--format", "form", metavar="NAME", help="Layout of the data set, as data.format: nih, chexpert, ...")
@click.option(
    "--finding", "findings", metavar="NAME", multiple=True, help="A finding to read, as data.findings; repeatable."
)
@click.option("--regions", metavar="PLACE", help="Boxes or masks, as data.regions: a file, a folder or none.")
@json_option
def check(roots: tuple[str, ...], findings: tuple[str, ...], as_json: bool, **named: str | None) -> int:
    """Audit a data set: counts, sizes, unreadable files, duplicates, leaks. Exit with 3 if it has errors.

    For a published set also: what its label files say, which films are not used, and which have boxes or masks.

    \b
    Example:
      pneumo-batch data check data/chest_xray
      pneumo-batch data check data/nih --format nih --finding Infiltration
    """
    from pneumo_batch.cli import data_check
    from pneumo_batch.job import jobfile

    given = {"manifest": named["manifest"], "format": named["form"], "regions": named["regions"]}
    values: dict[str, object] = {"root": roots[0] if len(roots) == 1 else list(roots)}
    values |= {name: value for name, value in given.items() if value is not None}
    values |= {"findings": list(findings)} if findings else {}
    audit = data_check.audit(jobfile.parse({"name": "check", "data": values}, "data check").data)
    if as_json:
        print_json(audit.as_dict())
    else:
        data_check.show(audit, named["manifest"] or ", ".join(roots))
    return EXIT_DATA if audit.errors else 0
