"""Cutting faces out of pictures as networks know them: a square around the box, with a margin, perhaps turned level.

Networks that learned from FER2013 know its framing. `FER2013_MARGIN` says how a box must be widened so that a
face in a photograph is framed alike; a model file carries it as ``crop_margin``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces.detection import KEYPOINTS, Detections
from mien.images import Image
from mien.preprocessing import InputSpec, fit_image

FER2013_MARGIN = -0.035
"""How far MTCNN's boxes are widened on each side, as a fraction of the larger side, to frame faces as FER2013 does.

Fitted on all images of Training and PublicTest in which MTCNN finds a face (28,054 of 32,298): the median of the larger
side is 51.5 of the 48 pixels that the picture has, and the median of the centre is its middle to half a pixel."""

LARGEST_PADDED = 4096
"""A square that reaches past the picture is made smaller until its side is that, so that it takes little memory."""

_EYES = (KEYPOINTS.index("right_eye"), KEYPOINTS.index("left_eye"))


def square(box_xyxy: NDArray[np.float32] | Sequence[float], margin: float) -> tuple[float, float, float]:
    """The square to cut out: centre x, centre y and side in pixels.

    Args:
        box_xyxy: left, upper, right, lower edge.
        margin: how far the box is widened on each side, as a fraction of its larger side.
    """
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    return (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1) * (1 + 2 * margin)


def cut_face(image: Image, box_xyxy: NDArray[np.float32] | Sequence[float], margin: float, angle: float = 0.0) -> Image:
    """Cut one face out.

    Args:
        image: uint8 (height, width) or (height, width, channels).
        box_xyxy: its box, pixels; may reach past the picture, whose edge is repeated there.
        margin: see `square`.
        angle: degrees by which the face is turned clockwise in the picture; it is turned back.

    Returns:
        uint8 (side, side) or (side, side, channels), side at least 1; a view of the picture where it can be. Where it
        reaches past the picture, side is `LARGEST_PADDED` at most.
    """
    x, y, side = square(box_xyxy, margin)
    length = max(1, round(side))
    if angle:
        return _cut_turned(image, x, y, length, angle)
    left, top = round(x - length / 2), round(y - length / 2)
    return _region(image, left, top, length)


def cut_faces(
    image: Image, faces: Detections, spec: InputSpec, *, margin: float = FER2013_MARGIN, align: bool = False
) -> NDArray[np.uint8]:
    """Cut all faces of a picture out and bring them to a network's input.

    Args:
        image: uint8 (height, width) or (height, width, 3) RGB.
        faces: what a detector found in it.
        spec: the network's input.
        margin: see `square`.
        align: whether faces are turned so that their eyes are level, where there are keypoints.

    Returns:
        uint8 (n, size, size, channels).
    """
    batch = np.empty((len(faces), *spec.shape), np.uint8)
    angles = roll_angles(faces.keypoints) if align else np.zeros(len(faces))
    for row, (box, angle) in enumerate(zip(faces.boxes_xyxy, angles, strict=True)):
        batch[row] = fit_image(cut_face(image, box, margin, float(angle)), spec)
    return batch


def roll_angles(keypoints: NDArray[np.float32]) -> NDArray[np.float64]:
    """By how many degrees each face is turned clockwise, from the line through its eyes: (n, 5 or 0, 2) to (n,)."""
    if not keypoints.size:
        return np.zeros(len(keypoints))
    across = keypoints[:, _EYES[1]] - keypoints[:, _EYES[0]]
    degrees: NDArray[np.float64] = np.degrees(np.arctan2(across[:, 1], across[:, 0]))
    return degrees


def _cut_turned(image: Image, x: float, y: float, length: int, angle: float) -> Image:
    """Cut a larger region at its own resolution, turn it about its centre, take the middle."""
    reach = math.ceil(length * 0.75) + 1
    left, top, side = round(x) - reach, round(y) - reach, 2 * reach + 1
    region = _region(image, left, top, side)
    scale = len(region) / side
    length = max(1, round(length * scale))
    centre = ((x - left) * scale - 0.5, (y - top) * scale - 0.5)  # OpenCV counts from the middle of a pixel
    turn = cv2.getRotationMatrix2D(centre, angle, 1.0)
    turn[:, 2] += (length - 1) / 2 - np.array(centre)
    turned = cv2.warpAffine(region, turn, (length, length), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, np.uint8)


def _region(image: Image, left: int, top: int, side: int) -> Image:
    """A square that may reach past the picture: its edge is repeated there, and a large one is made smaller."""
    height, width = image.shape[:2]
    if left >= 0 and top >= 0 and left + side <= width and top + side <= height:
        return image[top : top + side, left : left + side]
    scale = min(1.0, LARGEST_PADDED / side)
    (first_row, last_row), (first_column, last_column) = _span(top, side, height), _span(left, side, width)
    part = _scaled(image[first_row:last_row, first_column:last_column], scale)
    steps = np.arange(round(side * scale))
    rows = np.clip(steps - round((first_row - top) * scale), 0, part.shape[0] - 1)
    columns = np.clip(steps - round((first_column - left) * scale), 0, part.shape[1] - 1)
    return part[rows[:, None], columns]


def _span(begin: int, side: int, length: int) -> tuple[int, int]:
    """The part of a side that lies in the picture, or the pixel next to it."""
    return min(max(begin, 0), length - 1), max(min(begin + side, length), 1)


def _scaled(image: Image, scale: float) -> Image:
    """The picture, smaller by a factor; each side at least 1."""
    if scale == 1:
        return image
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8).reshape(height, width, *image.shape[2:])
