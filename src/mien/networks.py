"""The networks, as stock Keras layers in float32: (n, size, size, channels) in [0, 1] to probabilities (n, classes).

How they run while training, in bfloat16 or with fused layers, is decided in `mien.backend`; what is saved is this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import keras
from keras import layers

from mien.errors import UsageError, unknown_choice
from mien.labels import EXPRESSIONS
from mien.numeric import is_whole
from mien.preprocessing import InputSpec

Builder = Callable[[keras.KerasTensor, int], keras.KerasTensor]
"""From the input and the number of classes to the probabilities."""


def _seed(faces: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """The classroom network that mien grew from: 224,391 parameters on grey 48x48."""
    x = faces
    for width in (32, 64):
        x = layers.Conv2D(width, 3, activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(32, activation="relu")(x)
    x = layers.BatchNormalization()(x)
    return layers.Dense(classes, activation="softmax")(x)


def _vgg(faces: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """VGG-like (Simonyan & Zisserman 2015): four stages of two 3x3 convolutions with batch norm, global average.

    Stages are joined by averages where the paper has maxima: 0.5 points more with flip, 0.9 with one view
    (docs/training-log.md).
    """
    return _plain_stages(faces, classes, widths=(64, 128, 256, 512))


def _slim(faces: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """`vgg` three quarters as wide: 2.64 M parameters, 528 MFLOP."""
    return _plain_stages(faces, classes, widths=(48, 96, 192, 384))


def _plain_stages(faces: keras.KerasTensor, classes: int, *, widths: tuple[int, ...]) -> keras.KerasTensor:
    """Two convolutions a stage, and averages between stages, as in `_smooth_stages`."""
    x = faces
    for index, width in enumerate(widths):
        if index:
            x = layers.Dropout(0.1)(layers.AveragePooling2D(2)(x))
        x = _convolution(_convolution(x, width), width)
    return _head(x, classes)


def _small(faces: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Four short residual stages after a stem that halves the picture: 1.19 M parameters, 69 MFLOP on grey 48x48.

    Nothing but 3x3 convolutions, batch norm (which folds into them), ReLU and additions (He et al. 2016): what a CPU
    runs fastest.
    """
    x = _convolution(faces, 32, stride=2)
    for width in (32, 64, 128, 256):
        if width > 32:
            x = layers.MaxPooling2D()(x)
        shortcut = _convolution(x, width)
        x = layers.ReLU()(layers.Add()([shortcut, _convolution(shortcut, width, active=False)]))
    return _head(x, classes)


def _compact(faces: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """`small` with a look at full size before the stride, and average pooling: 1.19 M parameters, 75 MFLOP."""
    return _smooth_stages(faces, classes, stem=16, widths=(32, 64, 128, 256))


def _medium(faces: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """`compact` about twice as wide: 3.41 M parameters, 263 MFLOP."""
    return _smooth_stages(faces, classes, stem=16, widths=(64, 128, 256, 384))


def _smooth_stages(faces: keras.KerasTensor, classes: int, *, stem: int, widths: tuple[int, ...]) -> keras.KerasTensor:
    """Short residual stages that shrink by averages, so that answers depend less on where exactly a face lies.

    Strides and max pooling alias (Zhang 2019, "Making convolutional networks shift-invariant again"). All of it folds
    into 3x3 convolutions.
    """
    x = _convolution(_convolution(faces, stem), widths[0], stride=2)
    for index, width in enumerate(widths):
        if index:
            x = layers.AveragePooling2D(2)(x)
        shortcut = _convolution(x, width)
        x = layers.ReLU()(layers.Add()([shortcut, _convolution(shortcut, width, active=False)]))
    return _head(x, classes)


def _large(faces: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """SE-ResNet-18 (He et al. 2016, Hu et al. 2018) with a stem for small pictures: 6.4 M parameters, 2.1 GFLOP.

    The first stage works at full size, the last is narrower than in the paper, and each residual branch ends in
    squeeze-and-excitation.
    """
    x = _convolution(faces, 64)
    for width in (64, 128, 256, 320):
        x = _se_block(x, width, stride=1 if width == 64 else 2)
        x = _se_block(x, width, stride=1)
    return _head(x, classes)


def _se_block(x: keras.KerasTensor, width: int, *, stride: int) -> keras.KerasTensor:
    """Two 3x3 convolutions whose channels are weighed by what the whole picture shows, added to the input."""
    branch = _convolution(_convolution(x, width, stride=stride), width, active=False)
    weights = layers.GlobalAveragePooling2D(keepdims=True)(branch)
    weights = layers.Conv2D(width // 16, 1, activation="relu")(weights)
    weights = layers.Conv2D(width, 1, activation="sigmoid")(weights)
    branch = layers.Multiply()([branch, weights])
    if stride > 1 or x.shape[-1] != width:
        x = _convolution(x, width, size=1, stride=stride, active=False)
    return layers.ReLU()(layers.Add()([x, branch]))


def _convolution(
    x: keras.KerasTensor, width: int, *, size: int = 3, stride: int = 1, active: bool = True
) -> keras.KerasTensor:
    """Convolution, batch norm, ReLU: foldable into one convolution when the model is used."""
    x = layers.Conv2D(width, size, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x) if active else x


def _head(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Global average, dropout, one dense layer."""
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    return layers.Dense(classes, activation="softmax")(x)


NETWORKS: dict[str, Builder] = {
    "seed": _seed,
    "vgg": _vgg,
    "slim": _slim,
    "small": _small,
    "compact": _compact,
    "medium": _medium,
    "large": _large,
}
"""Name to the function that puts the network's layers on an input; `network` builds them."""


def network(
    name: str = "seed", *, size: int = 48, channels: int = 1, classes: int = len(EXPRESSIONS), seed: int | None = None
) -> keras.Model:
    """Build an untrained network.

    Args:
        name: ``seed``, ``small``, ``compact``, ``medium``, ``slim``, ``large`` or ``vgg``: a key of `NETWORKS`.
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
    if not is_whole(classes) or classes < 2:
        raise UsageError(f"classes: must be how many there are, 2 or more, received {classes!r}")
    if seed is not None and not is_whole(seed):
        raise UsageError(f"seed: must be a whole number, or None, received {seed!r}")
    faces = keras.Input(InputSpec(size, channels).shape, name="faces")
    model = keras.Model(faces, NETWORKS[name](faces, classes), name=name)
    if seed is not None:
        _draw_weights(model, seed)
    return model


def digest_of_layers(model: keras.Model) -> str:
    """A SHA-256 of a network's kinds of layers, in order: equal weights may belong to networks that pool otherwise."""
    return hashlib.sha256(" ".join(type(layer).__name__ for layer in model.layers).encode()).hexdigest()


def check_network(name: str, size: int) -> None:
    """Refuse a name or an input size that `network` could not build.

    Raises:
        UsageError: says what is allowed.
    """
    if not isinstance(name, str) or name not in NETWORKS:
        raise unknown_choice("network", name, NETWORKS)
    if not is_whole(size) or size < 16:
        raise UsageError(f"size: networks need at least 16 pixels, a whole number, received {size!r}")


def _draw_weights(model: keras.Model, seed: int) -> None:
    """Draw every kernel from a stream of its own, so that equal seeds give equal weights."""
    for index, layer in enumerate(model.layers[1:]):  # the first is the input
        initializer = getattr(layer, "kernel_initializer", None)
        if initializer is not None:
            seeded = type(initializer).from_config({**initializer.get_config(), "seed": (seed * 1000 + index) % 2**31})
            layer.kernel.assign(seeded(layer.kernel.shape, dtype="float32"))
