"""One image file -> pixels -> network input; what is rejected, and why.

Array names carry their shape: B images, H rows, W columns, C channels.
"""

import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from torch import Tensor

# A film of 16384 x 5400 pixels is larger than any detector's; beyond it a file is broken or a decompression bomb.
MAX_PIXELS = 16384 * 5400
MAX_SIDE = 16384

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# Integer films are scaled by the range of their type, so that no value is clipped; Pillow opens some 16-bit files as
# mode "I".
_UINT16_MAX = 65535
_INT32_MAX = 2**31 - 1
_DICOM_MARK = slice(128, 132)


class RejectedImage(ValueError):  # noqa: N818 - the word users read in the quarantine table
    """An image that cannot be used; the message is the reason, without the path."""


@dataclass(frozen=True)
class ImageInfo:
    """What is stored: `width`, `height` in pixels after EXIF orientation; `mode` as Pillow names it (L, RGB, ...).

    `patient` is a pseudonym made of the file's own patient number; None where it has none.
    """

    width: int
    height: int
    mode: str
    patient: str | None = None


def inspect(data: bytes) -> ImageInfo:
    """Decodes a whole image file and describes it.

    Raises RejectedImage for everything that `Preprocess.pixels` would reject.
    """
    return _decode(data)[0]


Resize = Literal["bilinear", "bicubic", "area", "lanczos"]
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}

# As (mean, std) of pixels in [0, 1]: those of torchvision's weights, and [-1024, 1024] for those of torchxrayvision.
_NAMED: dict[str, tuple[Any, Any]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "torchxrayvision": (0.5, 1 / 2048),
}


def named_normalisation(name: str, channels: int) -> tuple[Any, Any]:
    """(mean, std) that "imagenet" or "torchxrayvision" stands for; one channel gets the average over colours."""
    mean, std = _NAMED[name]
    if channels == 1 and isinstance(mean, tuple):
        return sum(mean) / len(mean), sum(std) / len(std)
    return mean, std


@dataclass(frozen=True)
class Preprocess:
    """How stored images become network inputs; the same object serves training, attribution and the reading API.

    `pad` is "black" (centred on a black square, the shape is kept) or "none" (squashed to a square). `mean` and `std`
    refer to pixels in [0, 1], one number or one for each channel; the defaults are those of the Kaggle training split.
    """

    size: int
    channels: int = 1
    pad: Literal["black", "none"] = "black"
    mean: float | tuple[float, ...] = 0.345
    std: float | tuple[float, ...] = 0.282
    resize: Resize = "bilinear"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.channels:
                raise ValueError(f"{name} has {len(value)} numbers for {self.channels} channels")

    def pixels(self, data: bytes) -> np.ndarray:
        """An image file as (size, size) uint8, one gray channel, whatever the file stores: colour leaks the label.

        Resized with antialiasing, as Pillow does; "area" is its BOX. Raises RejectedImage.
        """
        _, gray = _decode(data)
        if self.pad == "black":
            gray = _pad_square(gray)
        return np.asarray(gray.resize((self.size, self.size), _FILTERS[self.resize]))

    def inputs(self, pixels_BHW: "np.ndarray | Tensor") -> "Tensor":
        """Pixels (B, size, size) uint8 as float32 (B, channels, size, size): (x / 255 - mean) / std.

        Works on the tensor's own device; arrays are copied, so read-only ones are welcome.
        """
        import torch  # here, so that indexing a data set never waits for it

        pixels = pixels_BHW if isinstance(pixels_BHW, torch.Tensor) else torch.tensor(pixels_BHW)
        return self.normalised(pixels.to(torch.float32).div(255).unsqueeze(1))

    def normalised(self, gray_B1HW: "Tensor") -> "Tensor":
        """Gray in [0, 1] (B, 1, H, W) as network inputs (B, channels, H, W)."""
        gray_BCHW = gray_B1HW.repeat(1, self.channels, 1, 1)
        mean, std = (_per_channel(value, gray_BCHW) for value in (self.mean, self.std))
        return gray_BCHW.sub_(mean).div_(std)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` is the inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocess":
        """Rebuilds what `as_dict` gave, from JSON too; TypeError names an unknown or missing field."""
        exact: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in values.items()}
        return cls(**exact)


def _per_channel(value: float | tuple[float, ...], like_BCHW: "Tensor") -> "float | Tensor":
    return like_BCHW.new_tensor(value)[:, None, None] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Split:
    """Images of one split as they were decoded, and the labels the loss receives."""

    pixels_NHW: np.ndarray  # uint8
    labels_N: np.ndarray  # int64

    def __len__(self) -> int:
        return len(self.labels_N)


def _decode(data: bytes) -> tuple[ImageInfo, Image.Image]:
    """The description and the gray (mode L) image, upright."""
    if not data:
        raise RejectedImage("empty file")
    if data[_DICOM_MARK] == b"DICM":
        return _decode_dicom(data)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _reject_unusable(image)
            image.load()
            mode = image.mode
            upright = ImageOps.exif_transpose(image)
            return ImageInfo(upright.width, upright.height, mode), _gray(upright)
    except (RejectedImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise RejectedImage("not an image, or of an unknown format") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RejectedImage("too large: possibly a decompression bomb") from error
    except Exception as error:  # a damaged file makes Pillow's parsers raise nearly anything
        raise RejectedImage(_reason(error)) from error


def _decode_dicom(data: bytes) -> tuple[ImageInfo, Image.Image]:
    try:
        from pneumo_batch.core import dicom  # an extra, and slow to import
    except ImportError as error:
        raise RejectedImage("DICOM needs pydicom: pip install 'pneumo-batch[dicom]'") from error
    film = dicom.Film(data)
    _reject_size(film.width, film.height)
    return ImageInfo(film.width, film.height, film.mode, film.patient), Image.fromarray(film.gray_HW())


def _reject_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise RejectedImage(f"too large: {width} x {height} pixels")


def _reject_unusable(image: Image.Image) -> None:
    """Judges by the header alone, before the pixels are decoded."""
    _reject_size(*image.size)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO: a photograph with its preview
        raise RejectedImage(f"animated or of several pages ({frames} frames)")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "truncated" in text.lower():
        return "truncated file"
    return f"damaged file: {text or type(error).__name__}"


def _gray(image: Image.Image) -> Image.Image:
    """One 8-bit channel. Transparent parts turn black, as the padding is."""
    if image.mode.startswith("I") or image.mode == "F":
        return _gray_from_wide(np.asarray(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return image.convert("L")


def _gray_from_wide(values_HW: np.ndarray) -> Image.Image:
    """16-bit, 32-bit and float pixels, scaled by the range of their type; floats must lie in [0, 1]."""
    low, high = float(values_HW.min()), float(values_HW.max())
    limit = 1.0 if values_HW.dtype.kind == "f" else _UINT16_MAX if high <= _UINT16_MAX else _INT32_MAX
    if not (low >= 0 and high <= limit):  # also true of NaN
        raise RejectedImage(f"pixel values from {low:g} to {high:g}: expected 0 to {limit:g}")
    return Image.fromarray(np.rint(values_HW * (255.0 / limit)).astype(np.uint8))


def _pad_square(gray: Image.Image) -> Image.Image:
    side = max(gray.size)
    if gray.size == (side, side):
        return gray
    square = Image.new("L", (side, side), 0)
    square.paste(gray, ((side - gray.width) // 2, (side - gray.height) // 2))
    return square
