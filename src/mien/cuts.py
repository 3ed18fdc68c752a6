"""Cuts: where a video goes on with another scene, in which nobody is known from before."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.images import Image

Glance = NDArray[np.float32]

WIDTH, HEIGHT = 48, 32
"""Of the picture that is left of a frame, in pixels."""

_SAMPLED = 160
"""Of larger frames only so many rows and columns are looked at, or up to twice as many."""

_EDGE = 0.15
"""How far the middle of a frame may have moved to the next, as a share of its width and height."""

_ALIKE, _CHANGED = 0.5, 25.0
"""Frames are of two scenes where the middle of the first is found nowhere in the second with so much correlation, and
where they differ by so many grey levels, their brightness apart.

Chosen on pairs of photographs and of close-ups with the faces in the same place: most cuts are found, also between
faces, and no shift by a tenth of the frame, zoom by a tenth or turn by 5 degrees is taken for one."""

_PLAIN = 8.0
"""A picture whose grey levels vary by less shows nothing that could be compared: a frame that is black or white."""


def glance_at(image: Image) -> Glance:
    """What is left of a frame at a glance: float32 (`HEIGHT`, `WIDTH`), levels of grey or, where it has colours, green.

    Args:
        image: uint8 (height, width, 3) RGB or (height, width).
    """
    step = max(1, min(image.shape[:2]) // _SAMPLED)
    levels = image if image.ndim == 2 else image[:, :, 1]
    sampled = np.ascontiguousarray(levels[::step, ::step])
    return np.asarray(cv2.resize(sampled, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.float32)


def is_cut(before: Glance, after: Glance) -> bool:
    """Whether two frames, one after the other, are of two scenes."""
    difference = (before - before.mean()) - (after - after.mean())
    if float(np.abs(difference).mean()) < _CHANGED:
        return False
    top, left = round(_EDGE * HEIGHT), round(_EDGE * WIDTH)
    middle = np.ascontiguousarray(before[top:-top, left:-left])
    if min(float(middle.std()), float(after.std())) < _PLAIN:
        return False
    return float(cv2.matchTemplate(after, middle, cv2.TM_CCOEFF_NORMED).max()) < _ALIKE
