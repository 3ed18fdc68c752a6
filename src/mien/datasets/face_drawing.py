"""From `FaceParameters` to pixels: paint the sheet, light it, look at it, put it before a background."""

from __future__ import annotations

from math import cos, radians, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets import face_paint as paint
from mien.datasets.face_canvas import Canvas, tones
from mien.datasets.face_model import Camera, FaceParameters, Identity
from mien.datasets.face_projection import View, project, shade, view
from mien.datasets.face_relief import relief
from mien.datasets.face_shape import face_shape
from mien.datasets.face_surface import Plane, clamp, make_sheet, skull
from mien.errors import UsageError
from mien.images import Image

SIZES = (16, 1024)
"""The smallest and largest side of a picture, in pixels."""


def check_picture(size: int, channels: int) -> None:
    """Refuse a size or a number of channels that cannot be drawn.

    Raises:
        UsageError: size is not within `SIZES`, or channels neither 1 nor 3.
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise UsageError(f"size: must be from {SIZES[0]} to {SIZES[1]} pixels, received {size!r}")
    if channels not in (1, 3):
        raise UsageError(f"channels: must be 1 (grey) or 3 (RGB), received {channels!r}")


def draw_picture(parameters: FaceParameters, *, size: int = 48, channels: int = 1) -> Image:
    """Draw a face before its background, as its camera sees it.

    Args:
        parameters: the face.
        size: side in pixels, 16 to 1024.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 (size, size) for one channel, (size, size, 3) RGB for three.

    Raises:
        UsageError: size or channels cannot be drawn.
    """
    check_picture(size, channels)
    colours, coverage = _head(parameters, size, channels)
    ground = _background(parameters.camera, coverage.shape[0], channels)
    picture = ground + (colours - ground) * coverage
    return _develop(picture, parameters.camera, size)


def draw_head(parameters: FaceParameters, *, size: int = 256) -> Image:
    """Draw a head alone, to be laid over any picture.

    The camera's frame and shift hold; its blur, noise and backdrop are left out.

    Args:
        parameters: the face.
        size: side in pixels, 16 to 1024.

    Returns:
        uint8 (size, size, 4): RGB, not multiplied by alpha, and alpha.

    Raises:
        UsageError: size cannot be drawn.
    """
    check_picture(size, 3)
    colours, coverage = _head(parameters, size, 3)
    premultiplied = _shrink(np.concatenate([colours * coverage, coverage[None]]), size)
    alpha = premultiplied[3]
    straight = premultiplied[:3] / np.maximum(alpha, 1e-3)
    return _to_bytes(np.concatenate([straight, alpha[None]]))


def _head(parameters: FaceParameters, size: int, channels: int) -> tuple[Plane, Plane]:
    """Colours (channels, big, big) in 0..1 and coverage (big, big) of head, neck and shoulders, drawn oversize."""
    big = _drawn_size(size)
    identity, camera = parameters.identity, parameters.camera
    sheet = make_sheet(round(min(1.2 * big / camera.frame, 320.0), 1))
    shape = face_shape(parameters)
    profile = skull(identity, shape.chin)
    canvas = paint.paint_skin(sheet, identity, shape, channels)
    paint.paint_nose(canvas, identity, shape)
    paint.paint_mouth(canvas, identity, shape)
    paint.paint_eyes(canvas, identity, shape)
    paint.paint_brows(canvas, identity, shape)
    scalp = paint.hair_mask(sheet, identity)
    height = relief(sheet, parameters, shape)
    height = height * (1.0 - scalp) + paint.paint_hair(canvas, identity, scalp)
    brightness, gloss = shade(sheet, height, profile, parameters.lighting, parameters.pose)
    canvas.planes *= brightness
    canvas.planes += gloss
    paint.paint_glints(canvas, shape, float(np.sign(parameters.lighting.azimuth)))
    paint.paint_glasses(canvas, identity, shape)
    seen = view(big, sheet, height, profile, parameters.pose, camera)
    body, body_coverage = _body(parameters, seen, shape.chin, channels)
    face = project(canvas.planes, seen)
    colours = body + (face - body) * seen.coverage
    coverage = seen.coverage + body_coverage * (1.0 - seen.coverage)
    return _warm(colours, parameters), coverage


def _drawn_size(size: int) -> int:
    """The side at which a picture is drawn before it is shrunk; every edge is smooth already, so a little is enough."""
    return size * 4 // 3 if 64 < size <= 384 else size


def _warm(colours: Plane, parameters: FaceParameters) -> Plane:
    """The colour of the light; grey pictures keep theirs."""
    if colours.shape[0] == 3:
        warmth = parameters.lighting.warmth
        colours = colours * np.array([1 + 0.08 * warmth, 1.0, 1 - 0.12 * warmth], np.float32)[:, None, None]
    return np.asarray(colours, np.float32)


def _body(parameters: FaceParameters, seen: View, chin: float, channels: int) -> tuple[Plane, Plane]:
    """Neck, shoulders and the hair that falls behind them: colours (channels, n, n) and coverage (n, n)."""
    identity, light = parameters.identity, parameters.lighting
    pixels = seen.x.shape[0] / parameters.camera.frame
    wide = 0.55 + 0.45 * identity.face_width
    lean = seen.x - 0.10 * sin(radians(parameters.pose.yaw))
    lit = light.strength * (0.62 + 0.3 * lean * sin(radians(light.azimuth)) * (1 - light.ambient))
    round_off = np.sqrt(clamp(1.0 - (lean / 0.56) ** 2, 0.05, 1.0))
    neck = clamp((0.47 * wide + 0.25 * np.maximum(seen.y - 1.1, 0) ** 2 - np.abs(lean)) * pixels + 0.5, 0, 1)
    neck *= clamp((seen.y - 0.3) * pixels, 0, 1)
    shadow = 1.0 - 0.5 * np.exp(-((np.maximum(seen.y - chin, 0.0) / 0.22) ** 2))
    slope = 1.38 + 0.28 * np.maximum(np.abs(lean) - 0.3, 0.0) ** 1.3 - 0.10 * np.exp(-((np.abs(lean) - 0.5) ** 2) / 0.02)
    clothes = clamp((seen.y - slope) * pixels + 0.5, 0, 1) * clamp((1.75 - np.abs(lean)) * pixels, 0, 1)
    hair = _fallen_hair(identity, seen, pixels)
    rng = np.random.default_rng([identity.texture, 3])
    layers = (
        (hair, paint.hair_colour(identity), lit * (0.68 + 0.08 * np.cos(43 * seen.x) + 0.06 * np.cos(71 * seen.x))),
        (neck, paint.skin_colour(identity), lit * shadow * (0.35 + 0.65 * round_off)),
        (clothes, rng.uniform(0.1, 0.8, 3), lit * (1 - 0.15 * lean * lean)),
    )
    colours, coverage = np.zeros((channels, *seen.x.shape), np.float32), np.zeros_like(seen.x)
    for mask, colour, brightness in layers:
        coverage = coverage + mask * (1.0 - coverage)
        for plane, tone in zip(colours, tones(colour, channels), strict=True):
            plane += (tone * brightness - plane) * mask
    return colours, np.asarray(coverage, np.float32)


def _fallen_hair(identity: Identity, seen: View, pixels: float) -> Plane:
    """Long hair behind the neck, coverage (n, n)."""
    if identity.hair_style != "long":
        return np.zeros_like(seen.x)
    half = 0.80 * (0.55 + 0.45 * identity.face_width) + 0.8 * identity.hair_volume + 0.10 * clamp(seen.y, -0.5, 1.2)
    mask = clamp((half - np.abs(seen.x)) * pixels + 0.5, 0, 1) * clamp((seen.y + 0.35) * pixels, 0, 1)
    return np.asarray(mask * clamp((1.55 - seen.y) * 6.0, 0, 1), np.float32)


def _background(camera: Camera, big: int, channels: int) -> Plane:
    """A soft gradient with blurred shapes, float32 (channels, big, big) in 0..1."""
    rng = np.random.default_rng([camera.texture, 0])
    tint = rng.uniform(0.8, 1.2, 3)
    turn, steps = rng.uniform(0, 2 * np.pi), np.linspace(-0.5, 0.5, big, dtype=np.float32)
    ramp = cos(turn) * steps[None, :] + sin(turn) * steps[:, None]
    cells = int(rng.integers(3, 9))
    shapes = cv2.resize(rng.standard_normal((cells, cells), np.float32), (big, big), interpolation=cv2.INTER_CUBIC)
    level = camera.backdrop * (1.0 + camera.clutter * (0.8 * ramp + 0.35 * shapes))
    return clamp(tones(tint, channels)[:, None, None] * level, 0.0, 1.0).astype(np.float32)


def _shrink(planes: Plane, size: int) -> Plane:
    """Average blocks of pixels down to the size asked for, float32 (channels, size, size)."""
    if planes.shape[1] == size:
        return planes
    return np.stack([cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA) for plane in planes])


def _develop(picture: Plane, camera: Camera, size: int) -> Image:
    """Shrink, blur, add the sensor's noise, and round."""
    planes = _shrink(picture, size)
    if camera.blur * size > 0.2:
        planes = np.stack([cv2.GaussianBlur(plane, (0, 0), camera.blur * size) for plane in planes])
    if camera.noise > 0:
        rng = np.random.default_rng([camera.texture, 1])
        planes = planes + rng.standard_normal(planes.shape, np.float32) * np.float32(camera.noise / 255.0)
    image = _to_bytes(planes)
    return image[:, :, 0] if image.shape[2] == 1 else image


def _to_bytes(planes: NDArray[np.float32]) -> Image:
    """Planes in 0..1 to uint8 (size, size, channels), highlights rolled off rather than cut."""
    rounded = clamp(planes * np.float32(255.0) + np.float32(0.5), 0.0, 255.0)
    return np.ascontiguousarray(np.moveaxis(rounded.astype(np.uint8), 0, -1))
