"""Networks that differ from `vgg` in one thing each, for `accelerator.py --plan shapes`: which of them earns a place?

Two seeds of one network differ by 0.15 points with flip (standard deviation, ten seeds), so one run of 26 seconds each
shows half a point. A network that earns it moves to `mien.networks`.
"""

from __future__ import annotations

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
    pooling: Callable[..., Any] = layers.MaxPooling2D,
    after: Callable[[Map], Map] | None = None,
    residual: bool = False,
    places: bool = False,
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
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
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


def _convolution(x: Map, width: int) -> Map:
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


VARIANTS: dict[str, dict[str, Any]] = {
    "vgg-places": {"places": True},
    "vgg-64": {"side": 64},
    "vgg-normed": {"normed": True},
    "vgg-squeeze": {"after": squeeze},
    "vgg-look": {"after": look},
    "vgg-deep": {"depths": (2, 3, 3, 2)},
    "vgg-residual": {"residual": True},
    "vgg-mean": {"pooling": layers.AveragePooling2D},
}
"""Name to what differs."""


def register() -> None:
    """Let `mien.networks.network` build them."""
    for name, changes in VARIANTS.items():
        NETWORKS[name] = lambda faces, classes, changes=changes: vgg(faces, classes, **changes)
