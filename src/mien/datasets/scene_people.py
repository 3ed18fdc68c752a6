"""The people of `mien.datasets.scenes`: drawn once, kept as layers, pasted wherever they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import radians, sin

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.datasets.face_drawing import SIZES, draw_head
from mien.datasets.face_model import FaceParameters
from mien.datasets.face_sampling import random_parameters
from mien.datasets.face_shape import face_shape
from mien.images import Image

FRAME, RAISED = 3.7, 0.45
"""Side of a person's layer, and how far its middle lies below the eyes, in head units: hair to chest."""

HIGHEST = FRAME / 2 - RAISED
"""From the upper edge of a layer to the eyes, in head units."""

VISIBLE = 0.6
"""Share of a box that must be seen for the face to count as seen."""

_SOFTNESS = 0.022
"""Sigma of the blur, in head units. Drawn edges are sharper than a lens's, and detectors were trained on lenses."""

_GRAIN = 8
"""Pixels of a picture to one of the map that says who covers whom."""


@dataclass(frozen=True, eq=False)
class Look:
    """A person with one expression.

    Attributes:
        layer: uint8 (size, size, 4): RGB multiplied by alpha, and alpha.
        frame_xyxy: float64 (4,), the face's box around the eyes' middle, in pixels of the layer.
        eyes_xy: where the point between the eyes lies in the layer, in pixels.
    """

    layer: NDArray[np.uint8]
    frame_xyxy: NDArray[np.float64]
    eyes_xy: tuple[float, float]

    def box(self, centre: ArrayLike, scale: float) -> NDArray[np.float32]:
        """The face's box, float32 (4,), where the eyes' middle is at `centre` and the layer `scale` times as large."""
        return np.asarray(self.frame_xyxy * scale + np.tile(np.asarray(centre, float), 2), np.float32)


@dataclass(frozen=True, eq=False)
class Person:
    """A person's looks, by expression; all layers are of one size."""

    looks: dict[str, Look]

    SMALLEST_UNIT = SIZES[0] / FRAME
    BOX_HEIGHT = 1.75

    def look(self, expression: str) -> Look:
        """The look of an expression that was drawn."""
        return self.looks[expression]

    def between(self, before: str, after: str, share: float) -> Look:
        """A look on the way from one expression to another; `share` is how much of the second there is, 0 to 1."""
        first, second = self.looks[before], self.looks[after]
        if share <= 0.0 or before == after:
            return first
        if share >= 1.0:
            return second
        layer = cv2.addWeighted(first.layer, 1.0 - share, second.layer, share, 0.0)
        frame = first.frame_xyxy + (second.frame_xyxy - first.frame_xyxy) * share
        return Look(np.asarray(layer, np.uint8), frame, first.eyes_xy)


def draw_person(seed: Sequence[int], unit: float, expressions: Sequence[str]) -> Person:
    """Draw one chance person.

    Args:
        seed: decides who it is.
        unit: the head unit (half a head's height) in pixels, `Person.SMALLEST_UNIT` or more.
        expressions: which of `mien.labels.EXPRESSIONS` to draw.
    """
    return Person({name: _look(random_parameters(name, np.random.default_rng(seed)), unit) for name in expressions})


def _look(parameters: FaceParameters, unit: float) -> Look:
    parameters = _calm(parameters)
    side = max(round(FRAME * unit), SIZES[0])
    layer = draw_head(parameters, size=min(side, SIZES[1]))
    alpha = layer[:, :, 3:].astype(np.float32) * _fade(len(layer))
    premultiplied = np.concatenate([layer[:, :, :3] * (alpha / np.float32(255.0)), alpha], axis=2)
    premultiplied = cv2.GaussianBlur(premultiplied, (0, 0), _SOFTNESS * len(layer) / FRAME)
    if side != len(layer):
        premultiplied = cv2.resize(premultiplied, (side, side), interpolation=cv2.INTER_LINEAR)
    rounded = np.clip(np.rint(premultiplied), 0, 255).astype(np.uint8)
    return Look(rounded, _frame(parameters) * side / FRAME, (side / 2, HIGHEST * side / FRAME))


