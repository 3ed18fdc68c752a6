"""Answers in the words of the ``mtcnn`` distribution."""

from __future__ import annotations

from typing import Any

import numpy as np

from mien.faces.detection import Detections

NAMES = {"nose": 2, "mouth_right": 4, "right_eye": 1, "left_eye": 0, "mouth_left": 3}
"""Its keypoints and their columns; its left is the picture's left, the person's right."""


def to_dicts(faces: Detections, size_hw: tuple[int, ...] | None, as_width_height: bool) -> list[dict[str, Any]]:
    """One dict for each face, numbers rounded to whole pixels.

    Args:
        faces: what was found.
        size_hw: height and width at which boxes are cut, None to leave them.
        as_width_height: whether a box is [x, y, width, height] or [x1, y1, x2, y2].
    """
    boxes = faces.boxes_xyxy
    if size_hw is not None:
        last = np.array([size_hw[1], size_hw[0]] * 2, np.float32) - 1
        boxes = np.clip(boxes, 0, last)
    if as_width_height:
        boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    whole, points = (values.round().astype(int).tolist() for values in (boxes, faces.keypoints))
    return [
        {"box": box, "confidence": float(score), "keypoints": {name: five[i] for name, i in NAMES.items()}}
        for box, score, five in zip(whole, faces.scores, points, strict=True)
    ]
