"""Which face of this frame is which of those before: motion, overlap and a little of the looks.

Boxes are float64 or float32 (..., 4), pixels: left, upper, right, lower edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.images import Image

Floats = NDArray[np.float64]

THUMBNAIL = 8
"""Side of the picture by which a face's looks are compared."""

_PACE = 0.15
"""Seconds over which speed is averaged."""

_COASTING = 0.4
"""Seconds after which an unseen face is taken to have stopped."""

_REACH, _REACH_GROWTH = 0.6, 1.5
"""How far from where it is expected a face may be found, in its own sizes: at once, and more for each second unseen."""

_SIZE_RATIO = 1.8
"""How many times larger or smaller a face may have become."""

_LOOKS, _DIFFERENCE = 0.5, 48.0
"""Weight of the looks beside the place, and the difference in grey levels at which two faces are strangers."""


@dataclass(eq=False)
class Motion:
    """Where one face is, how it moves and what it looks like.

    Attributes:
        box: float64 (4,), where it was seen last.
        time: when that was, in seconds.
        speed: float64 (2,), of its middle, in pixels a second.
        looks: float32 (`THUMBNAIL`, `THUMBNAIL`, channels), an average.
    """

    box: Floats
    time: float
    looks: NDArray[np.float32]
    speed: Floats

    @classmethod
    def begin(cls, box: ArrayLike, time: float, image: Image) -> Motion:
        """A face seen for the first time, taken to stand still."""
        return cls(np.asarray(box, float), time, looks_of(image, box), np.zeros(2))

    def update(self, box: ArrayLike, time: float, image: Image) -> None:
        """It was seen again."""
        new, elapsed = np.asarray(box, float), max(time - self.time, 1e-3)
        step = (middles(new) - middles(self.box)) / elapsed
        self.speed = self.speed + (step - self.speed) * (1.0 - np.exp(-elapsed / _PACE))
        self.box, self.time = new, time
        self.looks += 0.2 * (looks_of(image, new) - self.looks)

    def expected(self, time: float) -> Floats:
        """Where it should be now, float64 (4,): it goes on, and slows down while it is not seen."""
        coasted = _COASTING * (1.0 - np.exp(-max(time - self.time, 0.0) / _COASTING))
        return np.asarray(self.box + np.tile(self.speed * coasted, 2), float)


def looks_of(image: Image, box: ArrayLike) -> NDArray[np.float32]:
    """A face as a tiny picture, float32 (`THUMBNAIL`, `THUMBNAIL`, channels); grey where the box lies outside."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.rint(np.asarray(box, float)).astype(int).tolist()
    part = image[min(max(y1, 0), height) : max(y2, 0), min(max(x1, 0), width) : max(x2, 0)]
    channels = 1 if image.ndim == 2 else image.shape[2]
    if not part.size:
        return np.full((THUMBNAIL, THUMBNAIL, channels), 128.0, np.float32)
    small = cv2.resize(np.ascontiguousarray(part), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32).reshape(THUMBNAIL, THUMBNAIL, channels)


def middles(boxes: NDArray[np.floating]) -> Floats:
    """Middles of boxes, float64 (..., 2)."""
    return np.asarray((boxes[..., :2] + boxes[..., 2:]) / 2.0, float)


def overlaps(ones: NDArray[np.floating], others: NDArray[np.floating]) -> Floats:
    """Intersection over union of each pair, float64 (n, m)."""
    low = np.maximum(ones[:, None, :2], others[None, :, :2])
    high = np.minimum(ones[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas = [np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1) for boxes in (ones, others)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None, :] - shared, 1e-9), float)


def likeness(motions: Sequence[Motion], boxes: NDArray[np.floating], time: float, image: Image) -> Floats:
    """How well each face fits each box: float64 (n, m), 0 where it cannot be it, up to 2.5."""
    if not motions or not len(boxes):
        return np.zeros((len(motions), len(boxes)))
    expected = np.stack([motion.expected(time) for motion in motions])
    gaps = np.array([max(time - motion.time, 0.0) for motion in motions])
    sizes = [np.sqrt(np.prod(np.maximum(rows[:, 2:] - rows[:, :2], 1e-3), axis=1)) for rows in (expected, boxes)]
    reach = sizes[0] * (_REACH + _REACH_GROWTH * gaps)
    distance = np.linalg.norm(middles(expected)[:, None] - middles(boxes)[None], axis=2) / reach[:, None]
    ratio = np.abs(np.log(sizes[0][:, None] / sizes[1][None]))
    possible = (distance < 1.0) & (ratio < np.log(_SIZE_RATIO))
    place = overlaps(expected, boxes) + (1.0 - distance)
    return np.where(possible, place + _LOOKS * _alike(motions, boxes, image), 0.0)


def _alike(motions: Sequence[Motion], boxes: NDArray[np.floating], image: Image) -> Floats:
    """1 where a face looks as a box does, down to 0."""
    known = np.stack([motion.looks for motion in motions])
    found = np.stack([looks_of(image, box) for box in boxes])
    difference = np.abs(known[:, None] - found[None]).mean(axis=(2, 3, 4))
    return np.asarray(np.maximum(1.0 - difference / _DIFFERENCE, 0.0), float)


def pair(fit: Floats) -> list[tuple[int, int]]:
    """Pair rows with columns, each at most once, the best fits first; nothing that fits 0."""
    pairs: list[tuple[int, int]] = []
    left = fit.copy()
    while left.size and left.max() > 0.0:
        row, column = divmod(int(left.argmax()), left.shape[1])
        pairs.append((row, column))
        left[row, :] = 0.0
        left[:, column] = 0.0
    return pairs
