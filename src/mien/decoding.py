"""What all decoders of videos share: their protocol, what they open, their limits."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any, Protocol

from mien.errors import DataError
from mien.images import Image

DEFAULT_FPS = 25.0
"""For what does not say."""

MAX_FPS = 1000.0
"""More than that is a clock's rate, not a video's."""

BACK_SECONDS = 0.5
"""Where the container's clock goes back further, another recording begins, as in files that were put together: its
frames and its sound follow those before."""


class Decoder(Protocol):
    """An opened video. Used by one thread; close it.

    Attributes:
        fps: frames a second, on average.
        frames: how many there are; None where unknown.
        exact: whether `frames` was counted by whoever wrote the file, not worked out from its length.
        seconds: how long it is; None where unknown.
        end: seconds up to which anything, sound included, was found so far; None where that is not watched.
        damaged: once all was decoded: how many frames of a file that counts them could not be; 0 where that is not
            watched.
        finished: whether the end of a live source is its proper end.
        max_pixels: larger frames are refused; moved before the first is asked for.
        every: pictures are wanted of every so-many-th frame, from the first on; moved before the first is asked for.
    """

    fps: float
    frames: int | None
    exact: bool
    seconds: float | None
    end: float | None
    damaged: int
    finished: bool
    max_pixels: int
    every: int

    def __iter__(self) -> Iterator[tuple[float | None, Image | None]]:
        """(Seconds on the container's clock or None, uint8 (height, width, 3) RGB); None for pictures not wanted.

        Raises:
            DataError: a frame is too large, or after all there were: the file object failed.
        """

    def close(self) -> None:
        """Let go of the file."""


Place = str | int | io.RawIOBase
"""What is opened: a path or address as FFmpeg takes it, a webcam's number, or a file object that never raises: it ends,
and its `failure`, where it has one, is the `DataError` that says why."""


def raise_failure(place: Place) -> None:
    """Say what went wrong in a file object.

    Raises:
        DataError: its `failure`.
    """
    failure: DataError | None = getattr(place, "failure", None)
    if failure is not None:
        raise failure


class LargeFrameError(DataError):
    """A video's frames have more pixels than are allowed."""


def refuse_large(width: float, height: float, max_pixels: int) -> None:
    """Refuse frames of more than `max_pixels`.

    Raises:
        LargeFrameError: they have more.
    """
    if width * height > max_pixels:
        raise LargeFrameError(f"frames of {width:.0f} x {height:.0f} pixels are more than the {max_pixels:,} allowed")


def sane_fps(rate: Any) -> float:
    """The rate as a number; `DEFAULT_FPS` where it is none that a video has."""
    fps = float(rate) if rate else 0.0
    return fps if math.isfinite(fps) and 0 < fps <= MAX_FPS else DEFAULT_FPS
