"""What cameras, codecs and distance do to training images, inside the compiled training step.

So that faces that are small, blurred, noisy, compressed or dark are read too.
Blurring, reducing and JPEG's transform are linear along each axis, so each is a product with one matrix an image from
the left and from the right: without loops, and the same on every backend. Training on corrupted images is what
Rusak et al. 2020 ("A simple way to make neural networks robust against diverse image corruptions") and many before them
did. `mien.corruptions` makes the like, of fixed strengths, to judge by.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

KINDS = ("blur", "low resolution", "noise", "JPEG", "darkness")
"""What can happen to an image, each as likely as the others."""

MOST_BLUR = 0.05
"""Highest standard deviation of the Gaussian, as a share of the height: 2.4 pixels of 48."""

LEAST_RESOLUTION = 0.2
"""Smallest side that an image is reduced to before it is enlarged again, as a share of its own."""

MOST_NOISE = 0.2
"""Highest standard deviation of the noise, as a share of white."""

QUALITIES = (8.0, 80.0)
"""Of JPEG, from the worst to the best."""

LEAST_LIGHT = 0.15
"""Smallest factor that grey values are multiplied by."""

BLOCK = 8
"""Side of the squares that JPEG transforms."""

LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
"""Steps of quantisation at quality 50: ITU-T T.81 (JPEG), table K.1."""


class RandomDegradation(layers.Layer):
    """Spoil a share of the images, each by one of `KINDS` in a strength of its own, from none to strong.

    Takes and gives float32 (n, height, width, channels) in [0, 1]; outside training it gives its input back.
    """

    def __init__(self, share: float, seed: int = 0, **kwargs: Any) -> None:
        """Choose how many.

        Args:
            share: of the images that something happens to, above 0 to 1.
            seed: another seed spoils others.
            **kwargs: what Keras's layers take.
        """
        super().__init__(**{"dtype": "float32", **kwargs})
        self.share = share
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Spoil the images while training."""
        if not training:
            return images
        count = ops.shape(images)[0]
        kind = ops.floor(self._uniform((count,)) * (len(KINDS) / self.share))  # beyond the last: left alone
        strength = self._uniform((count,))
        return spoil(images, kind, strength, keras.random.normal(ops.shape(images), seed=self.seed_generator))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape does not change."""
        return input_shape

    def _uniform(self, shape: tuple[Any, ...]) -> Any:
        return keras.random.uniform(shape, seed=self.seed_generator)


def spoil(images: Any, kind: Any, strength: Any, noise: Any) -> Any:
    """Spoil each image by one kind of `KINDS`.

    Args:
        images: float32 (n, height, width, channels) in [0, 1].
        kind: places in `KINDS`, float32 (n,); others leave an image alone.
        strength: 0 to 1, float32 (n,).
        noise: normal draws, float32, the shape of `images`.

    Returns:
        float32 in [0, 1], the shape of `images`.
    """
    height, width = images.shape[1:3]

    def one(value: Any) -> Any:
        return ops.reshape(value, (-1, 1, 1, 1))

    def smoothing(side: int) -> Any:
        blurs = blurring(strength * (MOST_BLUR * height), side)
        return ops.where(one(kind)[..., 0] == 0, blurs, reducing(1 - strength * (1 - LEAST_RESOLUTION), side))

    smoothed = both_axes(smoothing(height), images, smoothing(width))
    versions = {
        0: smoothed,
        1: smoothed,
        2: images + one(strength) * MOST_NOISE * noise,
        3: compressed(images, QUALITIES[1] - strength * (QUALITIES[1] - QUALITIES[0])),
        4: images * (1 - one(strength) * (1 - LEAST_LIGHT)),
    }
    for place, version in versions.items():
        images = ops.where(one(kind) == place, ops.clip(version, 0, 1), images)
    return images


def blurring(sigma: Any, side: int) -> Any:
    """Matrices of a Gaussian of `sigma` pixels along an axis, (n,): float32 (n, side, side), each row summing to 1."""
    sigma = ops.reshape(ops.maximum(sigma, 1e-2), (-1, 1, 1))
    places = ops.arange(side, dtype="float32")
    weights = ops.exp(-(((places[:, None] - places[None]) / sigma) ** 2) / 2)
    return weights / ops.sum(weights, axis=-1, keepdims=True)


def reducing(share: Any, side: int) -> Any:
    """Matrices that reduce an axis by area to a share of its pixels, (n,), and enlarge it by lines between them."""
    cells = ops.reshape(ops.round(side * share), (-1, 1, 1))
    places = ops.arange(side, dtype="float32")
    width = side / cells
    first, pixel = places[:, None] * width, places[None]  # (n, cell, 1) and (1, pixel)
    shared = ops.minimum(pixel + 1, first + width) - ops.maximum(pixel, first)
    reduced = ops.maximum(shared, 0) / width
    at = ops.clip((places[:, None] + 0.5) / width - 0.5, 0, cells - 1)
    enlarged = ops.maximum(1 - ops.abs(at - places[None]), 0)
    return ops.matmul(enlarged, reduced)


def compressed(images: Any, quality: Any) -> Any:
    """Images as JPEG of a quality, (n,), leaves them; every channel with the table of luminance."""
    height, width = images.shape[1:3]
    rows, columns = cosines(height), cosines(width)
    tiles = np.tile(LUMINANCE, (-(-height // BLOCK), -(-width // BLOCK)))[:height, :width, None]
    table = ops.convert_to_tensor(tiles)
    scale = ops.where(quality < 50, 50 / quality, 2 - quality / 50)
    steps = ops.clip(ops.round(ops.reshape(scale, (-1, 1, 1, 1)) * table), 1, 255)
    found = ops.round(both_axes(rows, images * 255 - 128, columns) / steps) * steps
    return (both_axes(rows.T, found, columns.T) + 128) / 255


def cosines(side: int) -> NDArray[np.float32]:
    """The discrete cosine transform of each eight pixels of a line: orthonormal, (side, side).

    Where eight do not divide the side, the last block is smaller.
    """
    matrix = np.zeros((side, side), np.float32)
    for start in range(0, side, BLOCK):
        size = min(BLOCK, side - start)
        frequency, place = np.mgrid[:size, :size]
        waves = np.cos(math.pi * (2 * place + 1) * frequency / (2 * size)) * math.sqrt(2 / size)
        waves[0] /= math.sqrt(2)
        matrix[start : start + size, start : start + size] = waves
    return matrix


def both_axes(rows: Any, images: Any, columns: Any) -> Any:
    """Each channel of each image between two matrices, one for all images or one each: rows @ channel @ columns.T."""
    channels = ops.moveaxis(images, -1, 1)
    rows, columns = (m[:, None] if len(m.shape) == 3 else ops.convert_to_tensor(m) for m in (rows, columns))
    product = ops.matmul(ops.matmul(rows, channels), ops.swapaxes(columns, -1, -2))
    return ops.moveaxis(product, 1, -1)
