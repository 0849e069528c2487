"""Which images a job's [data] names, whatever its format; without Ray, so that commands answer at once."""

from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.formats import manifest_file, published
from pneumo_batch.core.data.formats.films import Choice
from pneumo_batch.core.data.manifest import Inventory
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.errors import JobError
from pneumo_batch.job.schema import Data
from pneumo_batch.rundir.locations import read_location, reason, refused


def of_data(data: Data, images: Roots) -> Inventory:
    """The images and their classes. Raises DataError, or JobError for a list that is not there."""
    if data.manifest:
        return _of_list(data.manifest, images, data)
    if data.is_published:
        return published.inventory(data.format, images, _choice(data))
    return manifest.inventory(images, data.classes)


def _of_list(location: str, images: Roots, data: Data) -> Inventory:
    """The images that a file or URI lists, by class or by finding."""
    try:
        content = read_location(location)
    except JobError as error:  # says which place, or only as much of it as may be shown
        raise JobError(f"data.manifest: {error}") from error
    except OSError as error:
        raise JobError(f"data.manifest: cannot read {location}: {refused(error)}") from error
    except ValueError as error:
        raise JobError(f"data.manifest: cannot read {location}: {reason(error)}") from error
    if data.findings is None:
        return Inventory(*manifest_file.read(content, location, images, data.classes), passed_over={})
    return published.listed(manifest_file.select(content, location, images, _choice(data)), _choice(data))


def _choice(data: Data) -> Choice:
    return Choice(
        findings=data.findings or [],
        uncertain=data.uncertain,
        unmentioned=data.unmentioned,
        negatives=data.negatives,
        views=data.views,
        test_fraction=data.test_fraction,
        val_fraction=data.val_fraction,
        seed=data.split_seed,
    )
