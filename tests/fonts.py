"""A font for tests: Latin letters as blanks, and two signs that Matplotlib's own font lacks, as filled squares."""

from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

import mien.lettering

SIGNS = "\u5e78\u798f"
"""Happiness in Chinese and Japanese."""


def add_font(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write the font, and let `mien.lettering` find it behind those of the machine."""
    file = str(folder / "signs.ttf")
    signs = [*map(chr, range(32, 127)), *SIGNS]
    names = [".notdef", *(f"uni{ord(sign):04X}" for sign in signs)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(sign): name for sign, name in zip(signs, names[1:], strict=True)})
    builder.setupGlyf({name: _square(800 if name in names[-len(SIGNS) :] else 0) for name in names})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Signs", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(file)
    known = mien.lettering._wide_fonts()
    monkeypatch.setattr(mien.lettering, "_wide_fonts", lambda: (*known, file))
    return file


def _square(side: int):
    pen = TTGlyphPen(None)
    if side:
        pen.moveTo((0, 0))
        for corner in ((0, side), (side, side), (side, 0)):
            pen.lineTo(corner)
        pen.closePath()
    return pen.glyph()
