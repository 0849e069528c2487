"""A DICOM radiograph -> one gray channel of 8 bits, by the steps of the standard (PS3.3 C.11, as pydicom takes them).

Stored values pass the modality LUT or rescale, then the first VOI LUT or else the first window, and black and white
change places in MONOCHROME1. Every step maps one value to another, so all of them are applied to the values that the
stored bits can hold, and the film is looked up.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing, get_decoder
from pydicom.uid import JPEGLossless, JPEGLosslessSV1

from pneumo_batch.core.data.dicom_codestream import reject_other_size
from pneumo_batch.core.data.dicom_header import OVERLAY_BITS, finite, guarded, high_bit, parse, reject_unusable
from pneumo_batch.errors import RejectedImage

INSTALL = "pip install 'pneumo-batch[dicom]'"
_LUT_BITS = 16
# Of these gdcm drops the bits above those that it is told are stored.
_CUT_OFF = (JPEGLossless, JPEGLosslessSV1)
_ROUNDING = 1e-9  # of a window's end
_BEYOND = np.array([-1e300, 1e300])  # below and above any window


class Film:
    """One monochrome frame. Raises RejectedImage for everything else.

    `width`, `height` in pixels; `mode` such as "DICOM MONOCHROME1 12-bit"; `patient` a SHA-256 prefix of PatientID,
    None where there is none: a pseudonym, which whoever knows the numbers can recompute.
    """

    def __init__(self, data: bytes):
        with guarded("damaged DICOM header"):
            self._dataset = parse(data)
            reject_unusable(self._dataset)
            self.width, self.height = int(self._dataset.Columns), int(self._dataset.Rows)
            self._inverted = self._dataset.PhotometricInterpretation == "MONOCHROME1"
            self.mode = f"DICOM MONOCHROME{1 if self._inverted else 2} {int(self._dataset.BitsStored)}-bit"
            number = str(self._dataset.get("PatientID") or "").strip()
            digest = hashlib.sha256(number.encode(errors="surrogateescape")).hexdigest()
        self.patient = f"dicom-{digest[:16]}" if number else None

    def gray_HW(self) -> np.ndarray:  # noqa: N802 - the shape
        """(H, W) uint8, black is 0; nothing is clipped but by the film's own window. Raises RejectedImage."""
        return self._looked_up(lambda levels: np.rint(levels).astype(np.uint8))

    def levels_HW(self) -> np.ndarray:  # noqa: N802 - the shape
        """As `gray_HW`, (H, W) float, not rounded."""
        return self._looked_up(lambda levels: levels)

    def _looked_up(self, finish: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """(H, W) what `finish` makes of the gray level of each pixel."""
        with guarded("damaged DICOM PixelData"):
            stored_HW = _stored(self._dataset)
        with guarded("damaged DICOM header"):
            first, last = _stored_range(self._dataset)
            table = finish(self._levels(np.arange(first, last + 1)))
        return table[stored_HW.astype(np.int32) - first]

    def _levels(self, stored: np.ndarray) -> np.ndarray:
        """The gray level (float, 0 to 255) of each stored value."""
        values, declared = _rescaled(stored, self._dataset)
        shown, low, high = _shown(values, declared, self._dataset)
        if high == low:
            raise RejectedImage("DICOM rescale, lookup table or window that turns every pixel into one value")
        share = (shown - low) / (high - low)
        if not (share.min() >= -_ROUNDING and share.max() <= 1 + _ROUNDING):
            raise RejectedImage("DICOM LUTData with values beyond the bits that its LUTDescriptor declares")
        return 255 * (1 - share if self._inverted else share)


def _stored(dataset: Dataset) -> np.ndarray:
    """(H, W) the stored values, all within `_stored_range`. Raises RejectedImage."""
    syntax, shift = dataset.file_meta.TransferSyntaxUID, high_bit(dataset) + 1 - int(dataset.BitsStored)
    if shift and syntax.is_compressed:
        raise RejectedImage(f"compressed DICOM with HighBit {dataset.HighBit} and BitsStored {dataset.BitsStored}")
    stored_HW = _decoded(dataset)
    if stored_HW.ndim != 2:
        raise RejectedImage(f"DICOM PixelData of {len(stored_HW)} frames, NumberOfFrames says 1")
    if shift:
        if (stored_HW & ((1 << shift) - 1)).any():
            raise RejectedImage(f"DICOM with HighBit {dataset.HighBit}, and values in the bits below those stored")
        stored_HW = stored_HW >> shift
    return _within_range(stored_HW, dataset)


def _decoded(dataset: Dataset) -> np.ndarray:
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise RejectedImage("DICOM TransferSyntaxUID that is not one of images") from error
    if syntax.is_compressed and not decoder.is_available:
        raise RejectedImage(f"DICOM compressed as {syntax.name}, which nothing installed here reads: {INSTALL}")
    if syntax.is_compressed:
        reject_other_size(dataset)
    # pydicom would drop the bits above those stored, with what they hold; where overlays are declared there, it should
    overlays = any(dataset[tag].value >= dataset.BitsStored for tag in OVERLAY_BITS if tag in dataset)
    options: dict[str, Any] = {"correct_unused_bits": overlays}
    if syntax in _CUT_OFF:
        options["bits_stored"] = dataset.BitsAllocated
    return decoder.as_array(dataset, **options)[0]


def _within_range(stored_HW: np.ndarray, dataset: Dataset) -> np.ndarray:
    """The same, negative values with their sign. Raises RejectedImage for a value that the stored bits cannot hold."""
    bits = int(dataset.BitsStored)
    first, last = _stored_range(dataset)
    low, high = int(stored_HW.min()), int(stored_HW.max())
    if first < 0 <= low and last < high < 2**bits:  # nothing above the sign bit, which is as good as its repetition
        return np.where(stored_HW > last, stored_HW.astype(np.int32) - 2**bits, stored_HW)
    if low < first or high > last:
        raise RejectedImage(f"DICOM pixel values from {low} to {high}: BitsStored {bits} holds {first} to {last}")
    return stored_HW


def _stored_range(dataset: Dataset) -> tuple[int, int]:
    bits = int(dataset.BitsStored)
    if dataset.PixelRepresentation:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _rescaled(values: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, int | None]:
    """Values after the modality step, and the white that its table declares, if it is one."""
    if dataset.get("ModalityLUTSequence"):
        with guarded("DICOM ModalityLUTSequence that cannot be applied"):
            lut = dataset.ModalityLUTSequence[0]
            bits = _use_all_bits(lut)
            return apply_modality_lut(values, dataset), _white(apply_modality_lut(_inputs(lut), dataset), bits)
    for name in ("RescaleSlope", "RescaleIntercept"):
        finite(dataset, name)
    if dataset.get("RescaleSlope") == 0:
        raise RejectedImage("DICOM RescaleSlope 0, which turns every pixel into one value")
    with guarded("DICOM RescaleSlope or RescaleIntercept that cannot be applied"):
        return apply_modality_lut(values, dataset), None


def _shown(values: np.ndarray, declared: int | None, dataset: Dataset) -> tuple[np.ndarray, float, float]:
    """Values after the VOI step, and those that mean black and white."""
    with guarded("DICOM VOILUTSequence that cannot be applied"):
        lut = (dataset.get("VOILUTSequence") or [None])[0]
        if lut is not None and "LUTDescriptor" in lut and "LUTData" in lut:
            bits = _use_all_bits(lut)
            shown = apply_voi_lut(np.rint(values).astype(np.int64), dataset)
            return shown, 0, _white(apply_voi_lut(_inputs(lut), dataset), bits)
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        return _windowed(values, dataset)
    if declared is not None:
        return values, 0, declared
    return values, values.min(), values.max()


def _windowed(values: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, float, float]:
    finite(dataset, "WindowCenter")
    width, function = finite(dataset, "WindowWidth"), dataset.get("VOILUTFunction") or "LINEAR"
    least = 1 if function == "LINEAR" else 0
    if width < least or width == 0:
        raise RejectedImage(f"DICOM WindowWidth {width:g}: {'at least 1' if least else 'more than 0'} is needed")
    with guarded("DICOM WindowCenter, WindowWidth or VOILUTFunction that cannot be applied"):
        with np.errstate(over="ignore"):  # SIGMOID
            low, high = apply_windowing(_BEYOND, dataset)
        return apply_windowing(values, dataset), low, high


def _use_all_bits(lut: Dataset) -> int:
    """Let pydicom index a table with 16 bits, for those of 8 can be long; returns the bits that it declares."""
    entries, start, bits = lut.LUTDescriptor
    lut.LUTDescriptor = [entries, start, _LUT_BITS]
    return int(bits)


def _inputs(lut: Dataset) -> np.ndarray:
    """The values that a table has entries for."""
    entries, start, _ = lut.LUTDescriptor
    return np.arange(start, start + (entries or 2**_LUT_BITS))


def _white(entries: np.ndarray, bits: int) -> int:
    """The value that means white: all bits declared, or where half the range is unused, those the largest entry has.

    Tables that declare 16 bits and hold 12 are common, and viewers go by the largest entry.
    """
    return int(2 ** min(bits, int(entries.max()).bit_length()) - 1)
