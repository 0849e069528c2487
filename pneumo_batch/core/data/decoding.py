"""One image file -> gray pixels; what is rejected, and why.

Array names carry their shape: H rows, W columns.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from pneumo_batch.core.data.looks import Look
from pneumo_batch.errors import RejectedImage

if TYPE_CHECKING:
    from pneumo_batch.core.data import dicom

# A film of 16384 x 5400 pixels is larger than any detector's; beyond it a file is broken or a decompression bomb.
MAX_PIXELS = 16384 * 5400
MAX_SIDE = 16384

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# Integer films are scaled by the range of their type, so that no value is clipped; Pillow opens some 16-bit files as
# mode "I".
_UINT16_MAX = 65535
_INT32_MAX = 2**31 - 1
_MOST = 255  # of a gray level
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags
_WHITE_IS_ZERO = 0
_UNSIGNED, _SIGNED = 1, 2
_DICOM_MARK = slice(128, 132)
# How a file begins that has data elements of group 2 or 8 where the preamble should be.
_BARE_DICOM = re.compile(rb"[\x02\x08]\x00[\x00-\x20]\x00(?:[A-Z]{2}|..\x00\x00)", re.DOTALL)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class ImageInfo:
    """What is stored: `width`, `height` in pixels after EXIF orientation; `mode` as Pillow names it (L, RGB, ...).

    `patient` is a pseudonym made of the file's own patient number; None where it has none. `look` sums up the gray
    values, `hash` what is to be seen.
    """

    width: int
    height: int
    mode: str
    patient: str | None = None
    look: Look | None = field(default=None, compare=False)
    hash: bytes | None = field(default=None, compare=False)


class _Opened(NamedTuple):
    """A loaded image, upright, its mode as stored, and what its values mean."""

    image: Image.Image
    mode: str
    photometric: "_Photometric"


def decode(data: bytes) -> tuple[ImageInfo, Image.Image]:
    """The description and the gray (mode L) image, upright. Raises RejectedImage."""
    if _is_dicom(data):
        film = _dicom(data)
        return ImageInfo(film.width, film.height, film.mode, film.patient), Image.fromarray(film.gray_HW())
    with _opened(data) as (image, mode, photometric):
        return ImageInfo(image.width, image.height, mode), _gray(image, photometric)


def levels(data: bytes) -> np.ndarray:
    """(H, W) float, upright: the gray that `decode` gives, not rounded, so that 0 and 1 of 16 bits are two levels.

    Raises RejectedImage.
    """
    if _is_dicom(data):
        return _dicom(data).levels_HW()
    with _opened(data) as (image, _, photometric):
        return _levels(image, photometric)


def _is_dicom(data: bytes) -> bool:
    return data[_DICOM_MARK] == b"DICM"


def _dicom(data: bytes) -> "dicom.Film":
    try:
        from pneumo_batch.core.data import dicom  # an extra, and slow to import
    except ImportError as error:
        raise RejectedImage("DICOM needs pydicom: pip install 'pneumo-batch[dicom]'") from error
    film = dicom.Film(data)
    _reject_size(film.width, film.height)
    return film


@contextmanager
def _opened(data: bytes) -> Iterator[_Opened]:
    """A file that Pillow reads; whatever goes wrong with it, now or later, is a RejectedImage."""
    if not data:
        raise RejectedImage("empty file")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _reject_unusable(image)
            photometric = _Photometric.of(image)  # before loading, which may forget the tags
            image.load()
            yield _Opened(_upright(image), image.mode, photometric)
    except RejectedImage:
        raise
    except UnidentifiedImageError as error:
        raise RejectedImage(_unknown(data)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RejectedImage("too large: possibly a decompression bomb") from error
    except Exception as error:  # a damaged file makes Pillow's parsers raise nearly anything, MemoryError too
        raise RejectedImage(_reason(error)) from error


def _reject_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise RejectedImage(f"too large: {width} x {height} pixels")


def _reject_unusable(image: Image.Image) -> None:
    """Judges by the header alone, before the pixels are decoded."""
    _reject_size(*image.size)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO: a photograph with its preview
        raise RejectedImage(f"animated or of several pages ({frames} frames)")


def _unknown(data: bytes) -> str:
    """Why Pillow opens no such file."""
    if _BARE_DICOM.match(data):
        return "DICOM without its preamble (128 bytes, then DICM): save it as a DICOM file"
    if data.startswith((b"II*\0", b"MM\0*")):
        return "TIFF that is damaged, or of a kind that is not read: save it with 8 or 16 bits and BlackIsZero"
    return "not an image, or of an unknown format"


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "truncated" in text.lower():
        return "truncated file"
    return f"damaged file: {text or type(error).__name__}"


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says. Pillow's own `exif_transpose` also writes the EXIF data anew, which fails of odd ones."""
    method = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if method is None else image.transpose(method)


