"""From encoded bytes to pixels: decode, resize. Arrays are uint8, rows first, RGB where they have colour."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".gif"})
"""File endings, in lower case, that are taken for images."""

Image = NDArray[np.uint8]


def is_image_name(name: str) -> bool:
    """Whether a file or archive member is named like an image; hidden files (``._x.jpg``) are not."""
    base = name.replace("\\", "/").rpartition("/")[2]  # not Path: this runs for each of a million files
    stem, dot, ending = base.rpartition(".")
    return dot + ending.lower() in IMAGE_SUFFIXES and bool(stem) and not stem.startswith(".")


def decode(data: bytes, *, channels: int = 3, name: str = "image") -> Image:
    """Decode an encoded image, upright as its EXIF orientation says.

    Args:
        data: the bytes of a JPEG, PNG, BMP, WebP, TIFF or another format that OpenCV reads.
        channels: 1 for grey, 3 for RGB.
        name: what the error calls the image.

    Returns:
        uint8 (height, width) for one channel, (height, width, 3) RGB for three.

    Raises:
        DataError: the bytes cannot be decoded.
    """
    flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    buffer = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(buffer, flag) if buffer.size else None
    except cv2.error:
        image = None
    if image is None:
        raise DataError("cannot be decoded as an image", [name])
    return np.asarray(image, np.uint8)


def read_image(path: str | Path, *, channels: int = 3) -> Image:
    """Read and `decode` a file.

    Raises:
        DataError: the file cannot be read or decoded.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", [str(path)]) from error
    return decode(data, channels=channels, name=str(path))


def resize(image: Image, size: int) -> Image:
    """Resize to a square: by area when shrinking, so that nothing aliases, linearly when enlarging.

    Args:
        image: uint8 (height, width) or (height, width, channels).
        size: side of the result in pixels.

    Returns:
        uint8 (size, size) or (size, size, channels); the image itself where it has that size.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    shrinks = height >= size and width >= size
    resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
