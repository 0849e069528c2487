"""The generated chest behind every phantom film: its attenuation, and where its lungs are.

Body coordinates: x runs from -1 (the patient's right, on the left of the film) to 1, y from -1 (head) to 1, so the same
generator state draws the same chest at any size. Array names carry their shape: H rows, W columns.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates
from scipy.special import expit

APEX = -0.72  # y of the lungs' upper ends
_HEART_ABOVE = 0.24  # how far its middle lies above the right dome of the diaphragm


@dataclass(frozen=True)
class Thorax:
    """`attenuation_HW` is about 0 for air and 1 for bone over heart; `air_HW` is what the air of the lungs takes from
    it, exactly 0 outside them; `x_HW`, `y_HW` are body coordinates; `hilum_HW` is the distance from the nearer root of
    a lung; `build` holds the proportions.
    """

    attenuation_HW: np.ndarray
    air_HW: np.ndarray
    x_HW: np.ndarray
    y_HW: np.ndarray
    hilum_HW: np.ndarray
    build: "Build"

    def heart_HW(self) -> np.ndarray:  # noqa: N802 - the shape
        """(H, W) bool: the heart without the great vessels, above the diaphragm, below which nobody sees its border."""
        ventricles_HW, atrium_HW = _chambers(self.x_HW - self.build.turn, self.y_HW, self.build)
        return (np.maximum(ventricles_HW, atrium_HW) > 0) & (self.y_HW < _dome(self.x_HW, self.build))

    def wall_HW(self) -> np.ndarray:  # noqa: N802 - the shape
        """(H, W) how far inside the wall of the rib cage, in body coordinates."""
        return _wall(self.y_HW, self.build) - np.abs(self.x_HW)


@dataclass(frozen=True)
class Build:
    """One person's proportions."""

    chest: float  # half width of the lungs at their base
    base: float  # y of the right dome of the diaphragm
    dome_step: float  # how much lower the left dome is
    heart: float
    rib_spacing: float
    rib_phase: float
    turn: float  # sideways shift of the heart and the vessels: a patient who is not quite frontal

    def with_heart(self, ratio: float) -> "Build":
        """With a heart whose width is this share of the widest chest: the cardiothoracic ratio."""
        width = 2 * (0.16 + 0.96 * (self.chest - 0.16))  # between the walls where `_wall` is widest
        return replace(self, heart=(ratio * width - 0.21) / 0.471)  # the width of `_chambers` is 0.21 + 0.471 heart


def draw(
    person_rng: np.random.Generator, pose_rng: np.random.Generator, size: int, ratio: float | None = None
) -> Thorax:
    """Draws one person in one pose on `size` x `size` pixels, with the cardiothoracic `ratio` if one is given."""
    x_HW, y_HW = _pose(pose_rng, size)
    build = Build(
        chest=person_rng.uniform(0.62, 0.74),
        base=person_rng.uniform(0.36, 0.58),
        dome_step=person_rng.uniform(0.0, 0.09),
        heart=person_rng.uniform(0.88, 1.14),
        rib_spacing=person_rng.uniform(0.125, 0.15),
        rib_phase=person_rng.uniform(),
        turn=person_rng.normal(0, 0.025),
    )
    build = build if ratio is None else build.with_heart(ratio)
    inside_HW, depth_HW = _lungs(x_HW, y_HW, build)
    heart_HW = _heart(x_HW - build.turn, y_HW, build)
    lungs_HW = inside_HW * (1 - heart_HW)
    lungs_HW[lungs_HW < 0.05] = 0
    air_HW = 0.37 * lungs_HW * (0.6 + 0.4 * np.sqrt(np.clip(depth_HW / 0.18, 0, 1)))
    hilum_HW = np.hypot(np.abs(x_HW - build.turn) - 0.2, (y_HW + 0.08) * 0.8)
    vessels_HW = _vessels(person_rng, x_HW - build.turn, y_HW)
    attenuation_HW = (
        _soft_tissue(person_rng, x_HW, y_HW, build)
        - air_HW
        + 0.12 * heart_HW
        + lungs_HW * (0.12 * vessels_HW * np.exp(-1.5 * hilum_HW) + 0.10 * np.exp(-((hilum_HW / 0.15) ** 2)))
        + _bones(person_rng, x_HW, y_HW, build)
        + 0.025 * noise(person_rng, size, 7)
    )
    return Thorax(attenuation_HW.astype(np.float32), air_HW, x_HW, y_HW, hilum_HW, build)


def noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise (size, size) of about unit deviation, with `cells` bumps a side: a random cubic B-spline surface."""
    basis = _spline_basis(size, cells)
    weights = rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    return 2.1 * (basis @ weights @ basis.T)  # 2.1: the basis averages neighbours, on both axes


@lru_cache
def _spline_basis(size: int, cells: int) -> np.ndarray:
    knots = np.arange(-3, cells + 4) / cells
    return BSpline.design_matrix((np.arange(size) + 0.5) / size, knots, 3).toarray().astype(np.float32)


def _fourth(values: np.ndarray) -> np.ndarray:
    """The fourth power; numpy's own takes 50 times as long for float32."""
    return np.square(np.square(values))


def ridges(values: np.ndarray, width: float) -> np.ndarray:
    """1 along the zero lines of a noise, 0 beyond `width`: branching threads."""
    return np.clip(1 - np.abs(values) / width, 0, 1)


def _pose(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    angle = np.deg2rad(np.clip(rng.normal(0, 2.5), -7, 7))
    zoom, stretch = rng.uniform(0.9, 1.08), rng.uniform(0.95, 1.05)
    shift_x, shift_y = rng.normal(0, 0.03), rng.normal(0, 0.04)
    ticks = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) / np.float32(zoom)
    x_HW, y_HW = np.meshgrid(ticks - np.float32(shift_x), ticks - np.float32(shift_y))
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return (cos * x_HW + sin * y_HW) * np.float32(stretch), cos * y_HW - sin * x_HW


def _wall(y_HW: np.ndarray, build: Build) -> np.ndarray:
    """Half width of the rib cage at each height."""
    height_HW = np.clip((y_HW - APEX) / (build.base - APEX), 0, 1.35)
    return 0.16 + (build.chest - 0.16) * np.sqrt(1 - (1 - np.minimum(height_HW, 1)) ** 2) * (
        1 - 0.05 * _fourth(height_HW)
    )


def _dome(x_HW: np.ndarray, build: Build) -> np.ndarray:
    """Height (y) of the diaphragm."""
    base_HW = build.base + build.dome_step * expit(x_HW / 0.05)
    return base_HW + 1.5 * (np.abs(x_HW) - 0.36) ** 2


def _lungs(x_HW: np.ndarray, y_HW: np.ndarray, build: Build) -> tuple[np.ndarray, np.ndarray]:
    """(soft mask, distance from the edge) of both lungs, the heart not yet taken out."""
    across_HW = np.abs(x_HW)
    height_HW = np.clip((y_HW - APEX) / (build.base - APEX), 0, 1)
    midline_HW = 0.24 - 0.11 * np.sqrt(height_HW)
    lateral_HW = np.minimum(_wall(y_HW, build) - across_HW, _dome(x_HW, build) - y_HW)
    depth_HW = np.minimum(lateral_HW, across_HW - midline_HW)
    return expit(depth_HW / 0.012), depth_HW


def _heart(x_HW: np.ndarray, y_HW: np.ndarray, build: Build) -> np.ndarray:
    """Soft mask of the heart, the great vessels and the aortic knob."""
    down = build.base - _HEART_ABOVE
    ventricles_HW, atrium_HW = _chambers(x_HW, y_HW, build)
    trunk_HW = 1 - np.hypot((x_HW - 0.03) / 0.16, (y_HW - down + 0.33) / 0.42)
    knob_HW = 1 - np.hypot((x_HW - 0.11) / 0.1, (y_HW - down + 0.5) / 0.1)
    edge_HW = np.maximum(np.maximum(ventricles_HW, atrium_HW), np.maximum(trunk_HW, 0.5 * knob_HW))
    return expit(edge_HW / 0.045)


