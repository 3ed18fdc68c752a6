"""Animations that come as pictures, GIF, WebP, PNG and AVIF, as videos: by Pillow, whole pictures in turn."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import IO

import PIL.Image

from mien.containers import HEAD
from mien.decoding import refuse_large, sane_fps
from mien.errors import DataError, many
from mien.headers import PNG_START
from mien.images import MAX_PIXELS, PILLOW_ERRORS, Image, to_rgb

ANIMATION_SUFFIXES = frozenset({".gif", ".webp", ".png", ".avif"})
"""Endings, in lower case, of pictures that may move."""

UNTOLD = 100.0
"""For how many milliseconds browsers show a picture that says ten or less."""

FIRST_PICTURES = 10
"""The rate is that of so many pictures at the beginning; the very first alone is often a title that stands longer."""

_WEBP_HEAD, _WEBP_MOVES = 21, 2
"""Bytes up to the flags of an extended WebP file, and the flag of animations (RFC 9649, section 2.7)."""

_BRANDS_END = 64
"""The brand of AVIF's image sequences stands within so many bytes, if it is there (AVIF specification, section 6.2)."""

_DAMAGE = (*PILLOW_ERRORS, struct.error, PIL.Image.DecompressionBombError)


def is_animation(path: str | Path) -> bool:
    """Whether a file is one of `ANIMATION_SUFFIXES` and `moves`; little of it is read, but of AVIF's sequences."""
    if Path(path).suffix.lower() not in ANIMATION_SUFFIXES:
        return False
    try:
        with Path(path).open("rb") as file:
            return moves(file)
    except (OSError, ValueError):
        return False


def may_move(head: bytes) -> bool:
    """Whether a file that begins so, with 64 bytes or more, is a GIF, or may be an animation of another kind."""
    return _kind(head) != ""


def _kind(head: bytes) -> str:
    """What Pillow calls the format of a file that begins so; "" for what does not move."""
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head[:4] == b"RIFF":
        flags = head[_WEBP_HEAD - 1 : _WEBP_HEAD]
        return "WEBP" if head[8:16] == b"WEBPVP8X" and any(flag & _WEBP_MOVES for flag in flags) else ""
    if head.startswith(PNG_START):
        return "PNG" if b"acTL" in head or b"IDAT" not in head else ""  # which comes before the pixels
    return "AVIF" if head[4:8] == b"ftyp" and b"avis" in head[8:_BRANDS_END] else ""


def moves(file: IO[bytes]) -> bool:
    """Whether a file, at its beginning, holds an animation of more than one picture. It is left anywhere in it."""
    kind = _kind(file.read(HEAD))
    if kind in ("", "WEBP"):  # for which Pillow would read the whole file
        return kind == "WEBP"
    file.seek(0)
    try:
        with _open(file) as picture:
            return (_count(picture) or 2) - _first_of(picture) > 1
    except _DAMAGE:
        return False


def _open(place: str | Path | IO[bytes]) -> PIL.Image.Image:
    """The animation, nothing of it decoded; our own limit on pixels is asked later."""
    if isinstance(place, str | Path):
        with Path(place).open("rb") as file:
            kind = _kind(file.read(HEAD))
    else:
        kind = _kind(place.read(HEAD))
        place.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        return PIL.Image.open(place, formats=[kind])


def _first_of(picture: PIL.Image.Image) -> int:
    """The number of the first picture; before it, PNG may have one for programs that show no animations."""
    return int(bool(picture.info.get("default_image")))


class AnimationDecoder:
    """Animations through Pillow; transparent parts are laid on white. See `mien.decoding.Decoder`."""

    def __init__(self, place: str | Path | IO[bytes]) -> None:
        """`place` is a path, or a file at its beginning, which stays open."""
        try:
            with _open(place) as picture:
                refuse_large(*picture.size, MAX_PIXELS)
                self._first = _first_of(picture)
                pictures = _count(picture)
                self.frames = None if pictures is None else pictures - self._first
                self.fps = sane_fps(1000 / median(self._first_durations(picture)))
            if not isinstance(place, str | Path):
                place.seek(0)
            self._picture = _open(place)  # Pillow may fail to go back in a PNG of several chunks a picture
        except _DAMAGE as error:
            raise DataError("cannot be decoded as an animation") from error
        self.exact = True
        self.seconds: float | None = None
        self.end: float | None = None
        self.damaged = 0
        self.finished = False
        self.max_pixels = MAX_PIXELS
        self.every = 1

    def _first_durations(self, picture: PIL.Image.Image) -> list[float]:
        """How long each of the first pictures is shown, which WebP and AVIF say once it is decoded."""
        durations = []
        try:
            for index in range(min(self.frames or 1, FIRST_PICTURES)):
                picture.seek(self._first + index)
                picture.load()
                durations.append(_milliseconds_of(picture))
        except _DAMAGE:
            if not durations:
                raise
        return durations

    def __iter__(self) -> Iterator[tuple[float | None, Image | None]]:
        """See `mien.decoding.Decoder`."""
        refuse_large(*self._picture.size, self.max_pixels)
        milliseconds = 0.0
        for index in count() if self.frames is None else range(self.frames):
            try:
                self._picture.seek(self._first + index)
                self._picture.load()
                image = None if index % self.every else to_rgb(self._picture)
            except _DAMAGE as error:
                raise DataError(f"ended after {many(index, 'frame')}; the file is cut off or damaged") from error
            yield milliseconds / 1000, image
            milliseconds += _milliseconds_of(self._picture)

    def close(self) -> None:
        """See `mien.decoding.Decoder`."""
        self._picture.close()


def _count(picture: PIL.Image.Image) -> int | None:
    """How many pictures there are; None where the file is cut off in such a way that they cannot be counted."""
    try:
        return int(getattr(picture, "n_frames", 1))
    except _DAMAGE:
        return None


def _milliseconds_of(picture: PIL.Image.Image) -> float:
    """How long the present picture is shown."""
    told = float(picture.info.get("duration") or 0)
    return told if told > 10 else UNTOLD
