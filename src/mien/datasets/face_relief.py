"""The relief of a drawn face: brow ridge, sockets, nose, cheeks, lips, folds and wrinkles, as height above the skull.

Every part is a sum of Gaussian bumps; a fold is a row of them along a line. Which folds deepen with which action unit
follows the appearance changes listed in the FACS manual (Ekman, Friesen & Hager 2002).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from mien.datasets.face_model import FaceParameters
from mien.datasets.face_shape import SIDES, Array, FaceShape
from mien.datasets.face_surface import Plane, Sheet

_FAINT = 0.0015
"""Bumps lower than this, in head units, are left out."""


def relief(sheet: Sheet, parameters: FaceParameters, shape: FaceShape) -> Plane:
    """Height of the skin above the skull, float32 (rows, columns) in head units."""
    parts = (_sockets, _nose, _cheeks, _lips, _ears, _smile_folds, _eye_folds, _brow_folds)
    bumps = np.concatenate([part(parameters, shape) for part in parts])
    return sheet.bumps(bumps[np.abs(bumps[:, 4]) > _FAINT])


def pair(u: ArrayLike, v: ArrayLike, sigma_u: float, sigma_v: float, amplitude: ArrayLike) -> Array:
    """The same bump on both sides, float (2, 5); a lone u is taken for the right side of the picture and mirrored."""
    bumps = np.empty((2, 5))
    bumps[:, 0] = SIDES * u if np.ndim(u) == 0 else u
    bumps[:, 1], bumps[:, 2], bumps[:, 3], bumps[:, 4] = v, sigma_u, sigma_v, amplitude
    return bumps


def folds(lines: Array, width: float, amplitude: ArrayLike, count: int) -> Array:
    """Ridges (or, where the amplitude is negative, folds) along lines; they fade towards their ends.

    Args:
        lines: float (k, n, 2), the corners of k lines.
        width: sigma across a line, in head units.
        amplitude: height in the middle, one for all lines or (k,).
        count: how many bumps make a line: about its length divided by 1.3 widths.

    Returns:
        float (k * count, 5) bumps.
    """
    places, fade = _rows(lines.shape[1], count)
    points = places @ lines
    steps = points[:, 1:] - points[:, :-1]
    spacing = np.sqrt((steps * steps).sum(axis=-1)).mean(axis=1)
    bumps = np.empty((len(lines), count, 5))
    bumps[:, :, :2], bumps[:, :, 2:4] = points, width
    bumps[:, :, 4] = (amplitude * np.minimum(1.0, spacing / (2.5066 * width)))[:, None] * fade
    return bumps.reshape(-1, 5)


@lru_cache(maxsize=64)
def _rows(corners: int, count: int) -> tuple[Array, Array]:
    """What places `count` bumps along a line of so many corners, float (count, corners), and their heights (count,)."""
    at = np.linspace(0.0, corners - 1.0, count)[:, None]
    places = np.maximum(0.0, 1.0 - np.abs(at - np.arange(corners)))
    return places, np.sin(np.pi * (np.arange(count) + 0.7) / (count + 0.4)) ** 0.7


def mirrored(points: ArrayLike) -> Array:
    """A line given for the right side of the picture, float (n, 2), on both: (2, n, 2)."""
    line = np.asarray(points, float)
    return np.stack([line * (-1.0, 1.0), line])


_BELOW_MOUTH = mirrored([(0.035, 0.035), (0.085, 0.14)])
_CROWS_FEET = np.stack([mirrored([(0.03, rise * 0.5), (0.13, rise)]) for rise in (-0.06, 0.0, 0.06)])
_NOSE_WRINKLES = np.concatenate([mirrored([(0.015, v + 0.02), (0.10, v - 0.03)]) for v in (0.0, 0.075, 0.15)])
_FOREHEAD_MIDDLE = np.array([[(-0.2, v + 0.015), (0.0, v), (0.2, v + 0.015)] for v in (-0.62, -0.54, -0.46)])
_FOREHEAD_SIDES = np.concatenate([mirrored([(0.18, v + 0.01), (0.46, v + 0.05)]) for v in (-0.62, -0.54, -0.46)])
_UPRIGHT = mirrored([(0.043, -0.10), (0.043, 0.08)])


def _sockets(parameters: FaceParameters, shape: FaceShape) -> Array:
    """Brow ridge, eye sockets, eyeballs, the pouches below the eyes, the temples."""
    bones, age, units = parameters.identity.cheekbones, parameters.identity.age, shape.units
    centre, ridge = (shape.upper_lids[:, 6, 0] + shape.lower_lids[:, 6, 0]) / 2, shape.brows[:, 3]
    below = 0.02 * units[:, 6]
    pouch = 0.010 + 0.022 * units[:, 6] + 0.012 * units[:, 7]
    return np.concatenate(
        [
            pair(ridge[:, 0], ridge[:, 1] + 0.02, 0.17, 0.06, 0.035 * bones),
            pair(centre, -0.03, 0.15, 0.09, -0.065),
            pair(0.12, 0.0, 0.06, 0.08, -0.045),
            pair(centre, 0.0, 0.10, 0.075, 0.055),
            pair(centre * 0.95, 0.13 - below, 0.10, 0.028, -0.012 - 0.016 * age - 0.5 * below),
            pair(centre, 0.085 - below, 0.09, 0.025, pouch),
            pair(0.62, -0.2, 0.12, 0.16, -0.02 * bones),
        ]
    )


def _nose(parameters: FaceParameters, shape: FaceShape) -> Array:
    """Bridge, tip and wings."""
    identity = parameters.identity
    tip, high, wide = float(shape.nose_tip[1]), identity.nose_height, identity.nose_width
    along = np.arange(6) / 5.0
    bridge = np.zeros((6, 5))
    bridge[:, 1] = shape.nose_bridge + (tip - 0.05 - shape.nose_bridge) * along
    bridge[:, 2], bridge[:, 3] = 0.042 + 0.02 * along * wide, 0.055
    bridge[:, 4] = high * (0.022 + 0.034 * along)
    middle = [[0.0, tip, 0.075 * wide, 0.06, 0.095 * high], [0.0, tip + 0.11, 0.10, 0.03, -0.014]]
    wings = pair(shape.nostrils[:, 0] * 0.92, shape.nostrils[:, 1] - 0.005, 0.038, 0.036, 0.052)
    return np.concatenate([bridge, middle, wings])


def _cheeks(parameters: FaceParameters, shape: FaceShape) -> Array:
    """Cheekbones, the apples of the cheeks, chin and jaw."""
    bones, units, cheeks = parameters.identity.cheekbones, shape.units, shape.cheeks
    smile = np.maximum(units[:, 6], 0.8 * units[:, 12])
    tense, drop = float(shape.strengths[17]), max(0.0, shape.chin - 1.0)
    under_lip = float(shape.outer_lower[10, 1]) + 0.05
    chin = [
        [0.0, shape.chin - 0.11 - 0.03 * tense, 0.13, 0.075, 0.05 + 0.02 * tense],
        [0.0, under_lip, 0.11, 0.03, -0.028 - 0.025 * tense],
    ]
    return np.concatenate(
        [
            pair(cheeks[:, 0] * 1.1, cheeks[:, 1] - 0.06, 0.16, 0.09, 0.035 * bones),
            pair(cheeks[:, 0], cheeks[:, 1], 0.13, 0.10, 0.02 + 0.05 * smile),
            pair(0.46, 0.62 + 0.5 * drop, 0.12, 0.14, -0.02 * bones - 0.12 * drop),
            chin,
        ]
    )


def _lips(parameters: FaceParameters, shape: FaceShape) -> Array:
    """Both lips as ridges along their middle lines, the groove above them, the corners."""
    full, corners = parameters.identity.lip_fullness, shape.mouth_corners
    lips = np.stack([shape.outer_upper + shape.inner_upper, shape.outer_lower + shape.inner_lower])[:, 2:-2] / 2
    pull = shape.units[:, 12] + 0.5 * shape.units[:, 15] + shape.units[:, 20]
    top = float(shape.outer_upper[10, 1])
    return np.concatenate(
        [
            folds(lips, 0.03, np.array([0.028, 0.042]) * full, 13),
            pair(corners[:, 0] * 1.08, corners[:, 1], 0.028, 0.03, -0.014 - 0.010 * pull),
            [[0.0, top - 0.06, 0.022, 0.045, -0.014], [0.0, top + 0.03, 0.24, 0.13, 0.03]],
        ]
    )


def _ears(parameters: FaceParameters, shape: FaceShape) -> Array:  # noqa: ARG001 - called as its siblings are
    return np.concatenate([pair(1.2, 0.06, 0.05, 0.13, 0.10), pair(1.16, 0.05, 0.03, 0.07, -0.05)])


def _smile_folds(parameters: FaceParameters, shape: FaceShape) -> Array:
    """Nasolabial folds and the cheeks beside them (9, 10, 12), the lines below the corners of the mouth (15)."""
    age, units, corners, wings = parameters.identity.age, shape.units, shape.mouth_corners, shape.nostrils
    out = np.maximum(0.33, np.abs(corners[:, 0]) + 0.075)
    depth = (
        0.006 + 0.014 * age + np.maximum(0.036 * units[:, 12], np.maximum(0.034 * units[:, 9], 0.028 * units[:, 10]))
    )
    nasolabial = np.empty((2, 3, 2))
    nasolabial[:, 0] = wings + np.stack([SIDES * 0.05, (-0.02, -0.02)], axis=-1)
    nasolabial[:, 1] = np.stack([SIDES * (0.6 * out + 0.09), wings[:, 1] + 0.09], axis=-1)
    nasolabial[:, 2] = np.stack([SIDES * out, corners[:, 1] + 0.02], axis=-1)
    beside = nasolabial + np.stack([SIDES * 0.06, (-0.03, -0.03)], axis=-1)[:, None]
    below = corners[:, None] + _BELOW_MOUTH
    return np.concatenate(
        [
            folds(nasolabial, 0.023, -depth, 9),
            folds(beside, 0.036, 0.5 * depth, 7),
            folds(below, 0.024, -(0.004 + 0.010 * age + 0.010 * units[:, 15]), 5),
        ]
    )


def _eye_folds(parameters: FaceParameters, shape: FaceShape) -> Array:
    """Crow's feet (6) and the wrinkles on the sides of the nose (9)."""
    age, units = parameters.identity.age, shape.units
    corners = shape.upper_lids[:, -1]
    feet = (corners[:, None] + _CROWS_FEET).reshape(-1, 2, 2)
    crinkle = (0.3 + 0.9 * age) * units[:, 6] * 0.013 + 0.003 * age
    return np.concatenate(
        [
            folds(feet, 0.014, -np.concatenate([crinkle] * 3), 6),
            folds(_NOSE_WRINKLES, 0.018, -0.018 * np.concatenate([units[:, 9]] * 3), 5),
        ]
    )


def _brow_folds(parameters: FaceParameters, shape: FaceShape) -> Array:
    """Lines across the forehead (1, 2), upright ones between the brows (4), the swelling of drawn brows."""
    age, units, inner_ends = parameters.identity.age, shape.units, shape.brows[:, 0]
    raised = (0.45 + 0.75 * age) * 0.018
    upright = _UPRIGHT + np.stack([0.0 * SIDES, inner_ends[:, 1]], axis=-1)[:, None]
    knit = np.maximum(units[:, 4], 0.6 * units[:, 9])
    return np.concatenate(
        [
            folds(_FOREHEAD_MIDDLE, 0.02, -raised * shape.strengths[1] - 0.003 * age, 14),
            folds(_FOREHEAD_SIDES, 0.02, -raised * np.concatenate([units[:, 2]] * 3) - 0.002 * age, 10),
            folds(upright, 0.017, -0.022 * knit, 8),
            pair(SIDES * 0.1, inner_ends[:, 1] + 0.01, 0.06, 0.05, 0.03 * units[:, 4]),
        ]
    )
