"""Light on a drawn head, and its way from the unrolled sheet to the picture.

The lamp is Lambert's, softened as light in skin is, with light from everywhere, darker hollows and a weak gloss. The
head is seen from far away (orthographic). For each pixel the ellipse of the skull that it meets is solved in closed
form; height above the skull and pitch, which move the meeting point, are found in a few rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets.face_model import Camera, Lighting, Pose
from mien.datasets.face_surface import LEFT, RADIUS, TOP, Plane, Profile, Sheet, clamp, soften

_HALVINGS = 5
_BLUR = np.full(61, 1.0 / 61.0, np.float32)

_PIVOT = 0.15
"""v around which a head nods, in head units."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What each pixel of the picture sees, all float32 (size, size).

    Attributes:
        x, y: position in head units, roll undone, the head's middle at (0, 0).
        column, row: pixel of the sheet.
        coverage: 0 beside the head, 1 on it, between at its edge.
    """

    x: Plane
    y: Plane
    column: Plane
    row: Plane
    coverage: Plane


def light_direction(lighting: Lighting, pose: Pose) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Unit vector (x, y, z) from the head to the lamp, in the head's own axes: right, down, towards the viewer."""
    azimuth, elevation = radians(lighting.azimuth), radians(lighting.elevation)
    x, y, z = sin(azimuth) * cos(elevation), -sin(elevation), cos(azimuth) * cos(elevation)
    roll, pitch, yaw = radians(pose.roll), radians(pose.pitch), radians(pose.yaw)
    x, y = x * cos(roll) + y * sin(roll), y * cos(roll) - x * sin(roll)
    y, z = y * cos(pitch) + z * sin(pitch), z * cos(pitch) - y * sin(pitch)
    return np.array([x * cos(yaw) - z * sin(yaw), y, z * cos(yaw) + x * sin(yaw)])


def shade(sheet: Sheet, height: Plane, profile: Profile, lighting: Lighting, pose: Pose) -> tuple[Plane, Plane]:
    """How bright each point of the sheet is, and how it glosses; each float32 (rows, columns), 0 and up."""
    normal_x, normal_y, normal_z = _normals(sheet, height, profile)
    light = light_direction(lighting, pose).astype(np.float32)
    facing = normal_x * light[0] + normal_y * light[1] + normal_z * light[2]
    lit = np.maximum(facing * 0.8 + 0.2, 0.0)
    hollow = soften(height, 0.06 * sheet.scale) - height
    occlusion = clamp(1.0 - 7.0 * hollow, 0.55, 1.12)
    sky = 0.85 - 0.25 * normal_y
    ambient = lighting.ambient
    brightness = lighting.strength * (
        ambient * sky * occlusion + 1.35 * (1.0 - ambient) * lit * (0.4 + 0.6 * occlusion)
    )
    half = light + (0.0, 0.0, 1.0)
    half = (half / np.linalg.norm(half)).astype(np.float32)
    gloss = np.maximum(normal_x * half[0] + normal_y * half[1] + normal_z * half[2], 0.0)
    gloss = gloss * gloss * gloss
    for _ in range(3):  # to the 24th power, by squaring
        gloss = gloss * gloss
    gloss *= np.float32(0.16 * (1.0 - ambient) * lighting.strength)
    return np.asarray(brightness, np.float32), np.asarray(gloss, np.float32)


def _normals(sheet: Sheet, height: Plane, profile: Profile) -> tuple[Plane, Plane, Plane]:
    """Unit normals of the surface in the head's axes, each float32 (rows, columns)."""
    angle = sheet.us / np.float32(RADIUS)
    sine, cosine = np.sin(angle), np.cos(angle)
    slope_u = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=sheet.scale / 8)
    slope_v = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=sheet.scale / 8)
    index = profile.index(sheet.vs)
    width_slope, depth_slope = (clamp(slope, -2.5, 2.5)[index][:, None] for slope in profile.slopes())
    normal_x = sine - slope_u * cosine
    normal_z = cosine + slope_u * sine
    normal_y = -(sine**2 * width_slope + cosine**2 * depth_slope) - slope_v
    unit = 1.0 / np.sqrt(normal_x * normal_x + normal_y * normal_y + normal_z * normal_z)
    return normal_x * unit, normal_y * unit, normal_z * unit


@dataclass(frozen=True, slots=True, eq=False)
class _Stack:
    """The skull's ellipses turned by the yaw, each float32 (STEPS,), by height.

    A point at the angle a from the line of sight lies `across` * sin(a) to the right of the axis, and
    `forward_sine` * sin(a) + `forward_cosine` * cos(a) towards the viewer; `turn` is a at the nose.
    """

    across: Plane
    turn: Plane
    forward_sine: Plane
    forward_cosine: Plane


def _turned(profile: Profile, yaw: float) -> _Stack:
    width, depth = profile.width, profile.depth
    across = np.maximum(np.hypot(width * cos(yaw), depth * sin(yaw)), np.float32(1e-3))
    turn = np.arctan2(depth * sin(yaw), width * cos(yaw))
    forward_sine = (depth**2 - width**2) * (sin(yaw) * cos(yaw)) / across
    # Where crown and chin close, both fall so steeply that the rounds of `_meet` would not settle: hence the blur.
    smooth_sine, smooth_cosine = (np.convolve(axis, _BLUR, "same") for axis in (forward_sine, width * depth / across))
    return _Stack(across, turn, smooth_sine, smooth_cosine)


