"""Keras networks as the converters to ONNX and LiteRT can take them, for the time of a conversion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from mien.backend import all_layers


@contextmanager
def convertible(model: keras.Model, *, unrolled: bool) -> Iterator[keras.Model]:
    """The model as it predicts, with layers that converters know; the model itself is as before at the end.

    Args:
        model: the network.
        unrolled: whether recurrent layers are written step by step, as LiteRT has no loops over a batch of any size.
    """
    with ExitStack() as stack:
        for layer in all_layers(model):
            if isinstance(layer, layers.Normalization):
                stack.enter_context(_with_constants(layer))
            if isinstance(layer, (layers.Conv1D, layers.Conv2D)) and layer.groups > 1:
                stack.enter_context(_group_by_group(layer))
            if isinstance(layer, layers.RNN) and unrolled:
                stack.enter_context(_changed(layer, unroll=True))
        yield _predictor(model)


def _predictor(model: keras.Model) -> keras.Model:
    """The model as it predicts, also where nobody says so, as converters do not.

    Keras's image layers (Resizing, CenterCrop, RandomFlip...) take it for training unless they are told, and have all
    layers behind them do so: batch norm would be exported with the statistics of each batch.
    """
    images = keras.Input(model.input_shape[1:])
    return keras.Model(images, model(images, training=False), name=model.name)


@contextmanager
def _changed(layer: Any, **values: Any) -> Iterator[None]:
    """Give a layer other attributes, and take them back."""
    own = {name: vars(layer)[name] for name in values if name in vars(layer)}
    try:
        for name, value in values.items():
            setattr(layer, name, value)
        yield
    finally:
        for name in values:
            if name in own:
                setattr(layer, name, own[name])
            else:  # it is its class's
                delattr(layer, name)


def _with_constants(layer: layers.Normalization) -> Any:
    """Have it hold mean and variance as NumPy arrays: converters take tensors for further inputs."""
    mean, variance = (ops.convert_to_numpy(value) for value in (layer.mean, layer.variance))
    return _changed(layer, mean=mean, variance=variance)


def _group_by_group(layer: Any) -> Any:
    """Have a grouped convolution be one for each group: Keras hands it to XLA whole, which tf2onnx cannot follow."""
    whole = layer.convolution_op

    def apart(inputs: Any, kernel: Any) -> Any:
        axis = 1 if layer.data_format == "channels_first" else -1
        pairs = zip(ops.split(inputs, layer.groups, axis), ops.split(kernel, layer.groups, -1), strict=True)
        return ops.concatenate([whole(part, weights) for part, weights in pairs], axis)

    return _changed(layer, convolution_op=apart)


@lru_cache(maxsize=1)
def teach_erfc() -> None:
    """Tell tf2onnx what 1 - erf(x) is, of which TensorFlow makes GELU, and which ONNX has no operator for."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
            one = ctx.make_const(f"{node.name}__one", np.ones((), np.float32)).output[0]
            erf = ctx.make_node("Erf", node.input, name=f"{node.name}__erf").output[0]
            shapes, dtypes, outputs = node.output_shapes, node.output_dtypes, node.output
            ctx.remove_node(node.name)
            ctx.make_node("Sub", [one, erf], name=node.name, outputs=outputs, shapes=shapes, dtypes=dtypes)
