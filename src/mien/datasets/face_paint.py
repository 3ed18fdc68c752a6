"""The colours of a drawn face: skin, eyes, brows, nostrils, lips, teeth, hair and glasses, painted on its sheet."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from mien.datasets.face_canvas import Array, Canvas, ellipses, mix
from mien.datasets.face_model import Identity
from mien.datasets.face_relief import mirrored
from mien.datasets.face_shape import SIDES, FaceShape
from mien.datasets.face_surface import Plane, Sheet, clamp, soften

_SKINS = np.array(
    [
        (0.96, 0.82, 0.72),
        (0.91, 0.74, 0.60),
        (0.80, 0.60, 0.45),
        (0.64, 0.45, 0.32),
        (0.47, 0.32, 0.23),
        (0.34, 0.23, 0.17),
    ]
)
_HAIRS = np.array([(0.07, 0.06, 0.06), (0.20, 0.13, 0.09), (0.37, 0.23, 0.14), (0.47, 0.29, 0.16), (0.76, 0.60, 0.38)])
_IRISES = np.array([(0.16, 0.09, 0.05), (0.25, 0.15, 0.08), (0.24, 0.32, 0.20), (0.28, 0.42, 0.55)])
_INSIDE = (0.15, 0.04, 0.05)
_TEETH = (0.93, 0.91, 0.86)
_BLACK = (0.03, 0.025, 0.025)


def _ramp(colours: Array, at: float) -> Array:
    """The colour at 0..1 along a row of colours."""
    steps = np.linspace(0.0, 1.0, len(colours))
    return np.array([np.interp(at, steps, colours[:, channel]) for channel in range(3)])


@lru_cache(maxsize=64)
def skin_colour(identity: Identity) -> Array:
    """RGB in 0..1."""
    return _ramp(_SKINS, identity.skin)


@lru_cache(maxsize=64)
def hair_colour(identity: Identity) -> Array:
    """RGB in 0..1."""
    return mix(_ramp(_HAIRS, identity.hair), (0.72, 0.71, 0.70), 0.9 * identity.grey)


def paint_face(sheet: Sheet, identity: Identity, shape: FaceShape, channels: int, rng: np.random.Generator) -> Canvas:
    """Everything that lies in the skin; hair, glasses and the lamp's reflections come later."""
    canvas = _paint_skin(sheet, identity, shape, channels, rng)
    _paint_nose(canvas, identity, shape)
    _paint_mouth(canvas, identity, shape)
    _paint_eyes(canvas, identity, shape)
    _paint_brows(canvas, identity, shape)
    return canvas


def _paint_skin(sheet: Sheet, identity: Identity, shape: FaceShape, channels: int, rng: np.random.Generator) -> Canvas:
    """Bare skin, blood in cheeks and nose, shade around the eyes, a beard's shadow."""
    skin = skin_colour(identity)
    canvas = Canvas(sheet, channels, skin)
    blotches = cv2.resize(rng.standard_normal((18, 22), np.float32), sheet.shape[::-1], interpolation=cv2.INTER_LINEAR)
    canvas.planes *= 1.0 + 0.018 * blotches
    tip = shape.nose_tip
    blood = [(*cheek, 0.15, 0.11, 0.3) for cheek in shape.cheeks] + [(0.0, tip[1], 0.10, 0.07, 0.25)]
    canvas.tint(sheet.broad_bumps(np.array(blood)), skin * (0.97, 0.70, 0.66))
    around = [(*iris, 0.15, 0.085, 0.30) for iris in shape.irises]
    canvas.tint(sheet.broad_bumps(np.array(around)), skin * (0.74, 0.62, 0.58))
    _paint_beard(canvas, identity, shape, rng)
    return canvas


