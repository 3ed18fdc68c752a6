"""Contact sheets: every picture stands where it should, in its own colours."""

import numpy as np
import pytest

from mien.drawing import CAPTION_HEIGHT, GAP, MARGIN, Block, contact_sheet
from mien.errors import UsageError


def flat(*colours: tuple[int, ...]) -> np.ndarray:
    """One 8x8 picture of each colour."""
    return np.stack([np.full((8, 8, len(colour)), colour, np.uint8) for colour in colours])


def test_pictures_stand_row_by_row_below_their_caption():
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    sheet = contact_sheet([Block("three", "colours", flat(*colours))], columns=2, tile=16)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1:] == (2 * MARGIN + 2 * 16 + GAP, 3)
    top = MARGIN + CAPTION_HEIGHT
    for place, colour in enumerate(colours):
        y, x = top + place // 2 * (16 + GAP), MARGIN + place % 2 * (16 + GAP)
        assert (sheet[y : y + 16, x : x + 16] == colour).all()
    assert (sheet[top + 16 + GAP :, MARGIN + 16 + GAP :] == 255).all()


def test_captions_are_drawn():
    bare = contact_sheet([Block("", "", flat((9,)))])
    captioned = contact_sheet([Block("happy", "7,215 faces", flat((9,)))])
    rows = np.flatnonzero((bare != captioned).any(axis=(1, 2)))
    assert len(rows) > 8
    assert MARGIN <= rows.min() <= rows.max() < MARGIN + CAPTION_HEIGHT


def test_grey_is_drawn_as_grey():
    sheet = contact_sheet([Block("", "", flat((77,)))], columns=1, tile=8)
    top = MARGIN + CAPTION_HEIGHT
    assert (sheet[top : top + 8, MARGIN : MARGIN + 8] == 77).all()


def test_blocks_stand_below_each_other():
    one, empty = Block("one", "", flat((1,))), Block("none", "", np.empty((0, 8, 8, 1), np.uint8))
    heights = [contact_sheet(blocks, tile=8).shape[0] for blocks in ([], [one], [empty], [one, empty, one])]
    assert heights[0] == 2 * MARGIN
    assert heights[3] - heights[0] == 2 * (heights[1] - heights[0]) + heights[2] - heights[0]


@pytest.mark.parametrize(
    "images", [np.zeros((1, 8, 8, 1)), np.zeros((8, 8, 1), np.uint8), np.zeros((1, 8, 8, 4), np.uint8)]
)
def test_other_arrays_are_refused(images):
    with pytest.raises(UsageError, match="images: must be uint8"):
        Block("x", "", images)


@pytest.mark.parametrize("options", [{"columns": 0}, {"tile": 7}])
def test_arguments_out_of_range(options):
    with pytest.raises(UsageError, match="columns: must be at least 1, tile at least 8"):
        contact_sheet([], **options)
