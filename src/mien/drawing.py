"""Drawing on pictures: what faces show, and contact sheets. Arrays are uint8, rows first, RGB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw

from mien.errors import UsageError
from mien.face_labels import Bars, Chip, Style, draw_box, rectangle
from mien.images import Image, resize
from mien.lettering import Rectangle, find_room, font_for
from mien.results import UNCERTAIN, Face

PAPER, INK, FAINT = (255, 255, 255), (33, 37, 41), (108, 117, 125)
"""Colours of sheets: background, captions, notes."""

MARGIN, GAP = 16, 4
"""Pixels around a sheet, and between two pictures."""

CAPTION_SIZE, CAPTION_HEIGHT = 18, 34
"""Height of a caption's letters, and of the line it stands on, in pixels."""

_ON_LABEL, _ON_FACE, _ON_OWN_FACE = 8.0, 3.0, 2.0
"""How bad it is to cover a pixel of another label, of another face, of the face itself."""

MOST_NAMED = 6
"""With more faces in a picture, bars have no names beside them: they would hide the people."""

_HIGHEST_PANEL = 1.6
"""How many times as high as its face a panel with names may be."""


def draw_faces(
    image: Image, faces: Sequence[Face], *, bars: bool = True, names: Mapping[str, str] | None = None
) -> Image:
    """Draw boxes, expressions and bars on a copy of a picture.

    Each face gets a box in the colour of its expression (`mien.colours`), a chip with its track's number, its
    expression and how probable that is, and, where there is free room, a panel with a bar for each class. Letters and
    lines grow with the picture and the face. Nothing leaves the picture; chips cover faces and each other only where
    there is no other room, and in pictures too small for letters they are left out.

    Args:
        image: uint8 (height, width), (height, width, 1) or (height, width, 3) RGB.
        faces: what to draw.
        bars: whether to draw the panels.
        names: class to what is written for it, where that is another word.

    Returns:
        uint8 (height, width, 3) RGB.
    """
    picture = _rgb_copy(image)
    bounds = (picture.shape[1], picture.shape[0])
    areas = [rectangle(face, bounds) for face in faces]
    styles = [Style.of(area, bounds) for area in areas]
    shown = [{name: (names or {}).get(name, name) for name in (*face.probabilities, UNCERTAIN)} for face in faces]
    taken = np.array([(*area, _ON_FACE) for area in areas], float).reshape(-1, 5)
    chips: list[tuple[Chip, Rectangle]] = []
    for index, face in enumerate(faces):
        chip = _place_chip(face, shown[index][face.expression], areas[index], styles[index], bounds, taken, index)
        if chip is not None:
            chips.append(chip)
            taken = np.vstack([taken, (*chip[1], _ON_LABEL)])
    for face, area, style in reversed(list(zip(faces, areas, styles, strict=True))):
        draw_box(picture, area, Chip.of(face, "", style).colour, style.line)
    for label, area in chips:
        label.draw(picture, area)
    if bars:
        for face, area, style, words in zip(faces, areas, styles, shown, strict=True):
            taken = _draw_bars(picture, face, words, area, style, taken, name_bars=len(faces) <= MOST_NAMED)
    return picture


def _rgb_copy(image: Image) -> Image:
    if image.ndim == 3 and image.shape[2] == 3:
        return np.array(image, np.uint8, order="C")
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2RGB), np.uint8)


def _place_chip(
    face: Face,
    name: str,
    area: Rectangle,
    style: Style,
    bounds: tuple[int, int],
    taken: NDArray[np.float64],
    index: int,
) -> tuple[Chip, Rectangle] | None:
    """A face's chip and where it goes: above, below, beside, and inside only if it must; None where none fits."""
    left, top, right, bottom = area
    weighted = taken.copy()
    weighted[index, 4] = _ON_OWN_FACE
    for short in (False, True):
        chip = Chip.of(face, name, style, short=short)
        width, height = chip.size
        if width <= bounds[0] and height <= bounds[1] // 2:
            sides = [(left, top - height), (right - width, top - height), (left, bottom), (right - width, bottom)]
            beside = [(right, top), (left - width, top), (right, bottom - height), (left - width, bottom - height)]
            inside = [(left, top), (left, bottom - height)]
            return chip, find_room(sides + beside + inside, (width, height), bounds, weighted)[0]
    return None


