"""Pictures of one size in halves, quarters, ...; levels of any scale and square crops are taken from these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.images import Image

Array = NDArray[np.float32]

SMALLEST = 12
"""Halving stops before the shorter side gets smaller than P-Net's window."""

_MOST_ROWS = 32_766
"""OpenCV remaps to no more rows at once."""


@dataclass(frozen=True)
class Level:
    """The pictures at one scale.

    Attributes:
        images: uint8 (n, height, width, 3).
        scale_xy: pixels of the level per pixel of the picture.
    """

    images: NDArray[np.uint8]
    scale_xy: tuple[float, float]


class Pyramid:
    """n pictures of one size, one above the other, and the same shrunk by averages of 2 x 2 pixels, again and again.

    Each is padded with its edge to a multiple of the last shrinking, so that no average mixes two pictures and all
    scales are exact powers of two.
    """

    def __init__(self, images: Sequence[Image], most: int = 32) -> None:
        """Take uint8 (height, width, 3) pictures of one size; halve them `most` times at most."""
        self.height, self.width = images[0].shape[:2]
        self.count = len(images)
        halvings = min(most, int(math.log2(max(1, min(self.height, self.width) / SMALLEST))))
        self.halves = [_stack(images, 2**halvings)]
        for _ in range(halvings):
            rows, columns = self.halves[-1].shape[:2]
            self.halves.append(
                np.asarray(cv2.resize(self.halves[-1], (columns // 2, rows // 2), interpolation=cv2.INTER_AREA))
            )

    def level(self, scale: float) -> Level:
        """The pictures shrunk to `scale`, each pixel an average of the area it covers; enlarged linearly above 1."""
        step = min(len(self.halves) - 1, max(0, int(-math.log2(scale) + 1e-9)))
        stack = self.halves[step].reshape(self.count, -1, *self.halves[step].shape[1:])
        rows, columns = -(-self.height // 2**step), -(-self.width // 2**step)
        width, height = (max(1, round(side * scale * 2**step)) for side in (columns, rows))
        how = cv2.INTER_AREA if scale <= 1 else cv2.INTER_LINEAR
        images = [cv2.resize(image[:rows, :columns], (width, height), interpolation=how) for image in stack]
        return Level(np.stack(images), (width / columns / 2**step, height / rows / 2**step))

    def crops(self, squares_xyxy: Array, owners: NDArray[np.intp], side: int) -> NDArray[np.uint8]:
        """Cut out squares and bring them to one size. Beyond a picture's edge its edge goes on.

        Args:
            squares_xyxy: float32 (k, 4), pixels of the picture.
            owners: which picture, integers (k,).
            side: of the result.

        Returns:
            uint8 (k, side, side, 3).
        """
        crops = np.empty((len(owners), side, side, 3), np.uint8)
        widths = np.maximum(squares_xyxy[:, 2] - squares_xyxy[:, 0], 1e-3)
        steps = np.clip(halvings_for(widths, side), 0, len(self.halves) - 1)
        for step in np.unique(steps):
            rows = np.flatnonzero(steps == step)
            for some in np.split(rows, range(_MOST_ROWS // side, len(rows), _MOST_ROWS // side)):
                crops[some] = self._crops_of(int(step), squares_xyxy[some], owners[some], side)
        return crops

    def _crops_of(self, step: int, squares_xyxy: Array, owners: NDArray[np.intp], side: int) -> NDArray[np.uint8]:
        """`crops` from one of the halves, between whose pixels it interpolates."""
        source = self.halves[step]
        rows = source.shape[0] // self.count
        places = (np.arange(side, dtype=np.float32) + 0.5) / side
        x1, y1, x2, y2 = (squares_xyxy / 2**step).T[:, :, None]
        x = np.clip(x1 + (x2 - x1) * places - 0.5, 0, self.width / 2**step - 1)
        y = np.clip(y1 + (y2 - y1) * places - 0.5, 0, self.height / 2**step - 1) + (owners * rows)[:, None]
        k = len(owners)
        map_x = np.broadcast_to(x[:, None, :], (k, side, side)).reshape(k * side, side)
        map_y = np.broadcast_to(y[:, :, None], (k, side, side)).reshape(k * side, side)
        cut = cv2.remap(source, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR)
        return np.asarray(cut, np.uint8).reshape(k, side, side, 3)


def halvings_for(widths: Array, side: int) -> NDArray[np.intp]:
    """How often to halve a picture so that squares of these widths come nearest to `side`."""
    return np.round(np.log2(widths / side)).astype(np.intp)


def scales(height: int, width: int, min_face_size: float, factor: float) -> list[float]:
    """The scales at which P-Net's window of 12 pixels sees faces of `min_face_size` and of larger sizes."""
    scale, result = SMALLEST / min_face_size, []
    while min(height, width) * scale >= SMALLEST:
        result.append(scale)
        scale *= factor
    return result


def _stack(images: Sequence[Image], multiple: int) -> NDArray[np.uint8]:
    height, width = images[0].shape[:2]
    below, right = -height % multiple, -width % multiple
    if len(images) == 1 and not below and not right:
        return np.ascontiguousarray(images[0])
    padded = np.empty((len(images), height + below, width + right, 3), np.uint8)
    for row, image in zip(padded, images, strict=True):
        row[:height, :width] = image
    padded[:, height:, :width] = padded[:, height - 1 : height, :width]
    padded[:, :, width:] = padded[:, :, width - 1 : width]
    return padded.reshape(-1, width + right, 3)
