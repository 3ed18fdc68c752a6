"""The networks, as stock Keras layers in float32: (n, size, size, channels) in [0, 1] to probabilities (n, classes).

How they run while training, in bfloat16 or with fused layers, is decided in `mien.backend`; what is saved is this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from mien.errors import UsageError, unknown_choice
from mien.labels import EXPRESSIONS
from mien.preprocessing import InputSpec


def _seed(classes: int) -> list[keras.Layer]:
    """The classroom network that mien grew from: 224,391 parameters on grey 48x48."""
    return [
        layers.Conv2D(32, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(32, activation="relu"),
        layers.BatchNormalization(),
        layers.Dense(classes, activation="softmax"),
    ]


def _vgg(classes: int) -> list[keras.Layer]:
    """VGG-like (Simonyan & Zisserman 2015): four stages of two 3x3 convolutions with batch norm, global average."""
    stack: list[keras.Layer] = []
    for width in (64, 128, 256, 512):
        stack += [*_conv_block(width), *_conv_block(width), layers.MaxPooling2D(), layers.Dropout(0.1)]
    stack.pop()
    return [*stack, layers.GlobalAveragePooling2D(), layers.Dropout(0.3), layers.Dense(classes, activation="softmax")]


def _conv_block(width: int) -> list[keras.Layer]:
    """3x3 convolution, batch norm, ReLU: foldable into one convolution when the model is used."""
    convolution = layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer="he_normal")
    return [convolution, layers.BatchNormalization(momentum=0.9), layers.ReLU()]


NETWORKS: dict[str, Callable[[int], list[Any]]] = {
    "seed": _seed,
    "vgg": _vgg,
}
"""Name to the function that lists the network's layers for a number of classes; `network` builds them."""


def network(
    name: str = "seed", *, size: int = 48, channels: int = 1, classes: int = len(EXPRESSIONS), seed: int | None = None
) -> keras.Model:
    """Build an untrained network.

    Args:
        name: one of `NETWORKS`.
        size: side of the square input in pixels; at least 16, as pooling halves it up to four times.
        channels: 1 for grey, 3 for RGB.
        classes: number of outputs, at least 2.
        seed: from which the first weights are drawn; None draws others each time.

    Returns:
        A Keras model: float32 (n, size, size, channels) in [0, 1] to probabilities (n, classes).

    Raises:
        UsageError: an unknown name, or numbers out of range.
    """
    check_network(name, size)
    if classes < 2:
        raise UsageError(f"classes: must be at least 2, received {classes}")
    spec = InputSpec(size, channels)
    stack = NETWORKS[name](classes)
    if seed is not None:
        _seed_initializers(stack, seed)
    return keras.Sequential([keras.Input(spec.shape, name="faces"), *stack], name=name)


def check_network(name: str, size: int) -> None:
    """Refuse a name or an input size that `network` could not build.

    Raises:
        UsageError: says what is allowed.
    """
    if name not in NETWORKS:
        raise unknown_choice("network", name, NETWORKS)
    if size < 16:
        raise UsageError(f"size: networks need at least 16 pixels, received {size}")


def _seed_initializers(stack: list[keras.Layer], seed: int) -> None:
    """Give every kernel initializer a stream of its own, so that equal seeds give equal weights."""
    for index, layer in enumerate(stack):
        kernel = getattr(layer, "kernel_initializer", None)
        if kernel is not None:
            fixed = {**kernel.get_config(), "seed": seed * 1000 + index}
            layer.kernel_initializer = type(kernel).from_config(fixed)
