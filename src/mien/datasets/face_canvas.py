"""A canvas on the sheet of a face: colours, masks with smooth edges, polygons and lines in head units."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets.face_surface import SUBPIXEL_BITS, Plane, Sheet, soften

Array = NDArray[np.float64]
Colour = Sequence[float] | Array

Window = tuple[slice, slice]
"""Rows and columns of a sheet."""


def tones(colour: Colour, channels: int) -> Plane:
    """An RGB colour in 0..1 as float32 (channels,): its luma for one channel."""
    if channels == 3:
        return np.asarray(colour, np.float32)
    red, green, blue = colour
    return np.array([0.299 * red + 0.587 * green + 0.114 * blue], np.float32)


def mix(first: Colour, second: Colour, share: float) -> Array:
    """The colour that is `share` of the way from the first to the second."""
    return np.asarray(first, float) * (1.0 - share) + np.asarray(second, float) * share


class Canvas:
    """Colour planes on a sheet, float32 (channels, rows, columns), 0..1 and a little above where light glints."""

    def __init__(self, sheet: Sheet, channels: int, ground: Colour) -> None:
        self.sheet = sheet
        self.channels = channels
        self.planes = np.empty((channels, *sheet.shape), np.float32)
        self.planes[:] = tones(ground, channels)[:, None, None]

    def tint(self, mask: Plane | float, colour: Colour) -> None:
        """Lay a colour over everything; mask is its opacity, float32 (rows, columns) in 0..1."""
        for plane, tone in zip(self.planes, tones(colour, self.channels), strict=True):
            plane += (tone - plane) * mask

    def polygons(
        self,
        shapes: Array,
        colour: Colour,
        opacity: float = 1.0,
        *,
        blur: float = 0.0,
        clip: Array | None = None,
    ) -> None:
        """Fill polygons.

        Args:
            shapes: float (k, n, 2), the n corners of each of k polygons, in head units.
            colour: RGB in 0..1.
            opacity: 0..1.
            blur: sigma of the softness of the edge, in head units.
            clip: polygons, shaped alike, that bound the paint.
        """
        self._paint(shapes, 0.0, colour, opacity, blur, clip)

    def lines(
        self,
        shapes: Array,
        width: float,
        colour: Colour,
        opacity: float = 1.0,
        *,
        blur: float = 0.0,
        clip: Array | None = None,
    ) -> None:
        """Draw open lines, `width` head units thick; the rest as for `polygons`."""
        self._paint(shapes, width, colour, opacity, blur, clip)

    def _paint(
        self,
        shapes: Array,
        width: float,
        colour: Colour,
        opacity: float,
        blur: float,
        clip: Array | None,
    ) -> None:
        scale = self.sheet.scale
        corners = self.sheet.fixed_point(shapes)
        window = self._window(corners, 2.0 + (3.0 * blur + width) * scale)
        if window is None or opacity <= 0.0:
            return
        mask = _coverage(corners, width * scale, window)
        if blur * scale > 0.3:
            mask = soften(mask, blur * scale)
        if clip is not None:
            bounds = _coverage(self.sheet.fixed_point(clip), 0.0, window)
            mask = cv2.multiply(mask, bounds, scale=1.0 / 255.0)
        weights = np.multiply(mask, np.float32(opacity / 255.0), dtype=np.float32)
        for plane, tone in zip(self.planes[:, *window], tones(colour, self.channels), strict=True):
            plane += (tone - plane) * weights

    def _window(self, corners: NDArray[np.int32], margin: float) -> Window | None:
        """Rows and columns around points in fixed point; None where they lie outside the sheet."""
        rows, columns = self.sheet.shape
        left, top, wide, high = cv2.boundingRect(corners.reshape(-1, 2))
        one = 1.0 / (1 << SUBPIXEL_BITS)
        first_row, last_row = max(0, int(top * one - margin)), min(rows, int((top + high) * one + margin) + 2)
        first_column, last_column = (
            max(0, int(left * one - margin)),
            min(columns, int((left + wide) * one + margin) + 2),
        )
        if last_row <= first_row or last_column <= first_column:
            return None
        return slice(first_row, last_row), slice(first_column, last_column)


def _coverage(corners: NDArray[np.int32], width: float, window: Window) -> NDArray[np.uint8]:
    """How far polygons (width 0) or lines cover each pixel of a window: uint8 in 0..255."""
    rows, columns = window
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    moved = list(corners - np.array((columns.start << SUBPIXEL_BITS, rows.start << SUBPIXEL_BITS), np.int32))
    if width <= 0.0:
        cv2.fillPoly(mask, moved, 255, cv2.LINE_AA, SUBPIXEL_BITS)
        return mask
    thickness = max(1, round(width))
    cv2.polylines(mask, moved, False, round(255 * min(1.0, width / thickness)), thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    return mask


_CIRCLE = np.stack([np.cos(np.arange(24) * np.pi / 12), np.sin(np.arange(24) * np.pi / 12)], axis=-1)


def ellipses(centres: Array, radius_u: float, radius_v: float) -> Array:
    """The corners of an ellipse around each centre (k, 2): float (k, 24, 2)."""
    return _CIRCLE * (radius_u, radius_v) + centres[:, None]
