"""What compressed pixels of a DICOM film say of themselves, held against its header before they are decoded.

gdcm ends the process where a JPEG-LS image has fewer pixels than the header says. Nothing can be caught then.
"""

import struct

from pydicom.dataset import Dataset
from pydicom.encaps import get_frame

from pneumo_batch.errors import RejectedImage

_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"  # the first markers: SOI; SOC and SIZ
# SOF markers (ISO/IEC 10918-1 table B.1, ISO/IEC 14495-1 for the last): the segments that hold the size.
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def reject_other_size(dataset: Dataset) -> None:
    """Raise RejectedImage where the compressed image is not of the header's size.

    Codes that cannot be told here are left to the decoder.
    """
    header = int(dataset.Rows), int(dataset.Columns)
    found = coded_size(get_frame(dataset.PixelData, 0, number_of_frames=1))
    if found and found != header:
        sizes = ["{} x {}".format(*size) for size in (found, header)]
        raise RejectedImage(f"DICOM PixelData of {sizes[0]} pixels, Rows and Columns say {sizes[1]}")


def coded_size(code: bytes) -> tuple[int, int] | None:
    """(rows, columns) of a JPEG, JPEG-LS or JPEG 2000 codestream; None for any other, or where it is cut off."""
    try:
        if code.startswith(_JPEG_2000):
            width, height, left, top = struct.unpack_from(">4I", code, 8)
            return height - top, width - left
        return _jpeg_size(code) if code.startswith(_JPEG) else None
    except (struct.error, IndexError):
        return None


def _jpeg_size(code: bytes) -> tuple[int, int] | None:
    at = 2
    while code[at] == 0xFF:
        marker, (length,) = code[at + 1], struct.unpack_from(">H", code, at + 2)
        if marker in _FRAME_HEADERS:
            return struct.unpack_from(">2H", code, at + 5)
        at += 1 if marker == 0xFF else 2 + length  # markers may begin with several of these bytes
    return None
