"""A DICOM radiograph -> one gray channel of 8 bits, by the steps of the standard (PS3.3 C.11, as pydicom takes them).

Stored values pass the modality LUT or rescale, then the first VOI LUT or else the first window, and black and white
change places in MONOCHROME1. Every step maps one value to another, so all of them are applied to the values that the
stored bits can hold, and the film is looked up. Of the header nothing is parsed but the elements in `_READ`.
"""

import hashlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing, get_decoder

from pneumo_batch.core.images import RejectedImage

INSTALL = "pip install 'pneumo-batch[dicom]'"

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
_MOST_BITS = 16
_BEYOND = np.array([-1e300, 1e300])  # below and above any window
_QUIET = threading.Lock()  # the filters of warnings belong to all threads


class Film:
    """One monochrome frame. Raises RejectedImage for everything else.

    `width`, `height` in pixels; `mode` such as "DICOM MONOCHROME1 12-bit"; `patient` a SHA-256 prefix of PatientID,
    None where there is none: a pseudonym, which whoever knows the numbers can recompute.
    """

    def __init__(self, data: bytes):
        with _guarded("damaged DICOM file"):
            self._dataset = _parse(data)
            _reject_unusable(self._dataset)
            self.width, self.height = int(self._dataset.Columns), int(self._dataset.Rows)
            self._inverted = self._dataset.PhotometricInterpretation == "MONOCHROME1"
            self.mode = f"DICOM MONOCHROME{1 if self._inverted else 2} {int(self._dataset.BitsStored)}-bit"
            number = str(self._dataset.get("PatientID") or "").strip()
        self.patient = f"dicom-{hashlib.sha256(number.encode()).hexdigest()[:16]}" if number else None

    def gray_HW(self) -> np.ndarray:  # noqa: N802 - the shape
        """(H, W) uint8, black is 0; nothing is clipped but by the film's own window. Raises RejectedImage."""
        with _guarded("damaged DICOM pixel data"):
            stored_HW = _decoded(self._dataset)
            first, last = _stored_range(self._dataset)
            low, high = int(stored_HW.min()), int(stored_HW.max())
            if low < first or high > last:
                raise RejectedImage(f"DICOM pixel values from {low} to {high}: its bits hold {first} to {last}")
        with _guarded("DICOM lookup table, rescale or window that cannot be applied"):
            table = self._table(np.arange(first, last + 1))
        return table[stored_HW.astype(np.int32) - first]

    def _table(self, stored: np.ndarray) -> np.ndarray:
        """The gray level (uint8) of each stored value."""
        shown, low, high = _shown(apply_modality_lut(stored, self._dataset), self._dataset)
        if high == low:
            raise RejectedImage("DICOM rescale or window that turns every pixel into one value")
        share = (shown - low) / (high - low)
        if not (share.min() >= 0 and share.max() <= 1):
            raise RejectedImage("DICOM lookup table with values beyond its declared bits")
        return np.rint(255 * (1 - share if self._inverted else share)).astype(np.uint8)


@contextmanager
def _guarded(problem: str) -> Iterator[None]:
    """Whatever pydicom raises becomes a rejection; its own messages and warnings quote the header and stay unsaid."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (RejectedImage, MemoryError):
            raise
        except Exception as error:
            raise RejectedImage(f"{problem} ({type(error).__name__})") from error


def _parse(data: bytes) -> Dataset:
    stream = io.BytesIO(data)
    read_preamble(stream, False)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag.group != 2)
    if meta.get("TransferSyntaxUID") == pydicom.uid.DeflatedExplicitVRLittleEndian:  # of unknown size once inflated
        raise RejectedImage("deflated DICOM file: save it without deflating")
    stream.seek(0)
    return pydicom.dcmread(stream, specific_tags=list(_READ))


def _reject_unusable(dataset: Dataset) -> None:
    """Judges by the header alone, before the pixels are decoded."""
    if "PixelData" not in dataset:
        raise RejectedImage("DICOM without pixel data")
    if (frames := int(dataset.get("NumberOfFrames") or 1)) != 1:
        raise RejectedImage(f"DICOM of several frames ({frames}): export one file a film")
    if dataset.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise RejectedImage("colour DICOM: only MONOCHROME1 and MONOCHROME2 are read")
    if not 1 <= int(dataset.BitsStored) <= _MOST_BITS:
        raise RejectedImage(f"DICOM of {int(dataset.BitsStored)} bits: 1 to {_MOST_BITS} are read")


def _decoded(dataset: Dataset) -> np.ndarray:
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not get_decoder(syntax).is_available:
        raise RejectedImage(f"DICOM compressed as {syntax.name}, which nothing installed here reads: {INSTALL}")
    return dataset.pixel_array


def _stored_range(dataset: Dataset) -> tuple[int, int]:
    bits = int(dataset.BitsStored)
    if dataset.get("PixelRepresentation"):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _shown(values: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, float, float]:
    """Values after the VOI step, and those that mean black and white."""
    lut = (dataset.get("VOILUTSequence") or [None])[0]
    if lut is not None and "LUTDescriptor" in lut and "LUTData" in lut:
        entries, start, bits = lut.LUTDescriptor
        lut.LUTDescriptor = [entries, start, 16]  # pydicom indexes a table of 8-bit entries with 8 bits, however long
        return apply_voi_lut(np.rint(values).astype(np.int64), dataset), 0, 2**bits - 1
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        with np.errstate(over="ignore"):  # SIGMOID
            low, high = apply_windowing(_BEYOND, dataset)
        return apply_windowing(values, dataset), low, high
    if dataset.get("ModalityLUTSequence"):
        return values, 0, 2 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    return values, values.min(), values.max()
