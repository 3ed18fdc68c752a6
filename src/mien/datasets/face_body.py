"""What a drawn head stands on: neck, shoulders, and the long hair that falls behind them, flat but shaded."""

from __future__ import annotations

from math import radians, sin

import numpy as np

from mien.datasets.face_canvas import Array, tones
from mien.datasets.face_model import FaceParameters, Identity
from mien.datasets.face_paint import hair_colour, skin_colour
from mien.datasets.face_projection import View
from mien.datasets.face_surface import Plane, clamp

Layer = tuple[Plane, Array, Plane]
"""Coverage (n, n) in 0..1, RGB in 0..1, and brightness (n, n)."""


_HIGHEST_COLLAR = 1.25
"""No clothes reach above this, in head units."""


def body(
    parameters: FaceParameters, seen: View, chin: float, channels: int, rng: np.random.Generator
) -> tuple[Plane, Plane]:
    """Colours (channels, n, n) in 0..1 and coverage (n, n), float32, of all that is below and behind the head.

    Args:
        parameters: the face.
        seen: what the picture's pixels see.
        chin: v of the chin, which casts a shadow on the neck.
        channels: 1 for grey, 3 for RGB.
        rng: decides the colour of the clothes.
    """
    light = parameters.lighting
    pixels = seen.x.shape[0] / parameters.camera.frame
    lean = seen.x - np.float32(0.10 * sin(radians(parameters.pose.yaw)))
    lit = light.strength * (0.62 + 0.3 * lean * (sin(radians(light.azimuth)) * (1.0 - light.ambient)))
    layers = (
        _fallen_hair(parameters.identity, seen, lit, pixels),
        _neck(parameters.identity, lean, seen.y, chin, lit, pixels),
        _clothes(rng.uniform(0.1, 0.8, 3), lean, seen.y, lit, pixels),
    )
    colours, coverage = np.zeros((channels, *seen.x.shape), np.float32), np.zeros_like(seen.x)
    for mask, colour, brightness in layers:
        coverage = coverage + mask * (1.0 - coverage)
        for plane, tone in zip(colours, tones(colour, channels), strict=True):
            plane += (tone * brightness - plane) * mask
    return colours, coverage


def _neck(identity: Identity, lean: Plane, y: Plane, chin: float, lit: Plane, pixels: float) -> Layer:
    half = 0.47 * (0.55 + 0.45 * identity.face_width) + 0.25 * np.maximum(y - 1.1, 0.0) ** 2
    mask = clamp((half - np.abs(lean)) * pixels + 0.5, 0.0, 1.0) * clamp((y - 0.3) * pixels, 0.0, 1.0)
    shadow = 1.0 - 0.5 * np.exp(-((np.maximum(y - chin, 0.0) / 0.22) ** 2))
    round_off = 0.35 + 0.65 * np.sqrt(clamp(1.0 - (lean / 0.56) ** 2, 0.05, 1.0))
    return mask, skin_colour(identity), lit * shadow * round_off


def _clothes(colour: Array, lean: Plane, y: Plane, lit: Plane, pixels: float) -> Layer:
    if y.max() < _HIGHEST_COLLAR:
        return np.zeros_like(y), colour, lit
    away = np.abs(lean)
    collar = 1.38 + 0.28 * np.maximum(away - 0.3, 0.0) ** 1.3 - 0.10 * np.exp(-((away - 0.5) ** 2) / 0.02)
    mask = clamp((y - collar) * pixels + 0.5, 0.0, 1.0) * clamp((1.75 - away) * pixels, 0.0, 1.0)
    return mask, colour, lit * (1.0 - 0.15 * lean * lean)


def _fallen_hair(identity: Identity, seen: View, lit: Plane, pixels: float) -> Layer:
    """Long hair behind the neck; nothing in other styles."""
    if identity.hair_style != "long":
        return np.zeros_like(seen.x), hair_colour(identity), lit
    half = 0.80 * (0.55 + 0.45 * identity.face_width) + 0.8 * identity.hair_volume + 0.10 * clamp(seen.y, -0.5, 1.2)
    mask = clamp((half - np.abs(seen.x)) * pixels + 0.5, 0.0, 1.0) * clamp((seen.y + 0.35) * pixels, 0.0, 1.0)
    strands = 0.68 + 0.08 * np.cos(43.0 * seen.x) + 0.06 * np.cos(71.0 * seen.x)
    return mask * clamp((1.55 - seen.y) * 6.0, 0.0, 1.0), hair_colour(identity), lit * strands
