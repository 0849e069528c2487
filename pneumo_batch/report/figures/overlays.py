"""A map as a small picture: a PNG with a palette, to be laid over the film by the page.

Shapes: H x W pixels, L colours.
"""

import base64
import functools
import io

import matplotlib
import numpy as np
from PIL import Image

# Both can be told apart with any colour vision; the second has even steps of lightness.
DIVERGING, SEQUENTIAL = "RdBu_r", "inferno"
_STEPS = 32  # colours on each side of 0: finer ones cannot be told apart and compress badly
_BAR_STOPS = 13
PERCENTILE = 99
_MOST_OPAQUE = 0.7  # of the strongest colour: the film shows through


def layer(map_HW: np.ndarray, clip: float, palette: str, side: int) -> str:
    """Data URI of a map with values clipped to ±`clip` (from 0 for `SEQUENTIAL`), at most `side` pixels a side."""
    if len(map_HW) > side:
        # A box averages whole pixels: nothing is sharpened, nothing rings.
        resized = Image.fromarray(map_HW.astype(np.float32)).resize((side, side), Image.Resampling.BOX)
        map_HW = np.asarray(resized)
    share_HW = np.clip(np.nan_to_num(map_HW) / (clip or 1.0), -1 if palette == DIVERGING else 0, 1)
    offset = _STEPS if palette == DIVERGING else 0
    indices_HW = np.rint(share_HW * _STEPS).astype(np.uint8) + np.uint8(offset)
    image = Image.fromarray(indices_HW)
    image.putpalette(_colours(palette, offset + _STEPS + 1).tobytes())
    return _data_uri(_file(image, "PNG"), "PNG")


def limit(maps_VHW: np.ndarray) -> float:
    """The value that the strongest colour stands for, common to some maps; 0 if they are all 0."""
    return float(np.percentile(np.abs(maps_VHW), PERCENTILE)) or float(np.abs(maps_VHW).max())


def blend(film_HW: np.ndarray, map_HW: np.ndarray, clip: float) -> Image.Image:
    """The signed map over the film (both H x W), the more opaque the further from 0; where it is 0 the film is bare."""
    share_HW = np.clip(np.nan_to_num(map_HW) / (clip or 1.0), -1, 1)
    indices_HW = np.rint(share_HW * _STEPS).astype(int) + _STEPS
    colours_HW3 = _colours(DIVERGING, 2 * _STEPS + 1)[indices_HW]
    opacity_HW1 = _MOST_OPAQUE * np.abs(share_HW)[..., None]
    blended_HW3 = film_HW[..., None] * (1 - opacity_HW1) + colours_HW3 * opacity_HW1
    return Image.fromarray(np.rint(blended_HW3).astype(np.uint8))


def jpeg(film_HW: np.ndarray) -> bytes:
    """A film as a file."""
    return _file(Image.fromarray(film_HW), "JPEG")


def film(file: bytes) -> str:
    """Data URI of a film's file."""
    return _data_uri(file, "JPEG")


def _file(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, optimize=True, **({"quality": 85} if form == "JPEG" else {}))
    return buffer.getvalue()


def _data_uri(file: bytes, form: str) -> str:
    return f"data:image/{form.lower()};base64,{base64.b64encode(file).decode()}"


def gradient(palette: str) -> str:
    """The palette as a CSS gradient, for a colour bar."""
    stops = [matplotlib.colors.to_hex(colour / 255) for colour in _colours(palette, _BAR_STOPS)]
    return f"linear-gradient(to right, {', '.join(stops)})"


@functools.cache
def _colours(palette: str, count: int) -> np.ndarray:
    """(L, 3) uint8."""
    return np.rint(matplotlib.colormaps[palette](np.linspace(0, 1, count))[:, :3] * 255).astype(np.uint8)
