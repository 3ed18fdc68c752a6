"""Where brows, lids, nose and mouth stand on a face: the landmarks that identity and action units give.

Coordinates are (u, v) in head units on the face's surface, unrolled around the head's vertical axis: u grows towards
the picture's right (the person's left), v downward; the eyes stand at v = 0 and the chin of a face at rest at v = 1.
Arrays with a leading axis of 2 hold the picture's left side first (u < 0), then its right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.datasets.face_model import ACTION_UNITS, FaceParameters, Identity

Array = NDArray[np.float64]

SIDES = np.array([-1.0, 1.0])
"""The sign of u on the picture's left and right."""

_LID_STEPS = np.linspace(-1.0, 1.0, 13)
"""Along an eye, from its inner corner (-1) to its outer one (1)."""

_LIP_STEPS = np.linspace(-1.0, 1.0, 21)
"""Along the mouth, from the corner at the picture's left (-1) to the one at its right (1)."""

_CUPIDS_BOW = (
    1.0 - 0.25 * np.exp(-((_LIP_STEPS / 0.12) ** 2)) + 0.12 * np.exp(-(((np.abs(_LIP_STEPS) - 0.28) / 0.16) ** 2))
)
"""Thickness of the upper lip along the mouth: a notch in the middle, a peak on either side."""

_BROW_STEPS = np.linspace(0.0, 1.0, 9)
"""Along a brow, from its inner end (0) to its outer one (1)."""


@dataclass(frozen=True, slots=True)
class FaceShape:
    """The landmarks of one face, in head units.

    Attributes:
        brows: float (2, 9, 2), the middle line of each brow, inner end first.
        upper_lids, lower_lids: float (2, 13, 2), the lids' edges, inner corner first; they share both corners.
        irises: float (2, 2), centres.
        iris_radius: radius of each iris.
        nose_bridge: v of the nasal root, between the eyes.
        nose_tip: (u, v).
        nostrils: float (2, 2), centres of the nose's wings.
        outer_upper, inner_upper, inner_lower, outer_lower: float (21, 2), the edges of the lips, picture's left first.
        cheeks: float (2, 2), centres of the cheeks.
        chin: v of the chin's lower end.
        units: float (2, n), intensity of every action unit on each side, indexed by its number.
        strengths: float (n,), their means.
    """

    brows: Array
    upper_lids: Array
    lower_lids: Array
    irises: Array
    iris_radius: float
    nose_bridge: float
    nose_tip: Array
    nostrils: Array
    outer_upper: Array
    inner_upper: Array
    inner_lower: Array
    outer_lower: Array
    cheeks: Array
    chin: float
    units: Array
    strengths: Array

    @property
    def mouth_corners(self) -> Array:
        """float (2, 2): where the lips meet."""
        return self.inner_upper[[0, -1]]

    @property
    def mouth_gap(self) -> float:
        """How far the lips are parted in the middle, in head units."""
        middle = len(self.inner_upper) // 2
        return float(self.inner_lower[middle, 1] - self.inner_upper[middle, 1])

    @property
    def eye_openings(self) -> Array:
        """float (2,): the distance between the lids in the middle of each eye, in head units."""
        middle = self.upper_lids.shape[1] // 2
        return np.asarray(self.lower_lids[:, middle, 1] - self.upper_lids[:, middle, 1])


def face_shape(parameters: FaceParameters) -> FaceShape:
    """The landmarks of a face."""
    identity, units = parameters.identity, _units_by_side(parameters)
    strengths = (units[0] + units[1]) / 2.0
    upper_lids, lower_lids = _lids(identity, units)
    tip, nostrils = _nose(identity, units)
    drop = 0.21 * float(strengths[26])
    lips = _lips(identity, units, float(tip[1]), drop)
    return FaceShape(
        brows=_brows(identity, units),
        upper_lids=upper_lids,
        lower_lids=lower_lids,
        irises=_irises(parameters),
        iris_radius=0.071 * identity.eye_size,
        nose_bridge=0.02,
        nose_tip=tip,
        nostrils=nostrils,
        outer_upper=lips[0],
        inner_upper=lips[1],
        inner_lower=lips[2],
        outer_lower=lips[3],
        cheeks=_cheeks(identity, units),
        chin=1.0 + 0.45 * (identity.chin_length - 1.0) + drop,
        units=units,
        strengths=strengths,
    )


