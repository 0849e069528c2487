"""The built-in data set: generated frontal chest films, with and without opacities whose place is known.

Array names carry their shape: H rows, W columns.
"""

import math
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from pneumo_batch.core.data.phantom import thorax
from pneumo_batch.core.data.phantom.thorax import Thorax

MIN_SIZE = 32
NORMAL, PNEUMONIA = "NORMAL", "PNEUMONIA"
PNEUMONIA_SHARE = Fraction(4, 7)  # of the images of each split
BACTERIA_SHARE = Fraction(3, 5)  # of the images with pneumonia
REPEAT_SHARE = Fraction(1, 8)  # of the images of each kind show the person of the image before
JPEG_QUALITY = 92

Subtype = Literal["bacteria", "virus"]

# A lead letter as it lies on the cassette.
_LETTER_R = np.array(
    [[c == "#" for c in row] for row in ("####.", "#...#", "#...#", "####.", "#.#..", "#..#.", "#...#")]
)


@dataclass(frozen=True)
class Film:
    """`image_HW` uint8; `mask_HW` bool, where the opacity is (nowhere for a normal film)."""

    image_HW: np.ndarray
    mask_HW: np.ndarray
    subtype: Subtype | None


def render(rng: np.random.Generator, size: int, subtype: Subtype | None) -> Film:
    """One film of `size` x `size` pixels: normal (None), a focal consolidation ("bacteria") or diffuse haze ("virus").

    The same generator state gives the same patient, pose and film for every subtype, and the same scene at any size.
    Raises ValueError for films below MIN_SIZE.
    """
    person_rng, film_rng = rng.spawn(2)
    return _film(person_rng, film_rng, size, subtype)


def _film(person_rng: np.random.Generator, rng: np.random.Generator, size: int, subtype: Subtype | None) -> Film:
    """One of a person's films."""
    if size < MIN_SIZE:
        raise ValueError(f"phantom.image_size is {size}: films are at least {MIN_SIZE} pixels a side")
    pose_rng, opacity_rng, film_rng = rng.spawn(3)
    chest = thorax.draw(person_rng, pose_rng, size)
    opacity_HW = opacity(opacity_rng, chest, subtype)
    image_HW = expose(film_rng, chest.attenuation_HW + opacity_HW)
    return Film(image_HW, opacity_HW > 0, subtype)


def opacity(rng: np.random.Generator, chest: Thorax, subtype: Subtype | None) -> np.ndarray:
    """Added attenuation: exactly 0 outside the opacity, and so outside the lungs."""
    if subtype is None:
        return np.zeros_like(chest.attenuation_HW)
    filled_HW = _consolidation(rng, chest) if subtype == "bacteria" else _haze(rng, chest)
    return (filled_HW * chest.air_HW).astype(np.float32)


def _consolidation(rng: np.random.Generator, chest: Thorax) -> np.ndarray:
    """The share of air replaced: one or two dense foci with an irregular, soft edge and a little air left in them."""
    size = len(chest.x_HW)
    rough_HW = 0.20 * thorax.noise(rng, size, 6) + 0.10 * thorax.noise(rng, size, 16)
    field_HW = np.full_like(chest.x_HW, -np.inf)
    side, foci = rng.choice([-1, 1]), int(rng.choice([1, 2], p=[0.7, 0.3]))
    for k in range(foci):
        centre_x, centre_y = side * (-1) ** k * rng.uniform(0.28, 0.5), rng.uniform(-0.45, 0.35)
        wide, tall = rng.uniform(0.8, 1.2), rng.uniform(0.9, 1.4)
        field_HW = np.maximum(field_HW, -np.hypot((chest.x_HW - centre_x) / wide, (chest.y_HW - centre_y) / tall))
    spread_HW = _spread(4 * field_HW + rough_HW, chest, foci * rng.uniform(0.12, 0.28))
    air_HW = 1 - 0.25 * thorax.ridges(thorax.noise(rng, size, 20), 0.5)
    return rng.uniform(0.8, 1.1) * spread_HW * air_HW


