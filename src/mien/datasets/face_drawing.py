"""From `FaceParameters` to pixels: paint the sheet, light it, look at it, put it before a background."""

from __future__ import annotations

from math import cos, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets import face_paint as paint
from mien.datasets.face_body import body
from mien.datasets.face_canvas import tones
from mien.datasets.face_model import Camera, FaceParameters
from mien.datasets.face_projection import project, shade, view
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
    identity, camera, pose = parameters.identity, parameters.camera, parameters.pose
    sheet, shape = make_sheet(round(min(1.05 * big / camera.frame, 320.0), 1)), face_shape(parameters)
    rng = np.random.default_rng(identity.texture)
    canvas = paint.paint_face(sheet, identity, shape, channels, rng)
    scalp, profile = paint.hair_mask(sheet, identity, rng), skull(identity, shape.chin)
    height = relief(sheet, parameters, shape) * (1.0 - scalp) + paint.paint_hair(canvas, identity, scalp, rng)
    brightness, gloss = shade(sheet, height, profile, parameters.lighting, pose)
    canvas.planes *= brightness
    canvas.planes += gloss
    paint.paint_glints(canvas, shape, float(np.sign(parameters.lighting.azimuth)))
    paint.paint_glasses(canvas, identity)
    seen = view(big, sheet, height, profile, pose, camera)
    torso, torso_coverage = body(parameters, seen, shape.chin, channels, rng)
    colours = torso + (project(canvas.planes, seen) - torso) * seen.coverage
    coverage = seen.coverage + torso_coverage * (1.0 - seen.coverage)
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
