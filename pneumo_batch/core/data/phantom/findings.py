"""Generated films with any of several findings at once, each with the pixels that it changes.

Array names carry their shape: H rows, W columns.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pneumo_batch.core.data import phantom
from pneumo_batch.core.data.phantom import thorax
from pneumo_batch.core.data.phantom.thorax import Thorax

OPACITY, EFFUSION, PNEUMOTHORAX, ENLARGED_HEART = "opacity", "effusion", "pneumothorax", "enlarged heart"
FINDINGS = (OPACITY, EFFUSION, PNEUMOTHORAX, ENLARGED_HEART)
# Cardiothoracic ratios on either side of 0.5, the textbook's border, and none near it.
_NORMAL_RATIO, _ENLARGED_RATIO = (0.40, 0.48), (0.57, 0.66)
_RIGHT, _LEFT = -1, 1  # the sign of body x


@dataclass(frozen=True)
class SeveralFilm:
    """`image_HW` uint8; `parts` by finding: bool masks (H, W), one for each lung, or one of the heart.

    Parts of different findings share no pixel of a lung. A finding that nothing shows is not in `parts`.
    """

    image_HW: np.ndarray
    parts: dict[str, list[np.ndarray]]


def render(
    person_rng: np.random.Generator, film_rng: np.random.Generator, size: int, findings: Iterable[str]
) -> SeveralFilm:
    """One film of a person on `size` x `size` pixels, with these of FINDINGS."""
    pose_rng, opacity_rng, fluid_rng, air_rng, heart_rng, exposure_rng = film_rng.spawn(6)
    low, high = _ENLARGED_RATIO if ENLARGED_HEART in findings else _NORMAL_RATIO
    chest = thorax.draw(person_rng, pose_rng, size, heart_rng.uniform(low, high))
    draws = {EFFUSION: (_effusion, fluid_rng), PNEUMOTHORAX: (_pneumothorax, air_rng), OPACITY: (_opacity, opacity_rng)}
    attenuation_HW, free_HW = chest.attenuation_HW, np.ones_like(chest.air_HW, bool)
    parts = {ENLARGED_HEART: [chest.heart_HW()]} if ENLARGED_HEART in findings else {}
    for name in (name for name in draws if name in findings):
        draw, rng = draws[name]
        after_HW = attenuation_HW + draw(rng, chest)
        changed_HW = (after_HW != attenuation_HW) & free_HW
        attenuation_HW, free_HW = np.where(changed_HW, after_HW, attenuation_HW), free_HW & ~changed_HW
        parts[name] = [side_HW for sign in (_RIGHT, _LEFT) if (side_HW := changed_HW & (sign * chest.x_HW > 0)).any()]
    return SeveralFilm(phantom.expose(exposure_rng, attenuation_HW), {k: masks for k, masks in parts.items() if masks})


def _opacity(rng: np.random.Generator, chest: Thorax) -> np.ndarray:
    return phantom.opacity(rng, chest, "bacteria" if rng.uniform() < 0.7 else "virus")


def _sides(rng: np.random.Generator, both: float) -> list[int]:
    """One side, or both with that probability."""
    return [_RIGHT, _LEFT] if rng.uniform() < both else [int(rng.choice([_RIGHT, _LEFT]))]


def _effusion(rng: np.random.Generator, chest: Thorax) -> np.ndarray:
    """Added attenuation: fluid that fills the angle of ribs and diaphragm up to a level that climbs along the wall."""
    added_HW = np.zeros_like(chest.attenuation_HW)
    for side in _sides(rng, both=0.3):
        level = chest.build.base - rng.uniform(0.0, 0.42)
        surface_HW = level - rng.uniform(0.18, 0.3) * np.exp(
            -np.clip(chest.wall_HW(), 0, None) / rng.uniform(0.06, 0.1)
        )
        filled_HW = np.clip((chest.y_HW - surface_HW) / 0.05, 0, 1) * (side * chest.x_HW > 0)
        added_HW += (rng.uniform(1.0, 1.15) * filled_HW * chest.air_HW).astype(np.float32)
    return added_HW


def _pneumothorax(rng: np.random.Generator, chest: Thorax) -> np.ndarray:
    """Added attenuation, mostly negative: air between the ribs and a lung that fell in, widest above, and the bright
    line of the pleura on its edge.
    """
    added_HW = np.zeros_like(chest.attenuation_HW)
    for side in _sides(rng, both=0.25):
        above_HW = np.exp(-np.clip(chest.y_HW - thorax.APEX, 0, None) / rng.uniform(0.3, 0.6))
        inside_HW = rng.uniform(0.05, 0.1) + rng.uniform(0.12, 0.22) * above_HW - chest.wall_HW()
        line_HW = np.exp(-(((inside_HW - 0.015) / 0.011) ** 2))
        change_HW = (0.28 * line_HW - rng.uniform(0.11, 0.16)) * (chest.air_HW / 0.37)
        added_HW += np.where((inside_HW > 0) & (side * chest.x_HW > 0), change_HW, 0).astype(np.float32)
    return added_HW
