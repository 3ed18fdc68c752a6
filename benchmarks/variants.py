"""Networks that differ from `vgg` and others in one thing each, for `accelerator.py`: which of them earns a place?

Two seeds of one network differ by 0.15 points with flip (standard deviation, ten seeds), so one run of 26 seconds each
shows half a point. A network that earns it moves to `mien.networks`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from mien.networks import NETWORKS

Map = keras.KerasTensor


def vgg(
    faces: Map,
    classes: int,
    *,
    side: int = 0,
    normed: bool = False,
    depths: tuple[int, ...] = (2, 2, 2, 2),
    pooling: Callable[..., Any] = layers.AveragePooling2D,
    after: Callable[[Map], Map] | None = None,
    residual: bool = False,
    places: bool = False,
    dropout: float = 0.3,
) -> Map:
    """`vgg` of `mien.networks`, but for what is asked.

    Args:
        faces: float32 (n, size, size, channels) in [0, 1].
        classes: how many there are.
        side: pixels to which pictures are enlarged first, 0 for none.
        normed: whether each picture gets mean 0 and deviation 1 first.
        depths: convolutions of the four stages.
        pooling: the layer between stages.
        after: what ends each stage.
        residual: whether each stage's first convolution is added to what the others make of it (He et al. 2016).
        places: whether the last map is averaged with learned weights for its places, a set for each channel, as
            faces stand where they stand.
        dropout: share of the last layer's inputs.

    Returns:
        Probabilities (n, classes).
    """
    x = layers.Resizing(side, side)(faces) if side else faces
    if normed:
        x = layers.LayerNormalization(axis=(1, 2, 3), center=False, scale=False)(x)
    for width, depth in zip((64, 128, 256, 512), depths, strict=True):
        if width > 64:
            x = layers.Dropout(0.1)(pooling(2)(x))
        x = first = _convolution(x, width)
        for _ in range(depth - 1):
            x = _convolution(x, width)
        x = layers.Add()([x, first]) if residual else x
        x = after(x) if after else x
    if places:
        x = layers.DepthwiseConv2D(x.shape[1], use_bias=False, depthwise_initializer="ones")(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return layers.Dense(classes, activation="softmax")(x)


def squeeze(x: Map) -> Map:
    """Channels weighed by what the whole picture shows (Hu et al. 2018)."""
    width = x.shape[-1]
    weights = layers.GlobalAveragePooling2D(keepdims=True)(x)
    weights = layers.Conv2D(width // 16, 1, activation="relu")(weights)
    return layers.Multiply()([x, layers.Conv2D(width, 1, activation="sigmoid")(weights)])


def look(x: Map) -> Map:
    """Places weighed by what stands there and around (Woo et al. 2018, the spatial half of CBAM)."""
    return layers.Multiply()([x, layers.Conv2D(1, 7, padding="same", activation="sigmoid")(x)])


def averaged_compact(faces: Map, classes: int) -> Map:
    """`compact` with an average where its stem has a stride."""
    x = _convolution(layers.AveragePooling2D(2)(_convolution(faces, 16)), 32)
    for width in (32, 64, 128, 256):
        x = layers.AveragePooling2D(2)(x) if width > 32 else x
        x = _block(_convolution(x, width), width)
    return _head(x, classes)


def averaged_residual(faces: Map, classes: int) -> Map:
    """`large` without squeeze-and-excitation, and with averages where it has strides (as He et al. 2019, ResNet-D)."""
    x = _convolution(faces, 64)
    for width in (64, 128, 256, 320):
        if width > 64:
            x = layers.AveragePooling2D(2)(x)
            x = _convolution(x, width, size=1, active=False)
        for _ in range(2):
            branch = _convolution(_convolution(x, width), width, active=False)
            x = layers.ReLU()(layers.Add()([x, branch]))
    return _head(x, classes)


def _block(x: Map, width: int) -> Map:
    return layers.ReLU()(layers.Add()([x, _convolution(x, width, active=False)]))


def _head(x: Map, classes: int) -> Map:
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    return layers.Dense(classes, activation="softmax")(x)


def _convolution(x: Map, width: int, *, size: int = 3, active: bool = True) -> Map:
    x = layers.Conv2D(width, size, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x) if active else x


VARIANTS: dict[str, dict[str, Any]] = {
    "vgg-places": {"places": True},
    "vgg-64": {"side": 64},
    "vgg-normed": {"normed": True},
    "vgg-squeeze": {"after": squeeze},
    "vgg-look": {"after": look},
    "vgg-deep": {"depths": (2, 3, 3, 2)},
    "vgg-residual": {"residual": True},
    "vgg-max": {"pooling": layers.MaxPooling2D},
    "vgg-dropped": {"dropout": 0.5},
}
"""Name to what differs."""


def register() -> None:
    """Let `mien.networks.network` build them, and any two of them together: vgg-max+64."""
    parts = {name.removeprefix("vgg-"): changes for name, changes in VARIANTS.items()}
    for count in (1, 2):
        for names in itertools.permutations(parts, count):
            changes = {key: value for name in names for key, value in parts[name].items()}
            NETWORKS[f"vgg-{'+'.join(names)}"] = functools.partial(vgg, **changes)
    NETWORKS["averaged-compact"] = averaged_compact
    NETWORKS["averaged-residual"] = averaged_residual
