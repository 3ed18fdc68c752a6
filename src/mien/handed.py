"""Pictures that a program hands over: paths, bytes, arrays, Pillow images, opened files."""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import PIL.Image

from mien.addresses import without_secrets
from mien.errors import DataError, UsageError
from mien.filekinds import looks_like_video
from mien.finding import is_address
from mien.frames import Frame, in_utf8, printable
from mien.images import ImageLike, read_pixels
from mien.inline import is_inline


def read_handed(image: ImageLike, *, bgr: bool, max_pixels: int) -> Frame:
    """A picture as a detector takes it, with the name it came by.

    Args:
        image: what `mien.images.read_pixels` takes.
        bgr: whether an array's colours are in OpenCV's order.
        max_pixels: see `mien.images.decode`.

    Raises:
        UsageError: it is not one picture.
        DataError: it cannot be read or decoded.
    """
    source = in_utf8(str(image)) if isinstance(image, str | Path) and not is_inline(image) else None
    if isinstance(image, str) and is_address(image):
        shown = printable(without_secrets(image))
        raise UsageError(f"image: addresses are read by Analyzer.stream, received {shown}")
    if isinstance(image, list | tuple):  # which the types do not allow, and happens all the time
        raise UsageError(f"image: must be a picture, received a {type(image).__name__}; analyze_batch takes several")
    if source and os.path.isdir(source):  # noqa: PTH112  Path's fails where a text is too long for a path
        raise UsageError(f"image: must be a picture, received a folder, {source}; Analyzer.stream reads folders")
    try:
        pixels = read_pixels(image, bgr=bgr, max_pixels=max_pixels)
    except DataError as error:
        if source is not None and looks_like_video(Path(source)):
            raise DataError("is a video; Analyzer.stream reads videos", [source]) from error
        raise
    return Frame(source or "", 0, None, pixels, None)


def read_all(
    images: Sequence[ImageLike], read: Callable[[ImageLike], Frame], pool: ThreadPoolExecutor
) -> Iterator[Frame]:
    """All pictures in order, read by a pool's threads; what is open and comes several times, by the one that asks."""
    times = Counter(id(image) for image in images)
    here = [_is_open(image) and times[id(image)] > 1 for image in images]
    others = [image for image, shared in zip(images, here, strict=True) if not shared]
    ahead = pool.map(read, others)
    for image, shared in zip(images, here, strict=True):
        yield read(image) if shared else next(ahead)


def _is_open(image: object) -> bool:
    """Whether it is a Pillow image or an opened file, which only one thread may read."""
    return isinstance(image, PIL.Image.Image) or hasattr(image, "read")
