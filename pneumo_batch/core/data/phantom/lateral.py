"""A generated chest seen from the side: what sets hold beside frontal films, and what a reader leaves out.

x runs from -1 (the front) to 1 (the back), y from -1 (head) to 1. Array names carry their shape: H rows, W columns.
"""

import numpy as np
from scipy.special import expit

from pneumo_batch.core.data import phantom
from pneumo_batch.core.data.phantom import thorax


def render(person_rng: np.random.Generator, film_rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size) uint8. Shows no finding."""
    ticks = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) / np.float32(film_rng.uniform(0.92, 1.05))
    x_HW, y_HW = np.meshgrid(ticks, ticks)
    depth, base = person_rng.uniform(0.5, 0.6), person_rng.uniform(0.4, 0.55)
    front_HW = -depth + 0.22 * np.clip(-y_HW, 0, 1) ** 2 - 0.08 * np.clip(y_HW, 0, 1)
    back_HW = depth + 0.08 - 0.35 * (y_HW - 0.1) ** 2
    body_HW = expit((x_HW - front_HW + 0.13) / 0.015) * expit((back_HW + 0.2 - x_HW) / 0.015)
    attenuation_HW = body_HW * 0.62 - 0.36 * _lung(x_HW, y_HW, (front_HW, back_HW), base)
    attenuation_HW += _bones(x_HW, y_HW, (front_HW, back_HW), person_rng.uniform(0.13, 0.15))
    attenuation_HW += 0.025 * thorax.noise(person_rng, size, 7)
    return phantom.expose(film_rng, attenuation_HW.astype(np.float32))


def _lung(x_HW: np.ndarray, y_HW: np.ndarray, walls: tuple[np.ndarray, np.ndarray], base: float) -> np.ndarray:
    """What is left of both lungs beside the heart, above the diaphragm that falls to the back."""
    front_HW, back_HW = walls
    dome_HW = base + 0.5 * np.clip(x_HW, 0, 1) ** 1.5 + 0.1 * np.clip(-x_HW, 0, 1)
    inside_HW = np.minimum(np.minimum(x_HW - front_HW, back_HW - x_HW), np.minimum(dome_HW - y_HW, y_HW - thorax.APEX))
    heart_HW = 1 - np.hypot((x_HW + 0.18) / 0.3, (y_HW - base + 0.18) / 0.32)
    return expit(inside_HW / 0.02) * (1 - 0.6 * expit(heart_HW / 0.06))


def _bones(x_HW: np.ndarray, y_HW: np.ndarray, walls: tuple[np.ndarray, np.ndarray], spacing: float) -> np.ndarray:
    """The row of vertebral bodies along the back, the breastbone, and ribs that slant down to the front."""
    front_HW, back_HW = walls
    spine_HW = np.exp(-(((x_HW - back_HW + 0.1) / 0.09) ** 2)) * (0.13 + 0.06 * np.cos(2 * np.pi * y_HW / spacing))
    breastbone_HW = 0.14 * np.exp(-(((x_HW - front_HW + 0.03) / 0.025) ** 2)) * expit((0.25 - y_HW) / 0.04)
    slant_HW = np.cos(2 * np.pi * (y_HW + 0.5 * x_HW) / spacing) ** 2
    caged_HW = expit((x_HW - front_HW) / 0.02) * expit((back_HW - x_HW) / 0.02) * expit((0.45 - y_HW) / 0.05)
    return spine_HW + breastbone_HW + 0.05 * slant_HW * caged_HW
