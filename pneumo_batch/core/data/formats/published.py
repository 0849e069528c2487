"""Published data sets as downloaded: `data.format` names one, and its label files and images become a listing."""

import pyarrow as pa
import pyarrow.compute as pc

from pneumo_batch.core.data import manifest, patients, splits
from pneumo_batch.core.data.formats import chexpert, films, mimic, nih, padchest, rsna, siim, vindr
from pneumo_batch.core.data.formats.films import Choice, Selected
from pneumo_batch.core.data.formats.label_files import Download
from pneumo_batch.core.data.manifest import Inventory
from pneumo_batch.core.data.regions import sources
from pneumo_batch.core.data.roots import Roots

# What reads each: Download -> Films.
READERS = {
    "nih": nih.read,
    "chexpert": chexpert.read,
    "mimic-cxr-jpg": mimic.read,
    "padchest": padchest.read,
    "vindr": vindr.read,
    "rsna": rsna.read,
    "siim": siim.read,
}


def inventory(name: str, roots: Roots, choice: Choice) -> Inventory:
    """The images of the set `name` (a key of READERS) below its one root, by finding. Raises DataError."""
    (root,) = roots.by_name.values()
    download = Download.of(root)
    found = listed(films.select(READERS[name](download), download.images, choice), choice)
    return found._replace(regions=sources.in_set(name, download))


def listed(selected: Selected, choice: Choice) -> Inventory:
    """The listing of films; where the set has no test split, one is carved by patient, and the account says so."""
    listing, account = manifest.listing(selected.files, selected.classes, choice.several), selected.account
    found = set(listing["split"].unique().to_pylist())
    if "train" in found and "test" not in found and choice.test_fraction:
        listing = splits.carve_test(listing, choice.test_fraction, choice.seed)
        account = account.with_remark(_carved(listing, choice.test_fraction))
    return Inventory(listing, selected.classes, {}, account)


def _carved(listing: pa.Table, fraction: float) -> str:
    films, carved = listing.num_rows, pc.sum(pc.equal(listing["split"], "test")).as_py()
    alone = sum(map(patients.is_nobody, *(listing[name].to_pylist() for name in ("image_id", "patient_id"))))
    unit, hint = "whole patients", ""
    if alone:
        unit = "each for itself since no patient is named" if alone == films else f"{unit} where one is named"
        hint = "; so one patient may be in both: a list (data.manifest) can name the patients"
    return (
        f"the set has no test split of its own: {carved} of {films} films, {unit} and about {fraction * 100:g} % of"
        f" each class, are one (data.test_fraction, data.split_seed){hint}"
    )