def _units_by_side(parameters: FaceParameters) -> Array:
    """float (2, n): intensities of the action units on each side, asymmetry applied."""
    units = np.zeros((2, max(ACTION_UNITS) + 1))
    for number, intensity in parameters.actions.items():
        units[:, number] = np.clip(intensity * (1.0 + SIDES * parameters.pose.asymmetry), 0.0, 1.0)
    return units


def _eye_centre(identity: Identity) -> float:
    """u of the left eye's middle."""
    return 0.305 * identity.eye_spacing


def _brows(identity: Identity, units: Array) -> Array:
    """float (2, 9, 2). AU 1 lifts the inner end, AU 2 the outer half, AU 4 (and 9) lowers and draws together."""
    inner, outer, lower = units[:, 1, None], units[:, 2, None], np.maximum(units[:, 4], 0.7 * units[:, 9])[:, None]
    step = _BROW_STEPS[None]
    towards_inner, towards_outer = (1.0 - step) ** 1.3, step**0.9
    u = 0.125 - 0.045 * lower * towards_inner + (0.42 + 0.02 * outer) * step
    u = u + (identity.eye_spacing - 1.0) * 0.3
    rest = -0.225 - 0.075 * identity.brow_arch * np.sin(np.pi * np.clip(step * 0.92 + 0.03, 0, 1)) ** 1.2 + 0.015 * step
    lift = 0.18 * inner * towards_inner + 0.14 * outer * towards_outer + 0.03 * outer * np.sin(np.pi * step)
    fall = lower * (0.115 * (1.0 - 0.85 * inner) * towards_inner + 0.07 * (1.0 - 0.9 * outer))
    v = rest - lift + fall - identity.brow_height
    return np.stack([SIDES[:, None] * u, v], axis=-1)


def _lids(identity: Identity, units: Array) -> tuple[Array, Array]:
    """The edges of the upper and lower lids, each float (2, 13, 2). AU 5 widens, 6, 7, 9 and 43 narrow."""
    raised, tight, closed = units[:, 5, None], units[:, 7, None], units[:, 43, None]
    cheek = np.maximum(units[:, 6], 0.8 * units[:, 9])[:, None]
    step, size = _LID_STEPS[None], identity.eye_size
    half_width = 0.163 * size
    corner = -identity.lid_tilt * step
    top = size * (0.085 + 0.058 * raised - 0.014 * tight * (1 - 0.5 * raised) - 0.022 * cheek)
    bottom = size * (0.056 + 0.013 * raised - 0.032 * tight - 0.05 * cheek)
    lower_v = corner + bottom * (1.0 - step**2)
    arc = (1.0 - np.abs(step) ** 2.4) * (1.0 - 0.08 * step)
    upper_v = corner - top * arc * (1.0 - _brow_weight(units, raised))
    upper_v = np.minimum(upper_v + closed * (lower_v - upper_v), lower_v)
    u = SIDES[:, None] * (_eye_centre(identity) + half_width * step)
    return np.stack([u, upper_v], axis=-1), np.stack([u, lower_v], axis=-1)


def _brow_weight(units: Array, raised: Array) -> Array:
    """How far brows weigh the upper lids down, float (2, 13), 0..1.

    A lowered brow (4) weighs on the inner half; a raised inner end (1) leaves the outer half hanging.
    """
    outward = (1.0 + _LID_STEPS[None]) / 2.0
    inner, outer, lowered = units[:, 1, None], units[:, 2, None], units[:, 4, None]
    hanging = 0.38 * inner * (1.0 - np.maximum(outer, raised)) * outward**1.5
    return np.asarray(0.3 * lowered * (1.0 - inner) * (1.0 - outward) + hanging)


def _irises(parameters: FaceParameters) -> Array:
    """float (2, 2): centres of the irises, moved by the gaze."""
    pose, size = parameters.pose, parameters.identity.eye_size
    u = SIDES * _eye_centre(parameters.identity) + 0.06 * size * pose.gaze_x
    return np.stack([u, np.full(2, -0.008 + 0.03 * size * pose.gaze_y)], axis=-1)


