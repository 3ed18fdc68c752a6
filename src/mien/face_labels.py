"""What stands beside a face in a drawn picture: its expression and its bars; see `mien.drawing.draw_faces`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mien.colours import UNCERTAIN_COLOUR, Colour, colours_of, ink_on
from mien.images import Image
from mien.lettering import Rectangle, draw_text, letter_size, shade, text_height, text_patch
from mien.results import Face

PANEL, WHITE, DIM, TRACK = (24, 26, 30), (255, 255, 255), (196, 200, 206), (68, 71, 77)
"""Colours of panels, of what is written on them, of what is less important there, of empty bars."""

_OPACITY = 0.9

_SIDE_OF_LINES = 16
"""A box is so many times as wide as its line, or more: a small face in a large picture stays to be seen."""


@dataclass(frozen=True)
class Style:
    """Sizes for one face, in pixels.

    Attributes:
        letters: height of the letters.
        line: width of the box's line.
        pad: room around text.
    """

    letters: int
    line: int
    pad: int

    @classmethod
    def of(cls, face: Rectangle, bounds: tuple[int, int]) -> Style:
        """Large pictures and large faces have large letters; neither alone decides."""
        side = min(bounds)
        usual = max(side / 40.0, min(side / 18.0, 14.0))
        wanted = min(max(0.16 * (face[3] - face[1]), 0.6 * usual), usual)
        letters = letter_size(wanted)
        narrow = round(min(face[2] - face[0], face[3] - face[1]) / _SIDE_OF_LINES)
        line = max(1 if side < 200 else 2, min(round(letters / 6), narrow))
        return cls(letters, line, max(1, round(letters / 3.5)))


@dataclass(frozen=True)
class Chip:
    """The line above a face: its track, its expression, how probable it is. Drawn where `Chip.draw` is told to.

    Attributes:
        parts: texts, the first on dark ground where `numbered`.
        colour: of the ground.
        style: sizes.
        numbered: whether the first part is the track's number.
    """

    parts: tuple[str, ...]
    colour: Colour
    style: Style
    numbered: bool

    @classmethod
    def of(cls, face: Face, name: str, style: Style, *, short: bool = False) -> Chip:
        """The chip of a face; the short one has the name only."""
        number = (f"{face.track_id}",) if face.track_id is not None and not short else ()
        share = () if short else (f"{face.confidence:.0%}",)
        colour = colours_of(tuple(face.probabilities)).get(face.expression, UNCERTAIN_COLOUR)
        return cls((*number, name, *share), colour, style, bool(number))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        widths = [text_patch(part, self.style.letters).shape[1] for part in self.parts]
        gaps = (len(widths) + 1 + self.numbered) * self.style.pad
        return sum(widths) + gaps, text_height(self.style.letters) + 2 * (self.style.pad // 3)

    def draw(self, image: Image, area: Rectangle) -> None:
        """Draw it into a rectangle of its `size`."""
        left, top, right, bottom = area
        pad, ink = self.style.pad, ink_on(self.colour)
        image[top:bottom, left:right] = self.colour
        x = left + pad
        for index, part in enumerate(self.parts):
            patch = text_patch(part, self.style.letters)
            dark = self.numbered and index == 0
            if dark:
                image[top:bottom, left : x + patch.shape[1] + pad] = PANEL
            draw_text(image, patch, x, top + pad // 3, WHITE if dark else ink)
            x += patch.shape[1] + pad * (2 if dark else 1)


@dataclass(frozen=True)
class Bars:
    """A panel with a bar for each class.

    Attributes:
        shares: class to probability.
        names: class to what is written.
        style: sizes.
        named: whether the names stand beside the bars.
    """

    shares: Mapping[str, float]
    names: Mapping[str, str]
    style: Style
    named: bool

    @cached_property
    def _letters(self) -> int:
        return letter_size(self.style.letters * 0.85)

    @cached_property
    def _row(self) -> int:
        return text_height(self._letters) if self.named else max(round(self.style.letters * 0.4), 3)

    @cached_property
    def _bar(self) -> int:
        return round(self.style.letters * (3.2 if self.named else 2.4))

    @cached_property
    def _name_width(self) -> int:
        if not self.named:
            return 0
        widths = [int(text_patch(self.names[name], self._letters).shape[1]) for name in self.shares]
        return max(widths) + self.style.pad

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        pad = self.style.pad
        return self._name_width + self._bar + 2 * pad, len(self.shares) * self._row + 2 * (pad // 2)

    def draw(self, image: Image, area: Rectangle) -> None:
        """Draw it into a rectangle of its `size`."""
        shade(image, area, PANEL, _OPACITY)
        colours = colours_of(tuple(self.shares))
        best = max(self.shares, key=self.shares.__getitem__)
        top, left = area[1] + self.style.pad // 2, area[0] + self.style.pad
        gap = max(1, self._row // 5)
        for name, share in self.shares.items():
            if self.named:
                patch = text_patch(self.names[name], self._letters)
                draw_text(image, patch, left, top, WHITE if name == best else DIM)
            start = left + self._name_width
            image[top + gap : top + self._row - gap, start : start + self._bar] = TRACK
            length = round(share * self._bar)
            image[top + gap : top + self._row - gap, start : start + length] = colours[name]
            top += self._row


def draw_box(image: Image, face: Rectangle, colour: Colour, line: int) -> None:
    """A rectangle in a colour, between two thin dark lines, which make it stand out of any ground."""
    left, top, right, bottom = face
    edge = max(1, line // 3)
    for grown, width, tone in ((0, line + 2 * edge, (0, 0, 0)), (edge, line, colour)):
        corners = (left + grown, top + grown), (right - 1 - grown, bottom - 1 - grown)
        _frame(image, *corners, width, tone)


def _frame(image: Image, first: tuple[int, int], last: tuple[int, int], width: int, colour: Colour) -> None:
    """A frame `width` wide, drawn inwards from its outer corners."""
    (x1, y1), (x2, y2) = first, last
    x1, y1 = max(x1, 0), max(y1, 0)
    ends = max(x2 + 1, x1), max(y2 + 1, y1)
    width = max(1, min(width, (ends[0] - x1) // 2, (ends[1] - y1) // 2))
    for rows, columns in (
        (slice(y1, y1 + width), slice(x1, ends[0])),
        (slice(max(ends[1] - width, y1), ends[1]), slice(x1, ends[0])),
        (slice(y1, ends[1]), slice(x1, x1 + width)),
        (slice(y1, ends[1]), slice(max(ends[0] - width, x1), ends[0])),
    ):
        image[rows, columns] = colour


def rectangle(face: Face, bounds: tuple[int, int]) -> Rectangle:
    """A face's box in whole pixels, cut to the picture, at least one pixel large."""
    limits = np.array([*bounds, *bounds])
    left, top, right, bottom = np.clip(np.rint(face.box.xyxy), 0, limits).astype(int).tolist()
    left, top = min(left, bounds[0] - 1), min(top, bounds[1] - 1)
    return left, top, max(right, left + 1), max(bottom, top + 1)
