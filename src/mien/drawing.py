"""Drawing on pictures: contact sheets of faces. Arrays are uint8, rows first, RGB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from mien.errors import UsageError
from mien.images import Image, resize

PAPER, INK, FAINT = (255, 255, 255), (33, 37, 41), (108, 117, 125)
"""Colours of sheets: background, captions, notes."""

MARGIN, GAP = 16, 4
"""Pixels around a sheet, and between two pictures."""

CAPTION_SIZE, CAPTION_HEIGHT = 18, 34
"""Height of a caption's letters, and of the line it stands on, in pixels."""


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
    large, small = ImageFont.load_default(CAPTION_SIZE), ImageFont.load_default(CAPTION_SIZE * 0.75)
    baseline = top + CAPTION_HEIGHT - 12
    draw.text((MARGIN, baseline), block.caption, INK, large, anchor="ls")
    left = MARGIN + draw.textlength(block.caption, large) + 12
    draw.text((left, baseline), block.note, FAINT, small, anchor="ls")


def _tile(image: Image, tile: int) -> PillowImage.Image:
    """A picture in the sheet's size and colours."""
    flat = image[..., 0] if image.shape[2] == 1 else image
    return PillowImage.fromarray(resize(np.ascontiguousarray(flat), tile)).convert("RGB")