def _chambers(x_HW: np.ndarray, y_HW: np.ndarray, build: Build) -> tuple[np.ndarray, np.ndarray]:
    """(ventricles, right atrium), each 0 on its border and 1 in its middle."""
    down = build.base - _HEART_ABOVE
    along_HW = 0.84 * (y_HW - down) + 0.54 * (x_HW - 0.15)
    beside_HW = 0.84 * (x_HW - 0.15) - 0.54 * (y_HW - down)
    ventricles_HW = 1 - np.hypot(beside_HW / (0.25 * build.heart), along_HW / (0.40 * build.heart))
    return ventricles_HW, 1 - np.hypot((x_HW + 0.06) / (0.17 * build.heart), (y_HW - down) / 0.3)


def _soft_tissue(rng: np.random.Generator, x_HW: np.ndarray, y_HW: np.ndarray, build: Build) -> np.ndarray:
    """Trunk, shoulders and arms, mediastinum, abdomen with the stomach's air."""
    across_HW = np.abs(x_HW)
    neckline, chin = rng.uniform(-1.15, -0.84), rng.uniform(0, 0.2)
    trunk_HW = build.chest + 0.13 + 0.03 * y_HW
    shoulders_HW = trunk_HW + 0.55 * expit((-0.42 - y_HW - 0.35 * (across_HW - 0.8)) / 0.06)
    body_HW = expit((shoulders_HW - across_HW) / 0.014)
    above_HW = expit((y_HW - neckline + 0.55 * np.exp(-(((across_HW - 0.1) / 0.22) ** 2))) / 0.02)
    body_HW = body_HW * above_HW
    thickness_HW = np.sqrt(np.clip(1 - (across_HW / (shoulders_HW + 0.02)) ** 2, 0, 1))
    arm_HW = expit((0.13 - np.abs(across_HW - 1.02 - 0.15 * y_HW)) / 0.02) * expit((-0.1 - y_HW) / 0.1)
    below_HW = expit((y_HW - _dome(x_HW, build)) / 0.012)
    stomach_HW = np.exp(-_fourth((x_HW - 0.36) / 0.17) - _fourth((y_HW - build.base - 0.26) / 0.1))
    mediastinum_HW = expit((0.15 - across_HW) / 0.03)
    neck_HW = np.exp(-_fourth(across_HW / 0.3) - ((y_HW + 1.05) / 0.14) ** 2)
    return body_HW * (
        0.24 + 0.32 * thickness_HW + 0.09 * mediastinum_HW + below_HW * (0.14 - 0.10 * stomach_HW) + chin * neck_HW
    ) + 0.12 * arm_HW * (1 - body_HW)


def _bones(rng: np.random.Generator, x_HW: np.ndarray, y_HW: np.ndarray, build: Build) -> np.ndarray:
    """Ribs seen from behind and from the front, spine with the windpipe over it, clavicles, scapulae."""
    across_HW = np.abs(x_HW)
    out_HW = np.clip(across_HW / _wall(y_HW, build), 0, 1.2)
    cage_HW = expit((1.03 - out_HW) / 0.012) * expit((y_HW - APEX - 0.02) / 0.04)
    cage_HW = cage_HW * (0.16 + 0.84 * expit((_dome(x_HW, build) + 0.05 - y_HW) / 0.05))
    behind_HW = y_HW + 0.09 * np.sin(2.9 * out_HW) - 0.24 * out_HW * out_HW**2
    front_HW = y_HW - 0.10 - 0.26 * np.clip(1 - out_HW, 0, 1) - 0.25 * _fourth(out_HW)
    rim_HW = 1 + 1.1 * _fourth(np.minimum(out_HW, 1)) ** 2
    ribs_HW = 0.15 * rim_HW * _bands(behind_HW, build) * expit((across_HW - 0.08) / 0.02)
    ribs_HW += 0.055 * _bands(front_HW * 0.9 + 0.07, build) * expit((out_HW - 0.5) / 0.06)
    return cage_HW * ribs_HW + _spine(x_HW, y_HW, build) + _shoulder_girdle(rng, across_HW, y_HW)