def _calm(parameters: FaceParameters) -> FaceParameters:
    """Turned, lit and shaped less extremely, in the frame of a scene; the shape is what detectors care for most."""
    identity, pose, light = parameters.identity, parameters.pose, parameters.lighting
    return replace(
        parameters,
        identity=replace(
            identity,
            face_width=min(identity.face_width * 1.06, 1.8),
            chin_length=max(identity.chin_length * 0.93, 0.5),
            age=identity.age * 0.6,
        ),
        pose=replace(pose, yaw=pose.yaw * 0.7, roll=pose.roll * 0.7),
        lighting=replace(light, azimuth=light.azimuth * 0.6, ambient=max(light.ambient, 0.6)),
        camera=replace(parameters.camera, frame=FRAME, shift_x=0.0, shift_y=-RAISED),
        actions={unit: min(level, 0.6) if unit == 26 else level for unit, level in parameters.actions.items()},
    )


def _frame(parameters: FaceParameters) -> NDArray[np.float64]:
    """The face's box around the eyes' middle, in head units: fitted to MTCNN's boxes of 56 faces, to 0.05 units."""
    width, chin = parameters.identity.face_width, face_shape(parameters).chin
    turn, lift = sin(radians(parameters.pose.yaw)), sin(radians(parameters.pose.pitch))
    left, right = -0.36 - 0.25 * width + 0.27 * turn, 0.34 + 0.28 * width + 0.27 * turn
    return np.array([left, -0.73 - 0.55 * lift, right, 1.03 + 0.85 * (chin - 1.0) - 1.06 * lift])


def _fade(side: int) -> NDArray[np.float32]:
    """1 down to the shoulders, 0 at the lower edge: float32 (side, 1, 1)."""
    rows = (np.arange(side, dtype=np.float32) + 0.5) / side
    return np.asarray(np.clip((1.0 - rows) / 0.06, 0.0, 1.0), np.float32)[:, None, None]


class Canvas:
    """A picture that people are pasted on, which keeps who covers whom.

    Attributes:
        image: uint8 (height, width, 3) RGB, changed in place.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        self._owner = np.zeros((-(-image.shape[0] // _GRAIN), -(-image.shape[1] // _GRAIN)), np.int16)
        self._count = 0

    def paste(self, look: Look, centre: ArrayLike, scale: float) -> None:
        """Lay a person over all that is there, the point between the eyes at `centre`, (x, y) in pixels."""
        self._count += 1
        x, y = np.asarray(centre, float) - np.array(look.eyes_xy) * scale
        side = len(look.layer) * scale
        height, width = self.image.shape[:2]
        left, top = max(int(np.floor(x)), 0), max(int(np.floor(y)), 0)
        right, bottom = min(int(np.ceil(x + side)) + 1, width), min(int(np.ceil(y + side)) + 1, height)
        if left >= right or top >= bottom:
            return
        half = 0.5 * scale - 0.5
        move = np.array([[scale, 0, x - left + half], [0, scale, y - top + half]])
        layer = cv2.warpAffine(look.layer, move, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
        _blend(self.image[top:bottom, left:right], layer)
        rows, columns = slice(-top % _GRAIN, None, _GRAIN), slice(-left % _GRAIN, None, _GRAIN)
        covered = layer[rows, columns, 3] > 127
        first = -(-top // _GRAIN), -(-left // _GRAIN)
        owner = self._owner[first[0] : first[0] + len(covered), first[1] : first[1] + covered.shape[1]]
        owner[covered] = self._count

    def seen(self, boxes: Sequence[NDArray[np.float32]]) -> list[bool]:
        """Whether enough can be seen of the box of each person, given in the order in which they were pasted."""
        return [self._share(box, number) >= VISIBLE for number, box in enumerate(boxes, 1)]

    def _share(self, box: NDArray[np.float32], number: int) -> float:
        x1, y1, x2, y2 = (round(float(value) / _GRAIN) for value in box)
        part = self._owner[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
        return float((part <= number).sum()) / max((x2 - x1) * (y2 - y1), 1)


def _blend(ground: Image, layer: NDArray[np.uint8]) -> None:
    colours, alpha = np.ascontiguousarray(layer[:, :, :3]), cv2.bitwise_not(layer[:, :, 3])
    kept = cv2.multiply(ground, cv2.merge([alpha, alpha, alpha]), scale=1.0 / 255.0)
    ground[:] = cv2.add(kept, colours)
