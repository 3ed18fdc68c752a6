"""Geometry of boxes: float (n, 4), left, upper, right, lower edge in pixels; pixel i reaches from i to i + 1."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Indices = NDArray[np.intp]

NO_BOX = 1.0
"""A face whose box, cut to the picture, is smaller than this on a side is none."""


def clipped(boxes_xyxy: Array, image: NDArray[np.uint8]) -> Array:
    """Cut boxes to a picture, uint8 (height, width) or (height, width, channels)."""
    height, width = image.shape[:2]
    result: Array = np.clip(boxes_xyxy, np.float32(0), np.array([width, height, width, height], np.float32))
    return result


def rows_inside(boxes_xyxy: Array, image: NDArray[np.uint8]) -> Indices:
    """The boxes of which at least `NO_BOX` pixels lie in the picture along both sides."""
    inside = clipped(boxes_xyxy, image)
    return np.flatnonzero((inside[:, 2:] - inside[:, :2] >= NO_BOX).all(axis=1))


def moved(boxes_xyxy: Array, offsets: Array) -> Array:
    """Move each edge by its offset, float32 (n, 4), counted in widths (x) and heights (y) of its box."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    return boxes_xyxy + offsets * np.tile(sides, 2)


def squared(boxes_xyxy: Array) -> Array:
    """The squares with the same centres, as wide as the longer side."""
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).max(1, keepdims=True, initial=0) / 2
    return np.concatenate([centres - half, centres + half], 1)


def areas(boxes_xyxy: Array) -> Array:
    """Square pixels; 0 where the edges are the wrong way round."""
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0)
    result: Array = sides[:, 0] * sides[:, 1]
    return result


def overlaps(first: Array, second: Array, *, of_smaller: bool = False) -> Array:
    """Intersection over union of each of `first` with each of `second`; or over the smaller of the two.

    Returns:
        float32 (len(first), len(second)) in [0, 1]; 0 for boxes without area.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[..., 0] * sides[..., 1]
    one, two = areas(first)[:, None], areas(second)[None]
    whole = np.minimum(one, two) if of_smaller else one + two - shared
    result: Array = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return result


def best_of_overlapping(boxes_xyxy: Array, scores: Array, groups: NDArray[Any], threshold: float) -> Indices:
    """Greedy non-maximum suppression: of boxes that overlap by more than `threshold`, the one that scores most.

    Args:
        boxes_xyxy: float32 (n, 4).
        scores: float32 (n,), any finite values.
        groups: integers (n,); only boxes of the same group stand against each other (the picture they are in).
        threshold: intersection over union.

    Returns:
        Rows that stay, the best score first.
    """
    if not len(scores):
        return np.empty(0, np.intp)
    xywh = np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], 1).astype(np.float64)
    lowest = float(scores.min()) - 1
    suppress: Any = cv2.dnn.NMSBoxesBatched  # its stub wants lists
    kept = suppress(xywh, scores, groups.astype(np.int32), lowest, threshold)
    return np.asarray(kept, np.intp).ravel()


def distinct(boxes_xyxy: Array, scores: Array, groups: NDArray[Any], threshold: float) -> Indices:
    """`best_of_overlapping`, by the share of the smaller of two boxes that the other covers; for few boxes."""
    covered = overlaps(boxes_xyxy, boxes_xyxy, of_smaller=True) * (groups[:, None] == groups[None])
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        if not kept or covered[row, kept].max() <= threshold:
            kept.append(int(row))
    return np.array(kept, np.intp)


def ranks(scores: Array, groups: NDArray[Any]) -> Indices:
    """The place of each score among those of its group: 0 for the highest."""
    order = np.lexsort((-scores, groups))
    ordered = groups[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(order) else order
    sizes = np.diff(np.append(starts, len(order)))
    result = np.empty(len(order), np.intp)
    result[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return result
