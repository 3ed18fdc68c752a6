"""Faces that the user has found already, by whatever detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mien.errors import UsageError
from mien.faces.boxes import rows_inside
from mien.faces.detection import Detections
from mien.images import Image
from mien.results import Box


def given_faces(boxes_xyxy: ArrayLike | Sequence[Box], image: Image) -> Detections:
    """Boxes of a picture as a detector would have given them, in their order, with score 1 and without keypoints.

    Args:
        boxes_xyxy: numbers (n, 4), pixels: left, upper, right, lower edge, which may reach past the picture; or `Box`
            for each face. n may be 0.
        image: the picture, uint8 (height, width) or (height, width, 3).

    Raises:
        UsageError: they are no such boxes, or one does not lie in the picture.
    """
    boxes = _as_array(boxes_xyxy)
    n = len(boxes)
    wrong = np.flatnonzero((boxes[:, 2:] <= boxes[:, :2]).any(axis=1))
    if len(wrong):
        raise UsageError(
            f"boxes_xyxy: x2 must be above x1 and y2 above y1, received {_told(boxes[wrong[0]])}; of (x, y, width, "
            "height) make (x, y, x + width, y + height)"
        )
    outside = np.setdiff1d(np.arange(n), rows_inside(boxes, image))
    if len(outside):
        height, width = image.shape[:2]
        raise UsageError(
            f"boxes_xyxy: each must lie in the picture of {width} x {height} pixels, received "
            f"{_told(boxes[outside[0]])}"
        )
    return Detections(boxes, np.ones(n, np.float32), np.empty((n, 0, 2), np.float32))


def _as_array(boxes_xyxy: ArrayLike | Sequence[Box]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The numbers as float32 (n, 4).

    Raises:
        UsageError: they are none, not finite, or not in fours.
    """
    given: Any = boxes_xyxy
    if isinstance(given, Detections):
        raise UsageError("boxes_xyxy: must be numbers (n, 4), received Detections; give its boxes_xyxy")
    if isinstance(given, list | tuple):
        given = [box.xyxy if isinstance(box, Box) else box for box in given]
    try:
        boxes = np.asarray(given, np.float32)
    except (TypeError, ValueError):
        boxes = np.empty(0, np.float32)
        given = type(boxes_xyxy).__name__
    else:
        boxes = boxes.reshape(0, 4) if boxes.shape == (0,) else boxes
        given = f"shape {boxes.shape}" if np.isfinite(boxes).all() else "numbers that are not finite"
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        wide = boxes.ndim == 2 and boxes.shape[1] > 4  # most detectors' have the score in the fifth column
        mending = "leave out what is not an edge: boxes[:, :4]" if wide else "put a single box into a list: [box]"
        raise UsageError(
            "boxes_xyxy: must be numbers (n, 4), left, upper, right and lower edge of each face, received "
            f"{given}; {mending}"
        )
    return boxes


def _told(box: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    return f"({', '.join(f'{value:g}' for value in box)})"
