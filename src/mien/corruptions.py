"""What happens to pictures outside the laboratory, in five strengths each: blur, noise, JPEG, darkness...

After Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
2019. They are made of the picture as the network takes it; sizes are shares of its side, so that they mean the same for
networks of any input size. The strengths are our own, chosen for faces of 48 pixels, so scores compare with each other
and not with the paper's.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import UsageError, unknown_choice
from mien.images import Image

STRENGTHS: tuple[int, ...] = (1, 2, 3, 4, 5)
"""From hardly to be seen to hardly to be recognised."""

BLUR = (0.01, 0.02, 0.03, 0.045, 0.06)
"""Standard deviation of a Gaussian, as a share of the picture's side: 0.5 to 2.9 pixels of 48."""

NOISE = (0.04, 0.08, 0.12, 0.18, 0.26)
"""Standard deviation of Gaussian noise, as a share of white, each channel by itself."""

JPEG = (60, 40, 25, 15, 7)
"""Quality, 0 to 100."""

DARKNESS = (0.7, 0.5, 0.35, 0.2, 0.1)
"""What every value is multiplied by, then rounded: of 256 levels, 26 are left at the last."""

ROTATION = (5.0, 10.0, 15.0, 22.0, 30.0)
"""Degrees, to either side by chance; the edge is repeated."""

OCCLUSION = (0.05, 0.1, 0.15, 0.2, 0.3)
"""Share of the picture under a mid-grey square, anywhere in it."""

LOW_RESOLUTION = (0.6, 0.45, 0.33, 0.25, 0.17)
"""Side that the picture is reduced to and enlarged from again, as a share of its own: 29 to 8 pixels of 48."""

GREY = 128

Corruption = Callable[[Image, int, np.random.Generator], NDArray[np.uint8]]
"""Picture uint8 (side, side, channels), strength 1 to 5 and chance, to a picture of the same shape."""


def _blur(image: Image, strength: int, rng: np.random.Generator) -> Image:
    del rng
    sigma = BLUR[strength - 1] * image.shape[0]
    return _uint8(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))


def _noise(image: Image, strength: int, rng: np.random.Generator) -> Image:
    return _uint8(image + rng.normal(0, 255 * NOISE[strength - 1], image.shape))


def _jpeg(image: Image, strength: int, rng: np.random.Generator) -> Image:
    del rng
    # OpenCV has blue first, which matters to the loss of colour in JPEG.
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG[strength - 1]])
    flag = cv2.IMREAD_GRAYSCALE if image.shape[2] == 1 else cv2.IMREAD_COLOR_RGB
    return np.asarray(cv2.imdecode(encoded, flag), np.uint8)


def _darkness(image: Image, strength: int, rng: np.random.Generator) -> Image:
    del rng
    return _uint8(image * DARKNESS[strength - 1])


def _rotation(image: Image, strength: int, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    degrees = ROTATION[strength - 1] * rng.choice((-1.0, 1.0))
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return _uint8(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE))


def _occlusion(image: Image, strength: int, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    side = max(1, round((OCCLUSION[strength - 1] * height * width) ** 0.5))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    covered = image.copy()
    covered[top : top + side, left : left + side] = GREY
    return covered


def _low_resolution(image: Image, strength: int, rng: np.random.Generator) -> Image:
    del rng
    height, width = image.shape[:2]
    small = [max(1, round(LOW_RESOLUTION[strength - 1] * side)) for side in (width, height)]
    reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return _uint8(cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR))


CORRUPTIONS: dict[str, Corruption] = {
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "darkness": _darkness,
    "rotation": _rotation,
    "occlusion": _occlusion,
    "low resolution": _low_resolution,
}
"""What can happen to a picture, by name."""


def corrupt(images: NDArray[np.uint8], name: str, strength: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Spoil pictures, each by chance that follows from (seed, name, strength, its place) alone.

    Args:
        images: uint8 (n, side, side, channels); n may be 0.
        name: a key of `CORRUPTIONS`.
        strength: one of `STRENGTHS`.
        seed: 0 or more.

    Returns:
        uint8 of the same shape; `images` stay as they are.

    Raises:
        UsageError: an argument is none of these.
    """
    if name not in CORRUPTIONS:
        raise unknown_choice("corruption", name, CORRUPTIONS)
    if strength not in STRENGTHS:
        raise UsageError(f"strength: must be from {STRENGTHS[0]} to {STRENGTHS[-1]}, received {strength!r}")
    if seed < 0:
        raise UsageError(f"seed: must be 0 or more, received {seed}")
    if images.dtype != np.uint8 or images.ndim != 4:
        raise UsageError(f"images: must be uint8 (n, side, side, channels), received {images.dtype} {images.shape}")
    spoilt = np.empty_like(images)
    for place, image in enumerate(images):
        rng = np.random.default_rng((seed, zlib.crc32(name.encode()), strength, place))
        spoilt[place] = CORRUPTIONS[name](image, strength, rng).reshape(image.shape)
    return spoilt


def _uint8(values: NDArray[np.generic]) -> Image:
    """Rounded to 0..255."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
