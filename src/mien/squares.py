"""Pixels that are not square: videos that are stored narrower or flatter than they are shown, as DV and television."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from mien.images import Image

LEAST, MOST = 1.01, 4.0
"""Pixels of which one side is less than so many times as long as the other count as square: encoders round. Those that
are said to be longer than that do too: nobody makes such videos."""


def pixel_shape(ratio: Any) -> float:
    """How many times as wide as high a pixel is shown; 1 where that is not said, or not believed.

    Args:
        ratio: as the container or codec says it; None or 0 where it does not.
    """
    shape = float(ratio or 1)
    return shape if LEAST <= max(shape, 1 / shape) <= MOST else 1.0


def shown_size(width: float, height: float, shape: float) -> tuple[int, int]:
    """Width and height with square pixels; neither is smaller than before, as in browsers."""
    return (round(width * shape), round(height)) if shape >= 1 else (round(width), round(height / shape))


def with_square_pixels(image: Image, shape: float) -> Image:
    """The picture as it is meant to be shown; itself where its pixels are square.

    Args:
        image: uint8 (height, width, 3) or (height, width), as it is stored.
        shape: see `pixel_shape`.

    Returns:
        uint8 of `shown_size`.
    """
    size_wh = shown_size(image.shape[1], image.shape[0], shape)
    if size_wh == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