def _haze(rng: np.random.Generator, chest: Thorax) -> np.ndarray:
    """The share of air replaced: patches on both sides, densest around the lung roots, with the net of thickened
    interstitium.
    """
    size = len(chest.x_HW)
    patches_HW = 0.5 * thorax.noise(rng, size, 6) + 0.35 * thorax.noise(rng, size, 13)
    spread_HW = _spread(patches_HW - 1.3 * chest.hilum_HW, chest, rng.uniform(0.4, 0.75))
    spots_HW = np.clip(0.8 + 0.35 * thorax.noise(rng, size, 24), 0.2, 1.6)
    net_HW = thorax.ridges(thorax.noise(rng, size, 44), 0.6)
    return rng.uniform(0.45, 0.75) * spread_HW * (spots_HW + 0.3 * net_HW)


def _spread(field_HW: np.ndarray, chest: Thorax, share: float) -> np.ndarray:
    """0 to 1, above 0 in the given share of the lungs: where the field is highest.

    A smoothstep, because unlike a sigmoid it ends, and with it the mask.
    """
    low, high = np.quantile(field_HW[chest.air_HW > 0], [1 - share, 0.995])
    t = np.clip((field_HW - low) / (0.75 * (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def expose(rng: np.random.Generator, attenuation_HW: np.ndarray) -> np.ndarray:
    """Film and detector: exposure, contrast, uneven field, unsharpness, grain, marker, collimation.

    Like a detector's automatic exposure this levels the mean of the scene before it varies it, so that the overall
    brightness of a film says nothing of its class.
    """
    size = len(attenuation_HW)
    contrast, brightness, gamma = rng.uniform(0.85, 1.25), rng.normal(0, 0.045), rng.uniform(0.85, 1.2)
    level_HW = 0.47 + brightness + contrast * (attenuation_HW - attenuation_HW.mean())
    level_HW = level_HW + 0.03 * thorax.noise(rng, size, 1)
    level_HW = gaussian_filter(level_HW, rng.uniform(0.0012, 0.003) * size)
    grain_HW = gaussian_filter(rng.standard_normal(level_HW.shape, dtype=np.float32), 0.6)
    level_HW = np.clip(level_HW, 0, 1) ** gamma + rng.uniform(0.008, 0.03) * grain_HW
    _mark(rng, level_HW)
    _collimate(rng, level_HW)
    return np.rint(255 * np.clip(level_HW, 0, 1)).astype(np.uint8)


def _mark(rng: np.random.Generator, level_HW: np.ndarray) -> None:
    """Lays the letter R beside the patient's right shoulder on most films."""
    size = len(level_HW)
    laid, pixels = rng.uniform() < 0.7, max(1, round(rng.uniform(0.04, 0.06) * size / len(_LETTER_R)))
    top, left = int(rng.uniform(0.02, 0.3) * size), int(rng.uniform(0.02, 0.06) * size)
    letter = np.kron(_LETTER_R, np.ones((pixels, pixels)))
    if laid:
        part_HW = level_HW[top : top + letter.shape[0], left : left + letter.shape[1]]
        np.maximum(part_HW, 0.93 * letter, out=part_HW)


def _collimate(rng: np.random.Generator, level_HW: np.ndarray) -> None:
    """Blackens the borders that the collimator left unexposed on some films."""
    size = len(level_HW)
    margins = np.round(rng.uniform(0, 0.05, 4) * (rng.uniform(size=4) < 0.25) * size).astype(int)
    level_HW[: margins[0]] = 0
    level_HW[size - margins[1] :] = 0
    level_HW[:, : margins[2]] = 0
    level_HW[:, size - margins[3] :] = 0


class _Plan(NamedTuple):
    """One image to be written: `number` of `split` (0 train, 1 test); `person` counts within the kind and split."""

    path: str
    subtype: Subtype | None
    person: int
    split: int
    number: int


def write(
    root: Path,
    *,
    train: int,
    test: int,
    seed: int,
    image_size: int,
    spread: Callable[[Callable[[list[int]], None], list[int]], None] | None = None,
) -> None:
    """Writes a data set of `train` + `test` films in the layout and names of the Kaggle set, and `masks/`.

    Image k of a split depends on `seed`, the split and k only, not on how many there are. `root` appears complete or
    not at all. `spread(make, numbers)` may call the picklable `make` with parts of the films' numbers, in any process
    that sees `root`. Raises ValueError if `root` already holds something.
    """
    with whole_or_not_at_all(root) as unfinished:
        make = _Maker(unfinished, [*_plans("train", train), *_plans("test", test)], seed, image_size)
        numbers = list(range(train + test))
        spread(make, numbers) if spread else make(numbers)


@contextmanager
def whole_or_not_at_all(root: Path) -> Iterator[Path]:
    """A folder beside `root` that takes its place in the end. Raises ValueError if `root` already holds something."""
    if root.exists() and any(root.iterdir()):
        raise ValueError(f"{root} is not empty: name a new folder for the phantom data set")
    unfinished = root.with_name(f".{root.name}-{uuid.uuid4().hex}")
    try:
        yield unfinished
        unfinished.replace(root)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@dataclass(frozen=True)
class _Maker:
    """Renders and saves films by their number among the plans."""

    root: Path
    plans: list["_Plan"]
    seed: int
    image_size: int

    def __call__(self, numbers: list[int]) -> None:
        for plan in (self.plans[number] for number in numbers):
            _save(self.root, plan, _film(*_generators(self.seed, plan), self.image_size, plan.subtype))


def mask_path(image_id: str) -> str:
    """Where the mask of an image lies, relative to the data root: PNG, 255 inside the opacity, 0 outside."""
    return str("masks" / PurePosixPath(image_id).with_suffix(".png"))


def _plans(name: str, count: int) -> Iterator[_Plan]:
    """Kinds in fixed proportions; odd numbers name the people of train and even ones those of test."""
    split = ("train", "test").index(name)
    seen: dict[Subtype | None, int] = {None: 0, "bacteria": 0, "virus": 0}
    for k in range(count):
        subtype = _kind(k)
        person = seen[subtype] - math.floor((seen[subtype] + 1) * REPEAT_SHARE)
        again = seen[subtype] > 0 and person == seen[subtype] - 1 - math.floor(seen[subtype] * REPEAT_SHARE)
        seen[subtype] += 1
        number = 2 * person + 1 + split
        if subtype:
            path = f"{name}/{PNEUMONIA}/person{number}_{subtype}_{2 * k + 1 + split}.jpeg"
        else:
            series = "NORMAL2-IM" if person % 2 else "IM"
            path = f"{name}/{NORMAL}/{series}-{number:04}-{1 + again:04}.jpeg"
        yield _Plan(path, subtype, person, split, k)


def _kind(k: int) -> Subtype | None:
    sick = math.floor(k * PNEUMONIA_SHARE)
    if math.floor((k + 1) * PNEUMONIA_SHARE) == sick:
        return None
    return "bacteria" if math.floor((sick + 1) * BACTERIA_SHARE) > math.floor(sick * BACTERIA_SHARE) else "virus"


def _generators(seed: int, plan: _Plan) -> tuple[np.random.Generator, np.random.Generator]:
    """(the person's, the film's): films of one person share the first."""
    kind = (None, "bacteria", "virus").index(plan.subtype)
    person = np.random.SeedSequence((seed, plan.split, 0, kind, plan.person))
    film = np.random.SeedSequence((seed, plan.split, 1, plan.number))
    return np.random.default_rng(person), np.random.default_rng(film)


def _save(root: Path, plan: _Plan, film: Film) -> None:
    image, mask = root / plan.path, root / mask_path(plan.path)
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(film.image_HW).save(image, "JPEG", quality=JPEG_QUALITY)
    Image.fromarray(np.uint8(255) * film.mask_HW).save(mask, "PNG")
