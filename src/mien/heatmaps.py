"""Maps drawn over pictures: orange where a place speaks for an expression, blue where it speaks against it."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.colours import UNCERTAIN_COLOUR, Colour, colours_of
from mien.errors import UsageError
from mien.face_labels import Chip, Style
from mien.images import Image, resize
from mien.lettering import letter_size

FOR, AGAINST = (240, 90, 0), (0, 114, 178)
"""Orange and Okabe and Ito's blue, which colour-blind people tell apart."""

OPACITY = 0.7
"""Of the strongest place; weaker ones let more of the face through."""

FAINTEST = 0.02
"""A map is drawn at full strength from this value on: where covering changes probabilities by less than two points
nothing is made to look strong."""

Square = tuple[float, float, float]
"""Centre x, centre y and side, in pixels of a picture; see `mien.framing.square`."""


def shade_map(image: Image, one: NDArray[np.float32], square: Square | None = None, angle: float = 0.0) -> Image:
    """Lay a map over a picture.

    Args:
        image: uint8 (height, width), (height, width, 1) or (height, width, 3) RGB.
        one: float32 (size, size), above 0 where the picture speaks for the class. Its largest absolute value, and
            `FAINTEST` at least, is drawn at full strength.
        square: where the map lies in the picture; None: it covers the whole.
        angle: degrees by which the square is turned clockwise.

    Returns:
        uint8 (height, width, 3) RGB, a copy.

    Raises:
        UsageError: the map is not a square of finite numbers.
    """
    if one.ndim != 2 or one.shape[0] != one.shape[1] or not np.isfinite(one).all():
        raise UsageError(f"map: must be (size, size) finite numbers, received {one.dtype} {one.shape}")
    picture = to_colour(image)
    height, width = picture.shape[:2]
    if square is None:
        one = np.asarray(cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        left, top = 0, 0
    else:
        one, left, top = _place(one, square, angle, (width, height))
    if one.size:
        part = picture[top : top + one.shape[0], left : left + one.shape[1]]
        part[:] = _blend(part, one / max(float(np.abs(one).max()), FAINTEST))
    return picture


def to_colour(image: Image) -> Image:
    """A copy as uint8 (height, width, 3) RGB."""
    if image.ndim == 3 and image.shape[2] == 3:
        return np.array(image, np.uint8, order="C")
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2RGB), np.uint8)


def captioned(image: Image, words: tuple[str, ...], colour: Colour, tile: int) -> Image:
    """A square picture with a line of words in its upper left corner, away from the mouth.

    Args:
        image: uint8 (size, size, 1 or 3).
        words: what it says; the last are left out where there is no room.
        colour: the ground of the words.
        tile: side of the result in pixels, 32 or more.

    Returns:
        uint8 (tile, tile, 3) RGB.
    """
    picture = to_colour(resize(image, tile))
    letters = letter_size(tile / 8)
    style = Style(letters, 1, max(2, letters // 4))
    for count in range(len(words), 0, -1):
        chip = Chip(words[:count], colour, style, numbered=False)
        width, height = chip.size
        if width <= tile and height <= tile:
            chip.draw(picture, (0, 0, width, height))
            break
    return picture


def class_colour(classes: tuple[str, ...], name: str) -> Colour:
    """The colour of one of a model's classes, or of an uncertain answer; see `mien.colours`."""
    return colours_of(classes).get(name, UNCERTAIN_COLOUR)


def _place(
    one: NDArray[np.float32], square: Square, angle: float, size_wh: tuple[int, int]
) -> tuple[NDArray[np.float32], int, int]:
    """The part of a turned and scaled map that lies in a picture, and its upper left corner there."""
    x, y, side = square
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    reach = side / 2 * (abs(cosine) + abs(sine))
    left, right = (min(max(round(edge), 0), size_wh[0]) for edge in (x - reach, x + reach))
    top, bottom = (min(max(round(edge), 0), size_wh[1]) for edge in (y - reach, y + reach))
    if left >= right or top >= bottom:
        return np.empty((0, 0), np.float32), left, top
    turn = np.array([[cosine, -sine], [sine, cosine]]) * side / len(one)
    middle = np.full(2, (len(one) - 1) / 2)  # OpenCV counts from the middle of a pixel
    shift = np.array([x - 0.5 - left, y - 0.5 - top]) - turn @ middle
    placed = cv2.warpAffine(one, np.column_stack([turn, shift]), (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    return np.asarray(placed, np.float32), left, top


def _blend(part: Image, strength: NDArray[np.float32]) -> Image:
    """Colours over a picture (height, width, 3); strength from -1 to 1."""
    tint = np.where(strength[..., None] > 0, np.asarray(FOR, np.float32), np.asarray(AGAINST, np.float32))
    alpha = (OPACITY * np.abs(strength))[..., None]
    return np.asarray(np.rint(part * (1 - alpha) + tint * alpha), np.uint8)
