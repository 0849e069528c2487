"""Published data sets as downloaded: `data.format` names one, and its label files and images become a listing."""

import pyarrow.compute as pc

from pneumo_batch.core.data import manifest, splits
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
        carved = pc.sum(pc.equal(listing["split"], "test")).as_py()
        account = account.with_remark(
            f"the set has no test split of its own: {carved} of {listing.num_rows} films, whole patients and about"
            f" {choice.test_fraction * 100:g} % of each class, are one (data.test_fraction, data.split_seed)"
        )
    return Inventory(listing, selected.classes, {}, account)
