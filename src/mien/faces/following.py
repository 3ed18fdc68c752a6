"""Faces from one frame of a video to the next, with O-Net alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.faces.boxes import squared
from mien.faces.cascade import look, look_again, to_detections
from mien.faces.detection import Detections
from mien.faces.pyramid import Pyramid, halvings_for
from mien.faces.running import Networks
from mien.images import Image

Array = NDArray[np.float32]

RESTLESS = 0.06
"""A face whose edges move by this share of its side is taken at its new place at once; one that moves less, partly,
so that boxes of a face at rest neither tremble nor creep."""

ASIDE = ((-0.05, 0.0), (0.05, 0.0))
"""Where a face is looked at again: nearer than in detection, as it may have moved aside already."""

CALM = 0.25
"""The share taken of the smallest moves."""


def follow(image: Image, before: Detections, networks: Networks) -> Detections:
    """See `mien.faces.mtcnn.MTCNN.follow`."""
    if not len(before):
        return Detections.none()
    squares = squared(before.boxes_xyxy.astype(np.float32))
    squares[:, 2:] = np.maximum(squares[:, 2:], squares[:, :2] + 1)
    widths = squares[:, 2] - squares[:, 0]
    pyramid = Pyramid([image], most=max(0, int(halvings_for(widths, 48).max())))
    owners = np.zeros(len(before), np.intp)
    near = look(pyramid, networks, squares, owners)
    now = to_detections(look_again(pyramid, networks, near, ASIDE))
    return _settled(before, now, widths)


def _settled(before: Detections, now: Detections, widths: Array) -> Detections:
    """Take small moves partly, and none where the face is gone."""
    moves = np.abs(now.boxes_xyxy - before.boxes_xyxy).max(1) / widths
    share = np.where(now.scores < 0.5, 0, np.clip(moves / RESTLESS, CALM, 1)).astype(np.float32)
    boxes = before.boxes_xyxy + (now.boxes_xyxy - before.boxes_xyxy) * share[:, None]
    points = now.keypoints
    if before.keypoints.shape == points.shape:
        points = before.keypoints + (points - before.keypoints) * share[:, None, None]
    return Detections(boxes, now.scores, points)
