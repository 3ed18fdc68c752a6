"""The one path from face crops to a network's input. Training, evaluation and reading all go through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import UsageError
from mien.images import Image, resize
from mien.numeric import is_whole

SCALE = 1.0 / 255.0
"""What uint8 pixels are multiplied by: networks take float32 in [0, 1]."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a network takes: float32 (n, size, size, channels) in [0, 1].

    Attributes:
        size: side of the square input in pixels, 8 to 1024.
        channels: 1 for grey, 3 for RGB.
    """

    size: int = 48
    channels: int = 1

    def __post_init__(self) -> None:
        if not is_whole(self.size) or not 8 <= self.size <= 1024:
            raise UsageError(f"size: must be a whole number of pixels from 8 to 1024, received {self.size!r}")
        if not is_whole(self.channels) or self.channels not in (1, 3):
            raise UsageError(f"channels: must be 1 (grey) or 3 (RGB), received {self.channels!r}")
        for name in ("size", "channels"):  # NumPy's, which JSON does not take
            object.__setattr__(self, name, int(getattr(self, name)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(size, size, channels)."""
        return (self.size, self.size, self.channels)


def fit_image(image: Image, spec: InputSpec) -> Image:
    """Bring one picture to a network's size and colour.

    Args:
        image: uint8 (height, width), (height, width, 1) or (height, width, 3) RGB.
        spec: the network's input.

    Returns:
        uint8 (size, size, channels).

    Raises:
        UsageError: the array is not such an image.
    """
    if not isinstance(image, np.ndarray):
        raise UsageError(
            f"image: must be a NumPy array, received {type(image).__name__}; mien.images.read_image reads files"
        )
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise UsageError(
            f"image: must be uint8 (height, width) or (height, width, 1 or 3), received {image.dtype} {image.shape}"
        )
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 3 and spec.channels == 1:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    image = resize(image, spec.size)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], spec.channels, axis=2)
    return image


def fit_images(images: Sequence[Image], spec: InputSpec) -> NDArray[np.uint8]:
    """`fit_image` for many: uint8 (n, size, size, channels); no images give (0, size, size, channels)."""
    batch = np.empty((len(images), *spec.shape), np.uint8)
    for index, image in enumerate(images):
        batch[index] = fit_image(image, spec)
    return batch


def to_input(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 in 0..255 to float32 in [0, 1], same shape."""
    return np.multiply(batch, np.float32(SCALE), dtype=np.float32)