def _paint_beard(canvas: Canvas, identity: Identity, shape: FaceShape, rng: np.random.Generator) -> None:
    if identity.beard <= 0 and identity.moustache <= 0:
        return
    sheet, colour = canvas.sheet, hair_colour(identity)
    lip, chin = float(shape.outer_upper[10, 1]), shape.chin
    jaw = [(0.0, chin - 0.06, 0.2, 0.12, 1.0)]
    jaw += [(sign * u, v, 0.17, s, 0.9) for sign in SIDES for u, v, s in ((0.34, chin - 0.17, 0.13), (0.66, 0.5, 0.16))]
    over_lip = [(sign * 0.1, lip - 0.035, 0.085, 0.03, 1.0) for sign in SIDES]
    corners = [(*corner * (1.12, 1.0), 0.04, 0.08, 0.7) for corner in shape.mouth_corners]
    mask = np.minimum(sheet.broad_bumps(np.array(jaw)) * 1.3, 1.0) * identity.beard
    mask = np.maximum(mask, np.minimum(sheet.bumps(np.array(over_lip + corners)), 1.0) * identity.moustache)
    stubble = cv2.resize(rng.standard_normal((110, 130), np.float32), sheet.shape[::-1], interpolation=cv2.INTER_LINEAR)
    canvas.tint(mask * clamp(0.85 + 0.2 * stubble, 0.0, 1.0), colour)


def _paint_mouth(canvas: Canvas, identity: Identity, shape: FaceShape) -> None:
    """Lips, the line between them, and what an open mouth shows."""
    skin = skin_colour(identity)
    lip = mix(skin * (0.86, 0.58, 0.56), (0.72, 0.16, 0.2), 0.75 * identity.make_up)
    upper = np.concatenate([shape.outer_upper, shape.inner_upper[::-1]])
    lower = np.concatenate([shape.inner_lower, shape.outer_lower[::-1]])
    canvas.polygons(upper[None], lip * 0.86, 0.85, blur=0.010)
    canvas.polygons(lower[None], lip, 0.8, blur=0.012)
    shadow = shape.outer_lower[4:-4] + (0.0, 0.025)
    canvas.lines(shadow[None], 0.03, skin * (0.55, 0.45, 0.42), 0.45, blur=0.018)
    if (shape.inner_lower[:, 1] - shape.inner_upper[:, 1]).max() > 0.012:
        _paint_inside(canvas, shape)
    seam = (shape.inner_upper + shape.inner_lower) / 2
    closed = min(max(1.0 - shape.mouth_gap / 0.03, 0.0), 1.0)
    canvas.lines(seam[None], 0.024, skin * (0.34, 0.2, 0.2), 0.9 * closed, blur=0.006)
    canvas.lines(shape.inner_upper[None], 0.016, skin * (0.3, 0.17, 0.17), 0.5, blur=0.006)
    canvas.polygons(ellipses(shape.mouth_corners, 0.02, 0.016), skin * (0.34, 0.22, 0.2), 0.65, blur=0.010)


def _paint_inside(canvas: Canvas, shape: FaceShape) -> None:
    """The cavity, the tongue, and the teeth that the action units bare."""
    units, gap = shape.strengths, shape.mouth_gap
    opening = np.concatenate([shape.inner_upper, shape.inner_lower[::-1]])[None]
    canvas.polygons(opening, _INSIDE)
    tongue = np.array([[0.0, shape.inner_lower[10, 1] - 0.01]])
    canvas.polygons(ellipses(tongue, 0.13, 0.32 * gap), (0.55, 0.24, 0.25), 0.75, blur=0.02, clip=opening)
    bared = max(units[12], 0.8 * units[10], 0.6 * units[9], 0.55 * units[20], 0.05)
    upper = shape.inner_upper[2:-2]
    arch = 1.0 - (np.arange(len(upper)) / (len(upper) - 1) * 2.0 - 1.0) ** 4
    depth = np.minimum((0.09 * bared + 0.012) * arch, 0.9 * (shape.inner_lower - shape.inner_upper)[2:-2, 1] + 0.006)
    edge = upper + np.stack([0 * depth, depth], axis=-1)
    canvas.polygons(np.concatenate([upper, edge[::-1]])[None], _TEETH, 0.95, blur=0.006, clip=opening)
    below = max(units[16], 0.5 * units[20]) * 0.055
    if below > 0.008:
        lower = shape.inner_lower[3:-3]
        band = np.concatenate([lower, (lower - (0.0, below))[::-1]])
        canvas.polygons(band[None], mix(_TEETH, _INSIDE, 0.25), 0.8, blur=0.008, clip=opening)


