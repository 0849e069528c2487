"""The published chest X-rays, from Kaggle: anonymous, cached and resumed by kagglehub, counted here."""

import errno
import os
import shutil
from pathlib import Path

from pneumo_batch.errors import DataError, JobError

DATASET = "paultimothymooney/chest-xray-pneumonia"
PAGE = f"https://www.kaggle.com/datasets/{DATASET}"
FOLDER = "chest_xray"
COUNTS = {
    ("train", "NORMAL"): 1341,
    ("train", "PNEUMONIA"): 3875,
    ("val", "NORMAL"): 8,
    ("val", "PNEUMONIA"): 8,
    ("test", "NORMAL"): 234,
    ("test", "PNEUMONIA"): 390,
}


def fetch(folder: Path) -> Path:
    """Download the data set unless it is there, and give its images a place in `folder`/chest_xray.

    Files are linked to kagglehub's cache where the disk allows it, else copied. Raises DataError when the counts are
    not the published ones, OSError naming the Kaggle page and the manual way when it cannot be reached, JobError
    without kagglehub.
    """
    target = folder / FOLDER
    if target.exists():
        verify(target)
        return target
    source = _downloaded()
    inner = next((path for path in (source / FOLDER, source) if (path / "train").is_dir()), source)
    verify(inner)
    place(inner, target)
    return target


def _downloaded() -> Path:
    try:
        import kagglehub
    except ImportError as error:
        raise JobError("data fetch needs kagglehub: pip install 'pneumo-batch[fetch]'") from error
    try:
        return Path(kagglehub.dataset_download(DATASET))
    except Exception as error:  # kagglehub lets those of requests, of its API and of the disk through
        raise OSError(
            errno.ENETUNREACH,
            f"cannot be downloaded here ({type(error).__name__}); fetch the archive by hand from that page, unzip it "
            f"and pass its folder {FOLDER}/ as data.root",
            PAGE,
        ) from error


def verify(folder: Path) -> None:
    """Raise DataError unless `folder` has as many images as published, in every split and class."""
    for (split, name), wanted in COUNTS.items():
        found = len(images(folder / split / name))
        if found != wanted:
            raise DataError(
                f"{folder}/{split}/{name}: {found} images instead of the published {wanted}; delete the folder (and"
                " kagglehub's cache, if it is the source) and fetch again"
            )


def images(folder: Path) -> list[Path]:
    """The images of one class, without what macOS left beside them."""
    return sorted(path for path in folder.glob("*.jpeg") if not path.name.startswith("."))


def place(source: Path, target: Path) -> None:
    """Give the images of `source` a second place at `target`, all or none."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for split, name in COUNTS:
        (partial / split / name).mkdir(parents=True)
        for image in images(source / split / name):
            _link_or_copy(image, partial / split / name / image.name)
    partial.rename(target)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(source, target)
