"""The size that compressed pixels say they have: segments written by hand, and encoders of other libraries."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pydicom")

from pneumo_batch.core.data.dicom_codestream import coded_size

SOI = b"\xff\xd8"
APP14 = b"\xff\xee\x00\x0eAdobe\0d\0\0\0\0\0"


def frame_header(marker, rows, columns):
    """ISO/IEC 10918-1 B.2.2: length, precision, lines, samples per line, one component."""
    return bytes([0xFF, marker]) + struct.pack(">HBHHB3B", 11, 12, rows, columns, 1, 1, 0x11, 0)


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC2, 0xC3, 0xCF, 0xF7])
@pytest.mark.parametrize("before", [b"", APP14, APP14 + b"\xff\xc4\x00\x04\xc0\xf7", b"\xff\xff"])
def test_the_frame_header_is_found_behind_other_segments(marker, before):
    assert coded_size(SOI + before + frame_header(marker, 3000, 70)) == (3000, 70)


@pytest.mark.parametrize("form", ["JPEG", "JPEG2000"])
def test_of_what_another_library_encoded(form):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((24, 40), np.uint8)).save(stream, form, **({"no_jp2": True} if form == "JPEG2000" else {}))
    assert coded_size(stream.getvalue()) == (24, 40)


def test_an_image_that_does_not_begin_where_its_grid_does():
    """ISO/IEC 15444-1 A.5.1: Xsiz, Ysiz, XOsiz, YOsiz; the image is what lies beyond the offset."""
    assert coded_size(b"\xff\x4f\xff\x51" + struct.pack(">HH4I", 41, 0, 50, 30, 10, 6)) == (24, 40)


@pytest.mark.parametrize(
    "code", [b"", SOI, SOI + APP14, SOI + b"\xff\xc0\x00", b"\xff\x4f\xff\x51\0", b"RLE or another"]
)
def test_what_tells_no_size_is_left_to_the_decoder(code):
    assert coded_size(code) is None
    assert coded_size(code + bytes(64)) in (None, (0, 0))