def _paint_nose(canvas: Canvas, identity: Identity, shape: FaceShape) -> None:
    """The nostrils, and the creases around the nose's wings."""
    dark = skin_colour(identity) * (0.30, 0.20, 0.18)
    holes = ellipses(shape.nostrils * (0.56, 1.0) + (0.0, 0.035), 0.034 * identity.nose_width, 0.018)
    canvas.polygons(holes, dark, 0.85, blur=0.011)
    creases = mirrored([(0.018, -0.045), (0.042, 0.0), (0.018, 0.035)]) + shape.nostrils[:, None]
    canvas.lines(creases, 0.018, dark * 1.6, 0.35 + 0.3 * float(shape.strengths[9]), blur=0.012)


def _paint_eyes(canvas: Canvas, identity: Identity, shape: FaceShape) -> None:
    """Eyeballs behind the lids, lashes, the crease of the upper lid."""
    skin = skin_colour(identity)
    iris = _ramp(_IRISES, min(max(1.6 * identity.hair - 0.7 * identity.skin, 0.0), 1.0))
    _paint_eyeballs(canvas, shape, iris)
    rise = 0.038 + 0.019 * float(shape.strengths[5])
    canvas.lines(shape.upper_lids[:, 1:] - (0.0, rise), 0.016, skin * (0.45, 0.33, 0.3), 0.65, blur=0.008)
    lashes = 0.75 + 0.2 * identity.make_up
    canvas.lines(shape.upper_lids, 0.026 + 0.008 * identity.make_up, _BLACK, lashes, blur=0.006)
    canvas.lines(shape.lower_lids, 0.012, skin * (0.4, 0.28, 0.26), 0.6, blur=0.005)


def _openings(shape: FaceShape) -> Array:
    """What the lids leave open, a polygon for each eye: float (2, 26, 2)."""
    return np.concatenate([shape.upper_lids, shape.lower_lids[:, ::-1]], axis=1)


def _paint_eyeballs(canvas: Canvas, shape: FaceShape, iris: Array) -> None:
    if shape.eye_openings.max() < 0.01:
        return
    clip = _openings(shape)
    canvas.polygons(clip, (0.93, 0.91, 0.89))
    for share, colour, opacity, blur in (
        (1.0, iris * 0.55, 1.0, 0.0),
        (0.82, iris * 1.2, 0.8, 0.006),
        (0.45, _BLACK, 1.0, 0.0),
    ):
        radius = share * shape.iris_radius
        canvas.polygons(ellipses(shape.irises, radius, radius), colour, opacity, blur=blur, clip=clip)
    canvas.lines(shape.upper_lids + (0.0, 0.012), 0.024, _BLACK, 0.35, blur=0.008, clip=clip)


def paint_glints(canvas: Canvas, shape: FaceShape, towards: float) -> None:
    """The lamp's reflection in open eyes; `towards` is -1 to 1, the side the light comes from."""
    offset = np.array([0.4 * towards, -0.35]) * shape.iris_radius
    canvas.polygons(ellipses(shape.irises + offset, 0.018, 0.018), (1.0, 1.0, 1.0), 0.85, clip=_openings(shape))


_BROW_WIDTHS = 0.038 * np.array([0.75, 1.0, 1.1, 1.1, 1.05, 0.95, 0.8, 0.6, 0.3])


def _paint_brows(canvas: Canvas, identity: Identity, shape: FaceShape) -> None:
    """Tapering brows."""
    colour = mix(hair_colour(identity), skin_colour(identity) * 0.4, 0.35)
    along = np.gradient(shape.brows, axis=1)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1) / np.hypot(along[..., 0], along[..., 1])[..., None]
    across *= (identity.brow_thickness * _BROW_WIDTHS)[:, None]
    outlines = np.concatenate([shape.brows + across, (shape.brows - across)[:, ::-1]], axis=1)
    canvas.polygons(outlines, colour, identity.brow_strength, blur=0.012)