def _nose(identity: Identity, units: Array) -> tuple[Array, Array]:
    """The tip, and the centres of the wings, float (2, 2). AU 9 (and 10) lifts the wings."""
    tip_v = 0.40 * identity.nose_length
    lift = 0.05 * units[:, 9] + 0.015 * units[:, 10]
    wings = 0.115 * identity.nose_width + 0.012 * units[:, 9] + 0.01 * units[:, 12]
    return np.array([0.0, tip_v - 0.2 * (lift[0] + lift[1])]), np.stack([SIDES * wings, tip_v + 0.035 - lift], axis=-1)


def _cheeks(identity: Identity, units: Array) -> Array:
    """float (2, 2): centres of the cheeks. AU 6 and 12 raise them."""
    rise = 0.06 * units[:, 6] + 0.04 * units[:, 12]
    return np.stack([SIDES * 0.40 * (0.5 + 0.5 * identity.face_width), 0.33 - rise], axis=-1)


def _lips(identity: Identity, units: Array, nose_v: float, drop: float) -> tuple[Array, Array, Array, Array]:
    """Outer upper, inner upper, inner lower and outer lower edge of the lips, each float (21, 2)."""
    away = np.abs(_LIP_STEPS)
    # (n, 21): how strong each unit is along the mouth, from one side's strength to the other's.
    local = units.T @ np.stack([1.0 - _LIP_STEPS, 1.0 + _LIP_STEPS]) / 2.0
    seam_u, seam_v = _seam(identity, units, nose_v)
    upper_gap, lower_gap = _gaps(local, away, drop)
    tight = 1.0 - 0.6 * np.maximum(local[23], local[24])
    thick = identity.lip_fullness * tight * (1.0 - 0.18 * local[12] - 0.2 * local[20])
    pushed = 1.0 + 0.35 * local[16] + 0.2 * local[17]
    inner_upper, inner_lower = seam_v - upper_gap, seam_v + lower_gap
    outer_upper = inner_upper - 0.055 * thick * (1.0 - away**2.2) ** 0.8 * _CUPIDS_BOW
    outer_lower = inner_lower + 0.078 * thick * (1.0 - away**2.4) ** 0.7 * pushed
    edges = np.stack([outer_upper, inner_upper, inner_lower, outer_lower])
    lips = np.stack([np.broadcast_to(seam_u, edges.shape), edges], axis=-1)
    return lips[0], lips[1], lips[2], lips[3]


def _gaps(local: Array, away: Array, drop: float) -> tuple[Array, Array]:
    """How far the upper lip is lifted from the line of the mouth and the lower one sunk below it, each float (21,)."""
    bow = 1.0 - away**2.2
    lift = 0.02 * local[25] + 0.03 * local[26] + 0.06 * np.maximum(local[10], 0.5 * local[9])
    sunk = 0.05 * local[25] + drop * (0.9 + 0.1 * away) + 0.055 * local[16] - 0.02 * local[17] * (1.0 - local[25])
    grin = 0.032 * local[12] * np.maximum(local[25], local[26]) * bow  # a broad smile bares the upper teeth
    upper = bow * lift * (1.0 - 0.7 * local[24]) + 0.4 * grin
    return upper, np.maximum((1.0 - away**2.6) * sunk, 0.0) + 0.6 * grin


def _seam(identity: Identity, units: Array, nose_v: float) -> tuple[Array, Array]:
    """u and v, each float (21,), of the line where closed lips meet: its corners go where 12, 15 and 20 pull them."""
    step = _LIP_STEPS
    parted = np.maximum(units[:, 26], 0.0)
    out = (
        0.02 * units[:, 15]
        + 0.075 * units[:, 12]
        + 0.085 * units[:, 20]
        - 0.03 * np.maximum(units[:, 23], units[:, 24])
    )
    out -= 0.06 * parted * (1 - units[:, 20]) * (1 - units[:, 12]) + 0.012 * units[:, 17]
    rise = 0.11 * units[:, 12] - 0.11 * units[:, 15] - 0.035 * units[:, 20] + identity.mouth_rest
    rise -= 0.018 * np.maximum(units[:, 23], units[:, 24])
    rise -= 0.42 * 0.21 * parted - 0.03 * units[:, 9]
    lift = 0.05 * units[:, 9] + 0.045 * units[:, 10] + 0.045 * units[:, 17] - 0.012 * units[:, 12]
    middle = nose_v + 0.245 - (lift[0] + lift[1]) / 2.0
    is_right = (step > 0).astype(int)
    u = step * (0.272 * identity.mouth_width + out[is_right])
    v = middle - rise[is_right] * np.abs(step) ** 1.9
    return u, v