def _draw_bars(
    picture: Image,
    face: Face,
    names: Mapping[str, str],
    area: Rectangle,
    style: Style,
    taken: NDArray[np.float64],
    *,
    name_bars: bool,
) -> NDArray[np.float64]:
    """Draw a face's panel where it covers nothing, with names if they fit; what is taken then."""
    left, top, right, bottom = area
    bounds, gap = (picture.shape[1], picture.shape[0]), style.line
    for named in (True, False) if name_bars else (False,):
        panel = Bars(face.probabilities, names, style, named)
        width, height = panel.size
        too_high = named and height > _HIGHEST_PANEL * (bottom - top)
        if too_high or width > bounds[0] or height > bounds[1]:
            continue
        beside = [(right + gap, top), (left - gap - width, top)]
        lower = [(right + gap, bottom - height), (left - gap - width, bottom - height)]
        below = [(left, bottom + gap), (right - width, bottom + gap), (left, top - gap - height)]
        place_at, covered = find_room(beside + lower + below, (width, height), bounds, taken)
        if not covered:
            panel.draw(picture, place_at)
            return np.vstack([taken, (*place_at, _ON_LABEL)])
    return taken


@dataclass(frozen=True, eq=False)
class Block:
    """One captioned group of pictures on a sheet.

    Attributes:
        caption: what it is, drawn large.
        note: what there is to know of it, drawn beside it.
        images: uint8 (n, size, size, 1 or 3), laid out row by row.
    """

    caption: str
    note: str
    images: NDArray[np.uint8]

    def __post_init__(self) -> None:
        shape = self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
            raise UsageError(f"images: must be uint8 (n, size, size, 1 or 3), received {self.images.dtype} {shape}")


def contact_sheet(blocks: Sequence[Block], *, columns: int = 12, tile: int = 96) -> Image:
    """Lay out groups of pictures below each other.

    Args:
        blocks: the groups; one without pictures shows its caption only.
        columns: pictures in a row, 1 or more.
        tile: side of a picture on the sheet in pixels, 8 or more.

    Returns:
        uint8 (height, width, 3) RGB.

    Raises:
        UsageError: an argument is out of range.
    """
    if columns < 1 or tile < 8:
        raise UsageError(f"columns: must be at least 1, tile at least 8; received {columns} and {tile}")
    width = 2 * MARGIN + columns * (tile + GAP) - GAP
    heights = [_block_height(len(block.images), columns, tile) for block in blocks]
    sheet = PillowImage.new("RGB", (width, 2 * MARGIN + sum(heights)), PAPER)
    top = MARGIN
    for block, height in zip(blocks, heights, strict=True):
        _draw_block(sheet, block, top, columns, tile)
        top += height
    return np.asarray(sheet, np.uint8)


def _block_height(count: int, columns: int, tile: int) -> int:
    return CAPTION_HEIGHT + -(-count // columns) * (tile + GAP) + MARGIN // 2


def _draw_block(sheet: PillowImage.Image, block: Block, top: int, columns: int, tile: int) -> None:
    _draw_caption(sheet, block, top)
    for place, image in enumerate(block.images):
        row, column = divmod(place, columns)
        left = MARGIN + column * (tile + GAP)
        sheet.paste(_tile(image, tile), (left, top + CAPTION_HEIGHT + row * (tile + GAP)))


def _draw_caption(sheet: PillowImage.Image, block: Block, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    large, caption = font_for(block.caption, CAPTION_SIZE)
    small, note = font_for(block.note, CAPTION_SIZE * 0.75)
    baseline = top + CAPTION_HEIGHT - 12
    draw.text((MARGIN, baseline), caption, INK, large, anchor="ls")
    left = MARGIN + draw.textlength(caption, large) + 12
    draw.text((left, baseline), note, FAINT, small, anchor="ls")


def _tile(image: Image, tile: int) -> PillowImage.Image:
    """A picture in the sheet's size and colours."""
    flat = image[..., 0] if image.shape[2] == 1 else image
    return PillowImage.fromarray(resize(np.ascontiguousarray(flat), tile)).convert("RGB")
