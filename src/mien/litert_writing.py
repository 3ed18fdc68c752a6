"""Writing ``.tflite`` files: TensorFlow converts a Keras model, in float32 or smaller (docs/model-format.md).

Whatever is stored, pixels go in and probabilities come out as float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.litert import describe
from mien.preprocessing import to_input

PROBABILITIES = ("SOFTMAX",)
"""Operations that stay in float32 in ``int8`` files: in 8 bits probabilities would be multiples of 1/256."""


def write(
    model: Any, path: Path, description: str, precision: str = "float32", images: NDArray[np.uint8] | None = None
) -> None:
    """Convert a Keras model with TensorFlow, described but not checked.

    Args:
        model: a Keras model on the TensorFlow backend.
        path: the file to write.
        description: what `ModelSpec.to_dict` gives, as JSON.
        precision: one of `mien.precisions.PRECISIONS_OF` ``litert``.
        images: for ``int8``: uint8 (n, size, size, channels), n at least 1; the ranges of values are read off them.
    """
    import tensorflow as tf

    with TemporaryDirectory(prefix="mien-litert-") as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert() if images is None else _in_int8(converter, images)
    path.write_bytes(content)
    describe(path, description)


def _in_int8(converter: Any, images: NDArray[np.uint8]) -> bytes:
    """Full integer quantisation, but for `PROBABILITIES`."""
    import tensorflow as tf

    def pictures() -> Iterator[list[NDArray[np.float32]]]:
        return ([to_input(images[row : row + 1])] for row in range(len(images)))

    converter.representative_dataset = pictures
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=list(PROBABILITIES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that TensorFlow's interpreter moves to a package of its own
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=pictures, debug_options=options
        )
        content: bytes = debugger.get_nondebug_quantized_model()
    return content
