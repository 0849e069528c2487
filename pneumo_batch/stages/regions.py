"""Which boxes and masks a job's `data.regions` names, and the table of them; without Ray, as the listing."""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
from pyarrow import fs as pafs

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.data import manifest as manifests
from pneumo_batch.core.data.manifest import Inventory
from pneumo_batch.core.data.regions import sources, table
from pneumo_batch.core.data.regions.sources import Source
from pneumo_batch.core.data.regions.table import Built
from pneumo_batch.core.data.roots import Root, Roots
from pneumo_batch.errors import DataError, JobError
from pneumo_batch.job.schema import NO_REGIONS, PHANTOM, Data
from pneumo_batch.rundir.locations import open_filesystem, read_location, refused


class Regions(NamedTuple):
    """The table (schema REGIONS), what there is in words, and why what lies beside a set is not used."""

    table: pa.Table
    lines: Sequence[str] = ()
    unfit: str | None = None


def source(data: Data, images: Roots, inventory: Inventory | None) -> Source | None:
    """Where the regions come from; None where there are none. Raises JobError for a place that is not there."""
    if data.regions == NO_REGIONS:
        return None
    if data.names_regions:
        return named(data.regions)
    if data.root == PHANTOM:
        (root,) = images.by_name.values()
        return sources.masks_beside(root)
    return inventory.regions if inventory else None


def digest(found: Source) -> str:
    """What of it goes into the fingerprint. Raises DataError where it cannot be read, before a film is opened."""
    for _ in found.found([]).outlines:
        pass
    return found.digest()


def of_images(data: Data, images: Roots, inventory: Inventory, manifest: pa.Table) -> Regions:
    """The regions of the images of a manifest.

    Raises DataError for a file that says what cannot be, and for one of the user's own that is of other images. What
    comes with a set and does not fit, because the films are copies in another size, is left out.
    """
    nothing = Regions(tables.REGIONS.empty_table())
    if (found := source(data, images, inventory)) is None:
        return nothing
    try:
        built = table.build(found.found(manifest["image_id"].to_pylist()), manifest)
    except table.UnfitError as error:
        if data.names_regions:
            raise
        line = f"{error}; regions are not used; others can be given in data.regions"
        return nothing._replace(unfit=line)
    if data.names_regions:
        _check_of_these(built, found.place, manifest)
    return Regions(built.table, built.lines())


def named(location: str) -> Source:
    """A file or folder, by path or URI. Raises JobError."""
    try:
        fs, path = open_filesystem(location)
        if fs.get_file_info(path).type == pafs.FileType.Directory:
            return sources.OfFolder.of(location, Root(fs, path))
        return sources.OfFile(location, read_location(location))
    except OSError as error:
        raise JobError(f"data.regions: cannot read {location}: {refused(error)}") from error


def _check_of_these(built: Built, place: str, manifest: pa.Table) -> None:
    """Raise DataError where a file of the user's own is of other images or other findings."""
    if not built.table.num_rows:
        raise DataError(
            f"{place}: none of its {built.listed} boxes or masks is on an image of the job: name films by their path"
            " below data.root"
        )
    known = {*manifests.class_names(manifest), *table_columns.findings_of(manifest)}
    named = table.counted(built.table)
    if not known & named.keys():
        raise DataError(f"{place}: is of {', '.join(named)}; the job's findings are {', '.join(sorted(known))}")
