"""The header of a DICOM radiograph: what of it is read, and the films that are refused for what it says.

Nothing is parsed but the elements in `_READ`, and no message quotes a text of them: a damaged file may have anything
there.
"""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from pneumo_batch.errors import RejectedImage

# No names, no dates, no places: what is not listed is not even parsed, so it can reach no table, message or log.
_READ = (
    "PatientID",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
)
# Where old films have graphics in bits of their pixels (PS3.3 C.9.2), one group for each of up to 16 overlays.
OVERLAY_BITS = tuple(Tag(group, 0x0102) for group in range(0x6000, 0x6020, 2))
_NUMBERS = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("RGB", "PALETTE COLOR", "HSV", "ARGB", "CMYK")
_MOST_BITS = 16
_ALLOCATED = (8, 16, 32)
_QUIET = threading.RLock()  # the filters of warnings belong to all threads


@contextmanager
def guarded(problem: str) -> Iterator[None]:
    """Whatever pydicom raises becomes a rejection; its own messages and warnings quote the header and stay unsaid."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except RejectedImage:
            raise
        except Exception as error:
            raise RejectedImage(f"{problem} ({type(error).__name__})") from error


def parse(data: bytes) -> Dataset:
    stream = io.BytesIO(data)
    read_preamble(stream, False)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag.group != 2)
    if not meta.get("TransferSyntaxUID"):
        raise RejectedImage("DICOM without TransferSyntaxUID, which says how its pixels are stored")
    if meta.TransferSyntaxUID == pydicom.uid.DeflatedExplicitVRLittleEndian:  # of unknown size once inflated
        raise RejectedImage("deflated DICOM file: save it without deflating")
    stream.seek(0)
    dataset = pydicom.dcmread(stream, specific_tags=[*map(Tag, _READ), *OVERLAY_BITS])
    for tag in dataset.keys():  # noqa: SIM118 - elements are converted when they are asked for, by number here
        with guarded(f"damaged DICOM {keyword_for_tag(tag)}"):
            dataset[tag]
    return dataset


def reject_unusable(dataset: Dataset) -> None:
    """Judges by the header alone, before the pixels are decoded."""
    if "PixelData" not in dataset:
        raise RejectedImage("DICOM without pixel data")
    if (frames := _whole(dataset, "NumberOfFrames", default=1)) != 1:
        raise RejectedImage(f"DICOM of several frames (NumberOfFrames {frames}): export one file a film")
    _reject_photometric(dataset.get("PhotometricInterpretation"))
    for name in _NUMBERS:
        _whole(dataset, name)
    if dataset.SamplesPerPixel != 1:
        raise RejectedImage(f"colour DICOM (SamplesPerPixel {dataset.SamplesPerPixel}): only 1 is read")
    bits, allocated, highest = dataset.BitsStored, dataset.BitsAllocated, high_bit(dataset)
    if not (dataset.Rows and dataset.Columns):
        raise RejectedImage(f"DICOM of {dataset.Rows} Rows and {dataset.Columns} Columns")
    if allocated not in _ALLOCATED:
        raise RejectedImage(f"DICOM BitsAllocated {allocated}: {', '.join(map(str, _ALLOCATED))} are read")
    if not 1 <= bits <= _MOST_BITS:
        raise RejectedImage(f"DICOM of {bits} bits (BitsStored): 1 to {_MOST_BITS} are read")
    if not bits - 1 <= highest < allocated:
        raise RejectedImage(
            f"DICOM HighBit {highest}: with BitsStored {bits} and BitsAllocated {allocated} there is none"
        )
    if dataset.PixelRepresentation not in (0, 1):
        raise RejectedImage(f"DICOM PixelRepresentation {dataset.PixelRepresentation}: 0 or 1 is read")


def _reject_photometric(found: object) -> None:
    if found in _MONOCHROME:
        return
    name = "PhotometricInterpretation"
    if not found:
        raise RejectedImage(f"DICOM without {name}: {' or '.join(_MONOCHROME)} is needed")
    if found in _COLOURS or str(found).startswith("YBR_"):
        raise RejectedImage(f"colour DICOM ({name}): only MONOCHROME1 and MONOCHROME2 are read")
    if str(found).upper() in _MONOCHROME:
        raise RejectedImage(f"DICOM {name} is not in capitals: {str(found).upper()} is read")
    raise RejectedImage(f"DICOM {name} is unknown: only MONOCHROME1 and MONOCHROME2 are read")


def _whole(dataset: Dataset, name: str, default: int | None = None) -> int:
    """An element that is one whole number. Raises RejectedImage, which names it."""
    value = dataset[name].value if name in dataset else None
    if value is None or value == "":
        if default is None:
            raise RejectedImage(f"DICOM without {name}")
        return default
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise RejectedImage(f"DICOM {name} is not one whole number") from error


def high_bit(dataset: Dataset) -> int:
    return _whole(dataset, "HighBit", default=int(dataset.BitsStored) - 1)


def finite(dataset: Dataset, name: str) -> float:
    """The number of an element, the first of several; 0 where it is absent. Raises RejectedImage, which names it."""
    with guarded(f"DICOM {name} is not a number"):
        value = dataset.get(name)
        first = value[0] if isinstance(value, MultiValue) else value
        number = float(first or 0)
    if not np.isfinite(number):
        raise RejectedImage(f"DICOM {name} is {number:g}")
    return number