@dataclass(frozen=True)
class _Photometric:
    """What the gray values of a file mean, where Pillow leaves it to its users: TIFF of more than 8 bits.

    `limit` is the largest value of the type, None where the values have to tell.
    """

    white_is_zero: bool = False
    unsigned_32: bool = False
    limit: int | None = None

    @classmethod
    def of(cls, image: Image.Image) -> "_Photometric":
        tags = getattr(image, "tag_v2", None)
        if image.format != "TIFF" or tags is None:
            return cls()
        bits, form = tags.get(_BITS_PER_SAMPLE, (1,))[0], tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0]
        white_is_zero = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
        if (bits, form) == (8, _SIGNED):  # which Pillow reads as unsigned
            raise RejectedImage("TIFF with signed values of 8 bits: save it with unsigned ones")
        unsigned = form == _UNSIGNED
        return cls(white_is_zero, bits == 32 and unsigned, 2 ** (bits - (not unsigned)) - 1 if bits <= 16 else None)


def _gray(image: Image.Image, photometric: _Photometric) -> Image.Image:
    """One 8-bit channel. Transparent parts turn black, as the padding is."""
    if not _is_wide(image):
        return _opaque(image).convert("L")
    gray_HW = np.rint(_scaled(np.asarray(image), photometric)).astype(np.uint8)
    return Image.fromarray(_MOST - gray_HW if photometric.white_is_zero else gray_HW)


def _levels(image: Image.Image, photometric: _Photometric) -> np.ndarray:
    """As `_gray`, (H, W) float."""
    if not _is_wide(image):
        return np.asarray(_opaque(image).convert("F"))
    levels_HW = _scaled(np.asarray(image), photometric)
    return _MOST - levels_HW if photometric.white_is_zero else levels_HW


def _is_wide(image: Image.Image) -> bool:
    """Whether its pixels have more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def _opaque(image: Image.Image) -> Image.Image:
    """In one of the modes that are gray or become it by their brightness alone."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image if image.mode in ("1", "L", "RGB") else image.convert("RGB")


def _scaled(values_HW: np.ndarray, photometric: _Photometric) -> np.ndarray:
    """16-bit, 32-bit and float pixels, 0 to 255 by the range of their type; floats must lie in [0, 1]."""
    if photometric.unsigned_32 and values_HW.dtype == np.int32:  # as which Pillow reads them
        values_HW = values_HW.view(np.uint32)
    low, high = float(values_HW.min()), float(values_HW.max())
    limit = 1.0 if values_HW.dtype.kind == "f" else photometric.limit or _limit(high, photometric.unsigned_32)
    if not (low >= 0 and high <= limit):  # also true of NaN
        raise RejectedImage(f"pixel values from {low:g} to {high:g}: expected 0 to {limit:g}")
    return values_HW * (_MOST / limit)


def _limit(high: float, unsigned_32: bool) -> int:
    """The largest value of the type: many a file of 32 bits holds 16."""
    return _UINT16_MAX if high <= _UINT16_MAX else 2**32 - 1 if unsigned_32 else _INT32_MAX