def _bands(position_HW: np.ndarray, build: Build) -> np.ndarray:
    """Evenly spaced tubes: a rim of dense bone around a softer core."""
    cycle_HW = position_HW / build.rib_spacing + build.rib_phase
    off_HW = np.abs(cycle_HW - np.floor(cycle_HW) - 0.5)
    return 0.62 * expit((0.19 - off_HW) / 0.02) + 0.45 * np.exp(-(((off_HW - 0.165) / 0.04) ** 2))


def _spine(x_HW: np.ndarray, y_HW: np.ndarray, build: Build) -> np.ndarray:
    cycle_HW = y_HW / (0.85 * build.rib_spacing) + build.rib_phase
    disc_HW = np.cos(2 * np.pi * cycle_HW)
    column_HW = expit((0.082 - np.abs(x_HW)) / 0.012)
    pedicles_HW = np.exp(-(((np.abs(x_HW) - 0.055) / 0.018) ** 2)) * np.clip(disc_HW, 0, 1)
    windpipe_HW = expit((0.04 - np.abs(x_HW + 0.01)) / 0.012) * expit((-0.22 - y_HW) / 0.05)
    return column_HW * (0.075 + 0.028 * disc_HW) + 0.035 * pedicles_HW - 0.09 * windpipe_HW


def _shoulder_girdle(rng: np.random.Generator, across_HW: np.ndarray, y_HW: np.ndarray) -> np.ndarray:
    lift, slope = rng.uniform(-0.04, 0.05), rng.uniform(0.05, 0.35)
    reach_HW = across_HW - 0.08
    clavicle_HW = y_HW + 0.6 + lift + slope * reach_HW + 0.035 * np.sin(9 * reach_HW)
    shaft_HW = expit((0.024 - np.abs(clavicle_HW)) / 0.006) * expit(reach_HW / 0.015) * expit((0.58 - reach_HW) / 0.03)
    blade_HW = across_HW - 0.62 - 0.25 * (y_HW + 0.4)
    scapula_HW = expit((blade_HW) / 0.03) * expit((0.24 - blade_HW) / 0.03) * np.exp(-_fourth((y_HW + 0.45) / 0.24))
    humerus_HW = expit((0.055 - np.abs(across_HW - 0.98 - 0.3 * (y_HW + 0.6))) / 0.012) * expit((-0.45 - y_HW) / 0.04)
    return 0.15 * shaft_HW + 0.08 * scapula_HW + 0.13 * humerus_HW


def _vessels(rng: np.random.Generator, x_HW: np.ndarray, y_HW: np.ndarray) -> np.ndarray:
    """Threads that radiate from the lung roots: ridges of a noise stretched along the radius."""
    dx_HW, dy_HW = np.abs(x_HW) - 0.16, y_HW + 0.06
    angle_HW = np.arctan2(dy_HW, dx_HW) / (2 * np.pi) + 0.02 * noise(rng, len(x_HW), 9) + 0.5 * (x_HW > 0)
    radius_HW = np.hypot(dx_HW, dy_HW)
    total_HW = np.zeros_like(x_HW)
    for turns, rings in ((34, 5), (70, 9)):
        table = rng.standard_normal((turns, rings), dtype=np.float32)
        place = np.stack([(angle_HW * turns) % turns, np.clip(radius_HW, 0, 1) * (rings - 1)])
        total_HW += ridges(map_coordinates(table, place, order=1, mode="grid-wrap"), 0.45)
    return total_HW - 0.6
