"""Text as patches of alpha, rendered once and kept, and the placing of labels among faces.

Rectangles are whole pixels: left, upper, right, lower edge, the last two outside.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from math import log2
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from mien.colours import Colour
from mien.images import Image

Rectangle = tuple[int, int, int, int]
_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

SMALLEST_LETTERS = 8
"""Below this many pixels nobody can read."""

_LONGEST = 24
"""Longer names are cut, and end in two points."""

_WIDE_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf"),
    *("NotoSansCJK-Regular.ttc", "DroidSansFallbackFull.ttf", "wqy-microhei.ttc", "wqy-zenhei.ttc"),
    *("Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc", "msyh.ttc", "meiryo.ttc", "msgothic.ttc", "malgun.ttf"),
)
"""Fonts with many scripts: Linux, Linux and Android, macOS, Windows. Then those with Chinese, Japanese or Korean signs:
Linux, macOS and Windows."""

_NO_SIGN = "\uffff"
"""What no font has: it is drawn as all signs are that a font lacks."""


def letter_size(wanted: float) -> int:
    """A size of letters near the one wanted: steps of an eighth, so that few sizes are ever rendered."""
    step = round(8 * log2(max(wanted, SMALLEST_LETTERS) / SMALLEST_LETTERS))
    return round(SMALLEST_LETTERS * float(2.0 ** (step / 8)))


@lru_cache(maxsize=512)
def text_patch(text: str, size: int) -> NDArray[np.uint8]:
    """A line of text as alpha, uint8 (height, width); all texts of one size are equally high, on one baseline.

    ASCII is set in the font that Pillow brings along, and looks the same everywhere. For other signs a font of the
    machine is used; where there is none, accents are left out, and what then still lacks comes as boxes. Names longer
    than 24 signs and line breaks are cut.

    Args:
        text: what it says; may be empty.
        size: of the letters, in pixels.
    """
    shown = " ".join(text.split())
    shown = shown if len(shown) <= _LONGEST else shown[: _LONGEST - 2] + ".."
    font, shown = font_for(shown, size)
    left, _, right, _ = font.getbbox(shown, anchor="ls")
    width, height = max(int(np.ceil(right - min(left, 0))), 1), text_height(size)
    patch = PillowImage.new("L", (width, height), 0)
    ImageDraw.Draw(patch).text((-min(left, 0), round(size * 0.92)), shown, 255, font, anchor="ls")
    return np.asarray(patch, np.uint8)


def font_for(text: str, size: float) -> tuple[_Font, str]:
    """A font for a text, and the text as that font can show it."""
    file = font_file(text)
    if file is not None:
        return _font(file, size), text
    if text.isascii():
        return ImageFont.load_default(size), text
    apart = unicodedata.normalize("NFKD", text)
    return ImageFont.load_default(size), "".join(sign for sign in apart if not unicodedata.combining(sign))


def font_file(text: str) -> str | None:
    """The font of this machine for a text beyond ASCII: the first that has all of it, else the first there is."""
    if text.isascii():
        return None
    files = _wide_fonts()
    return next((file for file in files if _has_signs(file, text)), files[0] if files else None)


@lru_cache(maxsize=1)
def _wide_fonts() -> tuple[str, ...]:
    """Files of the fonts that are there."""
    spec = importlib.util.find_spec("matplotlib")
    folders = [Path(place) / "mpl-data" / "fonts" / "ttf" for place in (spec and spec.submodule_search_locations) or ()]
    found = []
    for name in [*_WIDE_FONTS, *(str(folder / _WIDE_FONTS[0]) for folder in folders)]:
        try:
            found.append(str(ImageFont.truetype(name, SMALLEST_LETTERS).path))
        except OSError:
            continue
    return tuple(found)


@lru_cache(maxsize=64)
def _font(file: str, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


def _has_signs(file: str, text: str) -> bool:
    """Whether a font has every sign of a text; Pillow tells only by how those look that it lacks."""
    font = _font(file, 4 * SMALLEST_LETTERS)
    lacking = bytes(font.getmask(_NO_SIGN))
    return all(bytes(font.getmask(sign)) != lacking for sign in set(text) if not sign.isascii() and sign.isprintable())


def text_height(size: int) -> int:
    """Height of `text_patch` in pixels: room for marks above and tails below."""
    return round(size * 1.2)


def draw_text(image: Image, patch: NDArray[np.uint8], x: int, y: int, colour: Colour) -> None:
    """Lay a patch of text on a picture, its upper left corner at (x, y); what sticks out is cut."""
    height, width = image.shape[:2]
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + patch.shape[1], width), min(y + patch.shape[0], height)
    if left >= right or top >= bottom:
        return
    alpha = cv2.cvtColor(patch[top - y : bottom - y, left - x : right - x], cv2.COLOR_GRAY2RGB)
    part = image[top:bottom, left:right]
    ink = cv2.multiply(alpha, (*colour, 0), scale=1.0 / 255.0)
    part[:] = cv2.add(cv2.multiply(part, cv2.bitwise_not(alpha), scale=1.0 / 255.0), ink)


def shade(image: Image, area: Rectangle, colour: Colour, opacity: float) -> None:
    """Lay a colour over a rectangle inside a picture; `opacity` 0 to 1."""
    left, top, right, bottom = area
    part = image[top:bottom, left:right]
    if part.size:
        under = cv2.multiply(part, (1.0 - opacity,) * 4)
        part[:] = cv2.add(under, (*(channel * opacity for channel in colour), 0))


def find_room(
    candidates: Sequence[tuple[int, int]], size: tuple[int, int], bounds: tuple[int, int], taken: NDArray[np.float64]
) -> tuple[Rectangle, float]:
    """Choose where to put a label: the first candidate that covers least.

    Args:
        candidates: upper left corners, in order of preference; they are shifted into the picture.
        size: width and height of the label.
        bounds: width and height of the picture.
        taken: float64 (n, 5): rectangles, and how bad it is to cover each of their pixels.

    Returns:
        The rectangle, inside the picture where it fits into it at all, and how bad it is: 0 where nothing is covered.
    """
    corners = np.array(candidates, float)
    corners = np.clip(corners, 0, np.maximum(np.array(bounds) - size, 0))
    low = np.maximum(corners[:, None], taken[None, :, :2])
    high = np.minimum((corners + size)[:, None], taken[None, :, 2:4])
    covered = np.prod(np.maximum(high - low, 0.0), axis=2) @ taken[:, 4]
    best = int(covered.argmin())
    left, top = corners[best].astype(int).tolist()
    return (left, top, left + size[0], top + size[1]), float(covered[best])