def view(size: int, sheet: Sheet, height: Plane, profile: Profile, pose: Pose, camera: Camera) -> View:
    """Find what each of size x size pixels sees.

    A pixel x to the right of the axis sees the angle a for which (across + height(a)) * sin(a) = x. Hair stands so
    steeply above the skin that only halving the interval in which the height lies finds it safely.
    """
    height = soften(height, 0.045 * sheet.scale)
    stack = _turned(profile, radians(pose.yaw))
    tilt = radians(pose.pitch)
    column, level = _meet(*_picture_axes((size + 1) // 2, pose, camera), sheet, height, profile, stack, tilt)
    column, level = (cv2.resize(plane, (size, size), interpolation=cv2.INTER_LINEAR) for plane in (column, level))
    x, y = _picture_axes(size, pose, camera)
    outline = _outline(height, sheet, profile, stack)
    # Where crown or chin turn away, the rounds of `_meet` do not settle; there the head's sides are its outline.
    front = cv2.medianBlur(_inside(x, outline, profile.index(level), size / camera.frame), 3)
    sides = _inside(x, _tilted(outline, profile, stack, tilt), profile.index(y), size / camera.frame)
    coverage = np.maximum(front, sides)
    return View(x, y, column, (level - TOP) * sheet.scale - 0.5, coverage)


def _meet(
    x: Plane, y: Plane, sheet: Sheet, height: Plane, profile: Profile, stack: _Stack, tilt: float
) -> tuple[Plane, Plane]:
    """Column of the sheet and v at which lines of sight through x and y meet the head, each shaped as x."""
    low, high = np.full_like(x, height.min()), np.full_like(x, height.max())
    forward = 0.7 * np.sqrt(np.maximum(1.0 - (x / np.float32(0.8)) ** 2, 0.0))
    above = low
    for halving in range(_HALVINGS + 1):
        last = halving == _HALVINGS
        level = (y - _PIVOT + forward * sin(tilt)) / cos(tilt) + _PIVOT
        index = profile.index(level)
        guess = np.minimum(np.maximum(above, low), high) if last else (low + high) * np.float32(0.5)
        sine = clamp(x / (stack.across[index] + guess), -1.0, 1.0)
        column = ((np.arcsin(sine) - stack.turn[index]) * RADIUS - LEFT) * sheet.scale - 0.5
        if last:
            break
        above = _sample(height, column, (level - TOP) * sheet.scale - 0.5)
        higher = above > guess
        low, high = np.where(higher, guess, low), np.where(higher, high, guess)
        cosine = np.sqrt(1.0 - sine * sine)
        found = stack.forward_sine[index] * sine + (stack.forward_cosine[index] + above) * cosine
        forward = 0.4 * forward + 0.6 * found
    return column, level


def _outline(height: Plane, sheet: Sheet, profile: Profile, stack: _Stack) -> Plane:
    """Breadth of the head, hair included, on either side of its axis at every height, float32 (2, STEPS)."""
    angles = np.array([[-np.pi / 2], [np.pi / 2]], np.float32) - stack.turn
    levels = np.broadcast_to(profile.levels(), angles.shape)
    edges = _sample(height, (angles * RADIUS - LEFT) * sheet.scale - 0.5, (levels - TOP) * sheet.scale - 0.5)
    return np.where(profile.width > 0, stack.across + cv2.blur(edges, (9, 1)), np.float32(-1.0))


def _tilted(outline: Plane, profile: Profile, stack: _Stack, tilt: float) -> Plane:
    """The outline by y in the picture instead of height on the head, float32 (2, STEPS)."""
    levels = profile.levels()
    upright = _PIVOT + (levels - _PIVOT) * cos(tilt)
    lean = stack.forward_sine * sin(tilt)
    sides = [np.interp(levels, upright - sign * lean, outline[side]) for side, sign in ((0, -1.0), (1, 1.0))]
    return np.asarray(sides, np.float32)


def _inside(x: Plane, outline: Plane, index: NDArray[np.intp], pixels: float) -> Plane:
    """How far an outline covers each pixel, float32 (size, size) in 0..1; `pixels` make a head unit."""
    slope = np.diff(outline[1], append=np.float32(-1.0)) * np.float32(1.0 / Profile.SPACING)
    steepness = np.hypot(np.float32(1.0), clamp(slope, -8, 8))
    margin = (outline[(x > 0).view(np.int8), index] - np.abs(x)) / steepness[index]
    return clamp(margin * np.float32(pixels) + np.float32(0.5), 0.0, 1.0)


def _picture_axes(size: int, pose: Pose, camera: Camera) -> tuple[Plane, Plane]:
    """Each pixel's place in head units, the roll undone: x and y, float32 (size, size)."""
    steps = ((np.arange(size, dtype=np.float32) + 0.5) / size - 0.5) * camera.frame
    x, y = (steps - camera.shift_x)[None, :], (steps - camera.shift_y)[:, None]
    roll = radians(pose.roll)
    return (x * cos(roll) + y * sin(roll)).astype(np.float32), (y * cos(roll) - x * sin(roll)).astype(np.float32)


def _sample(plane: Plane, column: Plane, row: Plane) -> Plane:
    return np.asarray(cv2.remap(plane, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def project(planes: Plane, seen: View) -> Plane:
    """Planes of the sheet, float32 (channels, rows, columns), as the view shows them: (channels, size, size)."""
    return np.stack([_sample(plane, seen.column, seen.row) for plane in planes])
