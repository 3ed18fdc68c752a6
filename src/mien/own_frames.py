"""Frames that come from the user's own program, such as a capture loop, in place of a source that mien opens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np

from mien.errors import UsageError
from mien.frames import Clip, Frame
from mien.images import MAX_PIXELS, ImageLike, check_several, read_pixels
from mien.numeric import is_real


def frames_of(
    images: Iterable[ImageLike],
    *,
    fps: float = 30.0,
    name: str = "frames",
    bgr: bool = False,
    live: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Frame]:
    """Make a video of pictures, for `mien.Analyzer.analyze_frames`: faces keep their number and are smoothed.

    Args:
        images: one after the other, each as `mien.Analyzer.analyze` takes it.
        fps: how many there are a second, above 0.
        name: what rows and messages call it.
        bgr: whether arrays have OpenCV's order of colours.
        live: whether they come as they happen: each is analysed before the next is asked for, and its time is that of
            its coming. Otherwise up to `mien.frames.GROUP_FRAMES` are taken together, which is faster.
        max_pixels: larger pictures are refused.

    Yields:
        A frame for each.

    Raises:
        UsageError: `images` is a single picture or holds what is none; `fps` is not above 0.
        DataError: a picture cannot be read.
    """
    check_several(images, "for one, call analyze")
    if not is_real(fps) or not fps > 0:
        raise UsageError(f"fps: must be above 0, received {fps!r}")
    return _frames(images, fps, name, bgr, live, max_pixels)


def _frames(
    images: Iterable[ImageLike], fps: float, name: str, bgr: bool, live: bool, max_pixels: int
) -> Iterator[Frame]:
    clip: Clip | None = None
    begin = 0.0
    for index, image in enumerate(images):
        pixels = read_pixels(image, bgr=bgr, max_pixels=max_pixels)
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[:, :, None], 3, axis=2)
        now = time.monotonic() if live else index / fps
        if clip is None:
            clip, begin = Clip(name, float(fps), None, (pixels.shape[1], pixels.shape[0]), live), now
        yield Frame(name, index, now - begin, pixels, clip)