def hair_mask(sheet: Sheet, identity: Identity, rng: np.random.Generator) -> Plane:
    """Where the scalp bears hair, float32 (rows, columns) in 0..1."""
    if identity.hair_style == "bald":
        return sheet.zeros()
    away = np.abs(sheet.us)
    forehead = -0.72 - identity.hairline
    reach, temple = 0.08, 0.62
    if identity.hair_style == "fringe":
        line, reach = -0.42 + 0.05 * np.sin(sheet.us * 6.0 + 6.0 * rng.random()), 0.3
    elif identity.hair_style == "long":
        line, reach, temple = forehead - 0.02 + 0.75 * away**1.5, 1.4, 0.70
    else:
        line = forehead + 0.22 * away**2 - 0.6 * max(identity.hairline, 0.0) * (np.abs(away - 0.35) < 0.15)
    fall = clamp((away - temple) / 0.24, 0.0, 1.0)
    line = line + (reach - line) * fall * fall * (3 - 2 * fall)
    behind = clamp((away - 1.25) / 0.1, 0.0, 1.0)
    line = line + (np.maximum(line, 0.45) - line) * behind
    ragged = cv2.resize(rng.standard_normal((1, 90), np.float32), (len(sheet.us), 1))[0]
    distance = (line + 0.02 * ragged)[None, :] - sheet.vs[:, None]
    return np.asarray(clamp(distance / 0.10 + 0.5, 0.0, 1.0), np.float32)


def paint_hair(canvas: Canvas, identity: Identity, mask: Plane, rng: np.random.Generator) -> Plane:
    """Strands or curls over the scalp; gives the hair's height above it, float32 (rows, columns)."""
    if identity.hair_style == "bald":
        return canvas.sheet.zeros()
    sheet = canvas.sheet
    grid = (26, 40) if identity.hair_style == "curly" else (5, 90)
    noise = cv2.resize(rng.standard_normal(grid, np.float32), sheet.shape[::-1], interpolation=cv2.INTER_LINEAR)
    colour = hair_colour(identity)
    soft = soften(mask, 0.05 * sheet.scale)
    canvas.planes *= 1.0 - 0.4 * soft * (1.0 - mask)
    canvas.tint(mask, colour)
    canvas.planes *= 1.0 + 0.16 * noise * mask
    bumpy = 1.0 + (0.22 if identity.hair_style == "curly" else 0.05) * noise
    thick = soften(np.maximum(2.0 * mask - 1.0, 0.0), 0.03 * sheet.scale)
    return np.asarray(thick * _hair_depth(sheet, identity) * bumpy, np.float32)


def _hair_depth(sheet: Sheet, identity: Identity) -> Plane:
    """Thickness of the hair at every height, float32 (rows, 1): short hair thins out towards the neck."""
    full = identity.hair_volume * (0.55 if identity.hair_style in {"short", "fringe"} else 1.0)
    thinning = 0.0 if identity.hair_style == "long" else 2.0
    return np.asarray(full * clamp(1.0 - thinning * (sheet.vs + 0.1), 0.15, 1.0)[:, None], np.float32)


def paint_glasses(canvas: Canvas, identity: Identity) -> None:
    """Rims, a bridge and the arms, in dark plastic."""
    if identity.glasses == "none":
        return
    rest = np.stack([SIDES * 0.305 * identity.eye_spacing, np.full(2, 0.02)], axis=-1)
    rims = ellipses(np.zeros((1, 2)), 0.215, 0.19)
    if identity.glasses == "square":
        rims = np.sign(rims) * np.abs(rims / (0.215, 0.19)) ** 0.5 * (0.225, 0.165)
    rims = rest[:, None] + rims
    bridge = np.array([[(-0.1, 0.0), (0.0, -0.03), (0.1, 0.0)]]) * (identity.eye_spacing, 1.0)
    arms = mirrored([(0.52, -0.04), (1.15, -0.05)])
    for strokes in (np.concatenate([rims, rims[:, :1]], axis=1), bridge, arms):
        canvas.lines(strokes, 0.034, (0.10, 0.08, 0.08), 0.92, blur=0.004)
