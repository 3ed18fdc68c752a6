"""Variation of training images, inside the compiled training step: one resampling for all the geometry.

`ImageDataGenerator` and chains of Keras's Random* layers resample once a transform, blurring each time. Here rotation,
shift, shear, zoom and mirroring are composed into one affine map, and each image is resampled once.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from mien.config import AUGMENTATIONS, AugmentationPolicy
from mien.degradation import RandomDegradation
from mien.preprocessing import SCALE


class RandomAffine(layers.Layer):
    """Rotate, shift, shear, zoom and mirror each image by random amounts in one bilinear resampling.

    Pixels from outside take the nearest edge's value. The maps are composed in the order of Keras's
    ``ImageDataGenerator``: output coordinates are zoomed, sheared, shifted, then rotated into input coordinates,
    all about the image's centre.

    Takes and gives float (n, height, width, channels); outside training it gives its input back.
    """

    def __init__(self, policy: AugmentationPolicy, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.policy = policy
        self.seed_generator = keras.random.SeedGenerator(seed_of(seed))

    def call(self, images: Any, training: bool = False) -> Any:
        """Vary the images while training."""
        if not training:
            return images
        _, height, width, _ = images.shape
        maps = self.matrices(ops.shape(images)[0], height, width)
        return ops.image.affine_transform(
            images, maps, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
        )

    def matrices(self, count: int, height: int, width: int) -> Any:
        """Draw `count` maps from output to input pixels, float32 (count, 8), as `keras.ops.image` takes them."""
        policy = self.policy
        angle = self._draw(count, math.radians(policy.rotation))
        shear = self._draw(count, math.radians(policy.shear))
        shift_x = self._draw(count, policy.shift * width)
        shift_y = self._draw(count, policy.shift * height)
        zoom_x = 1 + self._draw(count, policy.zoom)
        zoom_y = zoom_x if policy.zoom_together else 1 + self._draw(count, policy.zoom)
        if policy.flip:
            zoom_x = zoom_x * ops.sign(self._draw(count, 1.0))
        return compose_affine(angle, shift_x, shift_y, shear, zoom_x, zoom_y, height, width)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape does not change."""
        return input_shape

    def _draw(self, count: int, amount: float) -> Any:
        """Uniform from -amount to amount, (count,)."""
        return keras.random.uniform((count,), -amount, amount, dtype="float32", seed=self.seed_generator)


class TrainingSize(layers.Layer):
    """Shrink images while training, by area, to `size`; outside training it gives its input back.

    Whoever changes `size` must have the training function traced anew.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def call(self, images: Any, training: bool = False) -> Any:
        """Shrink the images while training, where they are not of the size already."""
        if not training or images.shape[1] == self.size:
            return images
        return ops.image.resize(
            images, (self.size, self.size), interpolation="bilinear", antialias=True, data_format="channels_last"
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As outside training: the shape does not change."""
        return input_shape


def compose_affine(
    angle: Any, shift_x: Any, shift_y: Any, shear: Any, zoom_x: Any, zoom_y: Any, height: int, width: int
) -> Any:
    """Compose rotation @ shift @ shear @ zoom about the centre of the image.

    Args:
        angle: radians, (n,).
        shift_x: pixels to the right, (n,).
        shift_y: pixels down, (n,).
        shear: radians, (n,).
        zoom_x: factor along x, negative to mirror, (n,).
        zoom_y: factor along y, (n,).
        height: of the image in pixels.
        width: of the image in pixels.

    Returns:
        float (n, 8): a0, a1, a2, b0, b1, b2, 0, 0 so that input x = a0 x + a1 y + a2 and y = b0 x + b1 y + b2.
    """
    cosine, sine = ops.cos(angle), ops.sin(angle)
    shear_sine, shear_cosine = ops.sin(shear), ops.cos(shear)
    a0, b0 = cosine * zoom_x, sine * zoom_x
    a1 = (-cosine * shear_sine - sine * shear_cosine) * zoom_y
    b1 = (-sine * shear_sine + cosine * shear_cosine) * zoom_y
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    a2 = cosine * shift_x - sine * shift_y + centre_x - a0 * centre_x - a1 * centre_y
    b2 = sine * shift_x + cosine * shift_y + centre_y - b0 * centre_x - b1 * centre_y
    zero = ops.zeros_like(a0)
    return ops.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1)


def seed_of(seed: int) -> int:
    """Within what every backend takes."""
    return seed % 2**31


def augmentation_layers(policy: AugmentationPolicy, seed: int = 0) -> list[keras.Layer]:
    """The Keras layers of a policy: float images in [0, 255] in and out, active only while training.

    All but those of `degradation_layers`, which come behind what teachers see.
    """
    stack: list[keras.Layer] = []
    contrast, erase = policy.contrast, policy.erase  # as pairs: a number alone is the upper end of a range from 0
    if policy.moves:
        stack.append(RandomAffine(policy, seed, dtype="float32", name="random_affine"))
    if contrast:
        stack.append(
            layers.RandomContrast((contrast, contrast), value_range=(0, 255), seed=seed_of(seed + 1), dtype="float32")
        )
    if policy.brightness:
        stack.append(
            layers.RandomBrightness(policy.brightness, value_range=(0, 255), seed=seed_of(seed + 2), dtype="float32")
        )
    if erase:
        eraser = layers.RandomErasing(
            factor=(erase, erase),
            scale=(0.02, 0.2),
            fill_value=127.0,
            value_range=(0, 255),
            seed=seed_of(seed + 3),
            dtype="float32",
        )
        stack.append(eraser)
    return stack


def degradation_layers(policy: AugmentationPolicy, seed: int = 0) -> list[keras.Layer]:
    """The Keras layers that spoil images: float32 in [0, 1] in and out, active only while training."""
    return [RandomDegradation(policy.degrade, seed_of(seed + 4))] if policy.degrade else []


def preview(
    images: NDArray[np.uint8], seed: int = 0, policy: AugmentationPolicy = AUGMENTATIONS["seed"]
) -> NDArray[np.uint8]:
    """Show what training will see.

    Args:
        images: uint8 (n, height, width, channels).
        seed: another seed varies them otherwise.
        policy: how they are varied.

    Returns:
        uint8 of the same shape.
    """
    varied = ops.convert_to_tensor(images.astype(np.float32))
    for layer in augmentation_layers(policy, seed):
        varied = layer(varied, training=True)
    for layer in degradation_layers(policy, seed):
        varied = layer(varied * np.float32(SCALE), training=True) / np.float32(SCALE)
    result = ops.convert_to_numpy(varied)
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)
