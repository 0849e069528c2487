"""An image file as the network's input (how files are read: decoding.py).

Array names carry their shape: B images, H rows, W columns, C channels.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pneumo_batch.core.data import likeness
from pneumo_batch.core.data.decoding import ImageInfo, decode
from pneumo_batch.core.data.looks import Look
from pneumo_batch.core.data.options import Pad, Resize
from pneumo_batch.core.data.pixels import Pixels

if TYPE_CHECKING:
    from torch import Tensor


def inspect(data: bytes) -> ImageInfo:
    """Decodes a whole image file and describes it.

    Raises RejectedImage for everything that `Preprocess.pixels` would reject.
    """
    info, gray = decode(data)
    return dataclasses.replace(info, look=Look.of(gray), hash=likeness.perceptual_hash(gray))


_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}

PerChannel = float | tuple[float, ...]

# As (mean, std) of pixels in [0, 1]: those of torchvision's weights, and [-1024, 1024] for those of torchxrayvision.
_NAMED: dict[str, tuple[PerChannel, PerChannel]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "torchxrayvision": (0.5, 1 / 2048),
}


def named_normalisation(name: str, channels: int) -> tuple[PerChannel, PerChannel]:
    """(mean, std) that "imagenet" or "torchxrayvision" stands for; one channel gets the average over colours."""
    mean, std = _NAMED[name]
    if channels == 1 and isinstance(mean, tuple) and isinstance(std, tuple):
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
    pad: Pad = "black"
    mean: PerChannel = 0.345
    std: PerChannel = 0.282
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
        return self.fitted(decode(data)[1])

    def fitted(self, gray: Image.Image) -> np.ndarray:
        """A gray film (mode L), or what lies on it pixel by pixel, padded and resized: (size, size) uint8."""
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

    def gray(self, inputs_BCHW: "Tensor") -> "Tensor":
        """The inverse of `normalised`: (B, channels, H, W) in [0, 1]."""
        mean, std = (_per_channel(value, inputs_BCHW) for value in (self.mean, self.std))
        return inputs_BCHW * std + mean

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` is the inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "Preprocess":
        """Rebuilds what `as_dict` gave, from JSON too; TypeError names an unknown or missing field."""
        exact: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in values.items()}
        return cls(**exact)


def _per_channel(value: PerChannel, like_BCHW: "Tensor") -> "float | Tensor":
    return like_BCHW.new_tensor(value)[:, None, None] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Split:
    """Images of one split as they were decoded, in memory or on disk, and the labels the loss receives."""

    pixels_NHW: np.ndarray | Pixels  # uint8
    labels_N: np.ndarray  # int64; of several findings (N, K), as table_columns.labels_of gives them

    def __len__(self) -> int:
        return len(self.labels_N)


def _pad_square(gray: Image.Image) -> Image.Image:
    side = max(gray.size)
    if gray.size == (side, side):
        return gray
    square = Image.new("L", (side, side), 0)
    square.paste(gray, ((side - gray.width) // 2, (side - gray.height) // 2))
    return square
